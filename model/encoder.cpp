#include "model/encoder.h"

#include <algorithm>
#include <charconv>

#include "engine/hash.h"
#include "engine/threads.h"

namespace stflow {
namespace {

/// As many images as keep a block's widest activation (tokens x MLP width) within about 8 MB of cache.
int64_t batch_of(const VitConfig& c) {
  const int64_t bytes = (c.prefix() + c.grid()) * c.hidden * (c.swiglu ? 2 : 1) * 4;
  return std::clamp<int64_t>((int64_t(8) << 20) / bytes, 1, 32);
}

double microns_of(const SafeTensors& file) {
  auto found = file.metadata().find("microns");
  if (found == file.metadata().end()) return 0;
  double x = 0;
  auto [end, error] = std::from_chars(found->second.data(), found->second.data() + found->second.size(), x);
  if (error != std::errc() || end != found->second.data() + found->second.size() || !(x > 0 && x < 1e6))
    fail(Exit::data, "{}: metadata: microns is '{}', expected a positive number", file.path(), found->second);
  return x;
}

std::string digest(const std::string& path) {
  FileView file(path);
  return sha256(file.text());
}

}  // namespace

/// The ViT's parameters and one inference tape, recorded once: weights packed, memory laid out.
struct Encoder::Program {
  Context context;
  ParameterSet set;
  Vit vit;
  double microns;
  Staged images;  // (batch, size, size, 3), normalised
  Tape tape;
  Storage arena;
  Var features;
  std::map<std::string, std::string> identity;

  Program(const VitConfig& c, double microns_, const Context& context_)
      : context(context_),
        set(DType::f32, context.device),
        vit(set, c),
        microns(microns_),
        images({batch_of(c), c.image, c.image, 3}, DType::f32, context),
        tape(context),
        arena(0, context.device) {}

  void ready(std::string weights) {
    identity = vit_metadata(vit.config);
    identity["weights"] = std::move(weights);
    identity["microns"] = fmt::format("{}", microns);
    features = vit(tape.input(images));
    tape.plan(false);
    tape.bind(arena, set);
  }

  /// Features of the first `many` images.
  void run(int64_t many, float* out) {
    images.send();
    tape.forward();
    const Tensor all = tape.value(features);
    copy(Device::cpu, out, context.device, all.data, size_t(many * all.cols()) * sizeof(float), context.stream);
  }

  /// Bytes to ((x / 255) - mean) / std.
  void normalise(const uint8_t* rgb, int64_t n) {
    const VitConfig& c = vit.config;
    float table[3][256];
    for (size_t k = 0; k < 3; k++)
      for (int v = 0; v < 256; v++) table[k][v] = (float(v) / 255.0f - c.mean[k]) / c.std[k];
    const int64_t row = c.image * 3;
    parallel_for(n * c.image, 64, [&](int64_t begin, int64_t end) {
      float* to = images.as<float>();
      for (int64_t i = begin * row; i < end * row; i += 3)
        to[i] = table[0][rgb[i]], to[i + 1] = table[1][rgb[i + 1]], to[i + 2] = table[2][rgb[i + 2]];
    });
  }
};

Encoder::Encoder(const std::string& path, Context context) {
  SafeTensors file(path);
  program_ = std::make_unique<Program>(read_vit_config(file), microns_of(file), context);
  program_->set.allocate(0);
  load_vit(file, program_->vit, program_->set);
  program_->ready(digest(path));
}

Encoder::Encoder(const VitConfig& config, double microns, uint64_t seed, Context context)
    : program_(std::make_unique<Program>(config, microns, context)) {
  program_->set.allocate(seed);
  program_->ready(fmt::format("random:{}", seed));
}

Encoder::Encoder(Encoder&&) noexcept = default;
Encoder::~Encoder() = default;

const VitConfig& Encoder::config() const { return program_->vit.config; }
int64_t Encoder::dim() const { return config().features(); }
int Encoder::size() const { return int(config().image); }
double Encoder::microns() const { return program_->microns; }
int64_t Encoder::batch() const { return batch_of(config()); }
const std::map<std::string, std::string>& Encoder::identity() const { return program_->identity; }

void Encoder::embed(const uint8_t* rgb, int64_t n, float* features) {
  const int64_t pixels = int64_t(size()) * size() * 3;
  for (int64_t i = 0; i < n; i += batch()) {
    const int64_t many = std::min(batch(), n - i);  // the last batch computes what is left over from the one before it, too
    program_->normalise(rgb + i * pixels, many);
    program_->run(many, features + i * dim());
  }
}

}  // namespace stflow
