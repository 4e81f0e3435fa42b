// stflow pretrain: a ViT from unlabelled images by masked autoencoding.
#include <filesystem>
#include <optional>

#include "data/tiles.h"
#include "engine/safetensors.h"
#include "engine/text.h"
#include "engine/threads.h"
#include "model/mae.h"
#include "ops/adamw.h"
#include "tools/commands.h"
#include "tools/device_flag.h"
#include "tools/json_out.h"
#include "tools/signals.h"
#include "tools/terminal.h"

namespace stflow {
namespace {

struct Config {
  std::vector<std::string> images;
  std::string out = "vit.safetensors", save_dir = "pretrain";
  bool resume = false;
  int64_t steps = 4000, batch = 32, checkpoint_every = 200;
  uint64_t seed = 1;
  double lr = 1e-3, weight_decay = 0.05, warmup = 0.05, ema = 0.998;
  double microns = 220, mpp = 0.69;
  TileJitter jitter;
  std::string pooling = "cls_mean";
  MaeConfig model;
  DeviceFlag device;
};

/// What an argument IMAGE or IMAGE@MPP means: the file, and the side of a tile of c.microns in its pixels.
TileImage tile_image(const std::string& argument, const Config& c) {
  const size_t at = argument.rfind('@');
  if (at == std::string::npos || std::filesystem::exists(argument)) return {argument, c.microns / c.mpp};
  const std::string number = argument.substr(at + 1);
  const std::optional<double> mpp = parse_number(number);
  if (!mpp || !(*mpp >= 0.01 && *mpp <= 100))
    fail(Exit::usage, "{}: microns per pixel: found '{}', expected a number from 0.01 to 100 after the @", argument, number);
  return {argument.substr(0, at), c.microns / *mpp};
}

/// Mean and deviation of tile statistics, and of pixels (into c.model.vit), over a sample of tiles.
StatisticScale measure(const TileSource& tiles, Config& c) {
  StatisticScale scale;
  constexpr int64_t kSample = 256;
  const int64_t size = c.model.vit.image, patches = c.model.vit.grid();
  std::vector<float> statistics(size_t(kSample * kTileStatistics));
  std::vector<std::array<double, 6>> pixels(static_cast<size_t>(kSample));
  parallel_for(kSample, 1, [&](int64_t i, int64_t) {
    std::vector<float> density(size_t(size * size * 3)), unused(size_t(patches * kPatchStatistics));
    tiles.tile(RandomKey(c.seed, Stream::augment, 0xffffffffu, uint32_t(i)), density.data());
    tile_statistics(density.data(), int(size), int(c.model.vit.patch), nullptr, statistics.data() + i * kTileStatistics, unused.data());
    auto& p = pixels[size_t(i)];
    p.fill(0);
    for (size_t k = 0; k < density.size(); k++) {
      const double x = std::exp(-double(density[k]));
      p[k % 3] += x, p[3 + k % 3] += x * x;
    }
  });
  const double many = double(kSample) * double(size * size);
  for (size_t k = 0; k < 3; k++) {
    double sum = 0, squares = 0;
    for (const auto& p : pixels) sum += p[k], squares += p[3 + k];
    c.model.vit.mean[k] = float(sum / many);
    c.model.vit.std[k] = float(std::sqrt(squares / many - sum / many * (sum / many)));
  }
  for (size_t k = 0; k < kTileStatistics; k++) {
    double sum = 0, squares = 0;
    for (size_t i = 0; i < size_t(kSample); i++) {
      const double x = double(statistics[i * kTileStatistics + k]);
      sum += x, squares += x * x;
    }
    const double mean = sum / kSample;
    scale.mean[k] = float(mean), scale.deviation[k] = float(std::sqrt(std::max(squares / kSample - mean * mean, 0.0)) + 1e-6);
  }
  return scale;
}

/// Everything that must be the same for a checkpoint to be continued, and for a reader to know what was trained.
std::map<std::string, std::string> describe(const Config& c, const TileSource& tiles) {
  auto m = vit_metadata(c.model.vit);
  std::string names;
  for (const auto& path : c.images) names += (names.empty() ? "" : ", ") + std::filesystem::path(path).filename().string();
  m["microns"] = fmt::format("{}", c.microns);
  m["trained_on"] = names;
  m["tissue_blocks"] = std::to_string(tiles.blocks());
  m["recipe"] = fmt::format(
      "masked autoencoder: steps {}, batch {}, lr {}, warm-up {}, cosine, weight decay {}, running mean {}, hidden {}, decoder {} x {}, "
      "mpp {}, jitter scale {} stain {} base {}, seed {}",
      c.steps, c.batch, c.lr, c.warmup, c.weight_decay, c.ema, c.model.hidden, c.model.decoder_depth, c.model.decoder_dim, c.mpp,
      c.jitter.scale, c.jitter.stain, c.jitter.base, c.seed);
  return m;
}

class Pretraining {
 public:
  /// `c` has the pixel scale that measure() gave.
  Pretraining(Config c, const StatisticScale& scale, const TileSource& tiles, const Context& context)
      : c_(std::move(c)),
        tiles_(tiles),
        scale_(scale),
        set_(DType::f32, context.device),
        mae_(set_, c_.model),
        batch_(c_.model, c_.batch, context),
        tape_(context),
        arena_(0, context.device) {
    set_.allocate(c_.seed);
    mae_.set_positions(set_);
    state_.allocate(set_, true);
    losses_ = mae_.losses(tape_, batch_);
    const size_t bytes = tape_.plan(true);
    tape_.bind(arena_, set_, set_.grads());
    terminal::info("model: {} parameters, {} of {} patches seen; memory of a step: {}", set_.parameters(), c_.model.visible(),
                   c_.model.vit.grid(), terminal::bytes(bytes));
    metadata_ = describe(c_, tiles);
  }

  [[nodiscard]] std::string checkpoint_path() const { return c_.save_dir + "/checkpoint.safetensors"; }

  void resume() {
    SafeTensors file(checkpoint_path());
    file.verify();
    for (const auto& [key, value] : metadata_)
      if (file.meta(key) != value)
        fail(Exit::data, "{}: metadata: {} is '{}', expected '{}' to continue", checkpoint_path(), key, file.meta(key), value);
    for (auto& [name, tensor] : state()) file.read_into(name, tensor, set_.device());
    const auto counted = file.read<int64_t>("step");
    state_.step = counted.at(0);
    history_ = file.read<float>("history");
    terminal::info("{}: continued at step {}", checkpoint_path(), state_.step);
  }

  /// False when a signal stopped it; the checkpoint is written then too.
  bool run() {
    terminal::Progress progress("pretrain", c_.steps);
    const AdamOptions options{.lr = c_.lr, .beta1 = 0.9, .beta2 = 0.95, .weight_decay = c_.weight_decay, .ema_decay = c_.ema};
    const Schedule schedule{Schedule::cosine, int64_t(c_.warmup * double(c_.steps)), c_.steps, 0.01};
    const size_t pixels = size_t(c_.model.vit.image * c_.model.vit.image * 3);
    std::vector<float> density(pixels * size_t(c_.batch));
    while (state_.step < c_.steps) {
      if (stop_requested()) return save(), false;
      const auto step = uint32_t(state_.step);
      parallel_for(c_.batch, 1, [&](int64_t i, int64_t) {
        float* tile = density.data() + size_t(i) * pixels;
        tiles_.tile(RandomKey(c_.seed, Stream::augment, step, uint32_t(i)), tile);
        batch_.fill(i, tile, RandomKey(c_.seed, Stream::mask, step, uint32_t(i)), scale_);
      });
      const Context& on = tape_.context();
      batch_.send();
      fill(on.device, set_.grads().data, 0, set_.grads().bytes(), on.stream);
      tape_.forward();
      tape_.backward(losses_.total);
      const double rate = c_.lr * schedule.factor(state_.step);
      const double norm = adamw_step(on, set_, options, rate, 1, state_);
      if (!std::isfinite(norm)) fail(Exit::data, "pretrain: step {}: gradient norm {}, expected a finite number: lower --lr", step, norm);
      for (Var v : {losses_.total, losses_.pixels, losses_.hidden, losses_.own, losses_.tile})
        history_.push_back(*copy_of(tape_.value(v), on.device, Device::cpu).as<float>());
      progress.update(state_.step, fmt::format("loss {:.4f} = pixels {:.4f} + hidden {:.4f} + own {:.4f} + tile {:.4f}", recent(0),
                                               recent(1), recent(2), recent(3), recent(4)));
      if (state_.step % c_.checkpoint_every == 0 && state_.step < c_.steps) save();
    }
    save();
    return true;
  }

  /// The encoder alone, from the running mean of the weights, in half precision.
  void write_encoder() const {
    const Array mean = copy_of(state_.ema, set_.device(), Device::cpu);
    std::vector<OutTensor> tensors;
    for (const auto& p : set_.all())
      if (!p.name.starts_with("decoder.")) tensors.emplace_back(p.name, set_.slice(mean, p), Stored::f16);
    auto metadata = metadata_;
    metadata["final_losses"] =
        fmt::format("pixels {:.4f}, hidden {:.4f}, own {:.4f}, tile {:.4f}", recent(1), recent(2), recent(3), recent(4));
    write_safetensors(c_.out, std::move(tensors), metadata);
  }

  /// Mean of a loss over the last hundred steps.
  [[nodiscard]] double recent(size_t which) const {
    const size_t steps = history_.size() / kLosses, many = std::min<size_t>(steps, 100);
    double sum = 0;
    for (size_t i = steps - many; i < steps; i++) sum += double(history_[i * kLosses + which]);
    return many ? sum / double(many) : 0;
  }

 private:
  static constexpr size_t kLosses = 5;

  void save() const {
    int32_t step = int32_t(state_.step);
    const Tensor history = view(const_cast<float*>(history_.data()), {int64_t(history_.size())});
    std::vector<Array> here;
    here.reserve(4);
    std::vector<OutTensor> out{{"step", view(&step, {1})}, {"history", history}};
    for (const auto& [name, tensor] : state()) {
      here.push_back(copy_of(tensor, set_.device(), Device::cpu));
      out.emplace_back(name, here.back());
    }
    write_safetensors(checkpoint_path(), std::move(out), metadata_);
  }

  /// What a checkpoint holds of the weights and their optimiser.
  [[nodiscard]] std::vector<std::pair<std::string, Tensor>> state() const {
    return {{"values", set_.values()}, {"m", state_.m.tensor()}, {"v", state_.v.tensor()}, {"ema", state_.ema.tensor()}};
  }

  Config c_;
  const TileSource& tiles_;
  StatisticScale scale_;
  ParameterSet set_;
  Mae mae_;
  MaeBatch batch_;
  OptimizerState state_;
  Tape tape_;
  Storage arena_;
  Mae::Losses losses_;
  std::vector<float> history_;  // five losses per step
  std::map<std::string, std::string> metadata_;
};

}  // namespace

int pretrain(const Args& args) {
  Config c;
  VitConfig& v = c.model.vit;
  v.dim = 192, v.depth = 6, v.heads = 6, v.hidden = 768;
  Options o("pretrain", "Trains a ViT encoder on unlabelled H&E images by masked autoencoding.",
            "stflow pretrain section1.jpg section2.jpg --out weights/mine.safetensors --steps 4000");
  o.argument("images", &c.images, "JPEG or PNG files; FILE@MPP for one of another resolution than --mpp").placeholder("IMAGE");
  o.section("Output");
  o.flag("out", &c.out, "the encoder, half precision").placeholder("FILE");
  o.flag("save-dir", &c.save_dir, "folder for the checkpoint").placeholder("DIR");
  o.flag("resume", &c.resume, "continue from the checkpoint, if there is one");
  o.flag("checkpoint-every", &c.checkpoint_every, "steps between checkpoints").at_least(1);
  o.section("Encoder");
  o.flag("image-size", &v.image, "pixels of a tile").range(32, 4096);
  o.flag("patch-size", &v.patch, "pixels of a patch: a multiple of 16 that divides the tile").range(16, 256);
  o.flag("dim", &v.dim, "width: a multiple of 4 and of --heads").range(4, 8192);
  o.flag("depth", &v.depth, "blocks").range(1, 128);
  o.flag("heads", &v.heads, "attention heads").range(1, 256);
  o.flag("pooling", &c.pooling, "how tokens become features, for the file").choices({"cls", "mean", "cls_mean"});
  o.flag("microns", &c.microns, "side of a tile in tissue").range(1, 1e5);
  o.flag("mpp", &c.mpp, "microns per pixel of the images").range(0.01, 100);
  o.section("Training");
  o.flag("steps", &c.steps, "updates").range(1, 1e9);
  o.flag("batch-size", &c.batch, "tiles per update").range(1, 4096);
  o.flag("lr", &c.lr, "highest learning rate").range(0, 1);
  o.flag("warmup", &c.warmup, "share of the steps over which it rises").range(0, 1);
  o.flag("weight-decay", &c.weight_decay, "of matrices").range(0, 10);
  o.flag("ema", &c.ema, "decay of the running mean of the weights that is written").range(0.5, 0.999999);
  o.flag("hidden", &c.model.hidden, "share of the patches that the encoder does not see").range(0.05, 0.95);
  o.flag("scale-jitter", &c.jitter.scale, "tiles are exp(U(-x, x)) times as large").range(0, 1);
  o.flag("stain-jitter", &c.jitter.stain, "each stain is 1 + U(-x, x) times as strong").range(0, 1);
  o.flag("base-jitter", &c.jitter.base, "U(-x, x) is added to each stain").range(0, 1);
  o.flag("seed", &c.seed, "of everything random");
  declare_device(o, c.device);
  if (!o.parse(args)) return 0;
  if (v.image % v.patch || v.patch % 16)
    fail(Exit::usage, "--patch-size {}: not a multiple of 16 that divides --image-size {}, expected one", v.patch, v.image);
  if (v.dim % v.heads || v.dim % 4) fail(Exit::usage, "--dim {}: expected a multiple of 4 and of --heads {}", v.dim, v.heads);
  v.hidden = 4 * v.dim;
  v.pooling = c.pooling == "cls" ? Pooling::cls : c.pooling == "mean" ? Pooling::mean : Pooling::cls_mean;
  const ChosenDevice device = choose_device(c.device);
  terminal::info("device: {}", device.text);
  make_output_folder(c.save_dir);
  make_output_folder(folder_of(c.out));

  catch_stop_signals();
  std::vector<TileImage> images;
  for (const auto& image : c.images) images.push_back(tile_image(image, c));
  const TileSource tiles(images, int(v.image), c.jitter);
  terminal::info("data: {} images, {} blocks of tissue", c.images.size(), tiles.blocks());
  const StatisticScale scale = measure(tiles, c);
  Pretraining training(c, scale, tiles, device.context);
  if (c.resume && std::filesystem::exists(training.checkpoint_path())) training.resume();
  if (!training.run()) return int(Exit::preempted);
  training.write_encoder();
  terminal::info("{}: written", c.out);
  if (terminal::settings().json)
    print_json({{"out", c.out},
                {"steps", c.steps},
                {"loss", training.recent(0)},
                {"pixels", training.recent(1)},
                {"hidden", training.recent(2)},
                {"own", training.recent(3)},
                {"tile", training.recent(4)}});
  return 0;
}

}  // namespace stflow
