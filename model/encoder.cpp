#include "model/encoder.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <charconv>

#include "engine/replays.h"
#include "engine/safetensors.h"
#include "engine/threads.h"
#include "model/key_maps.h"
#include "ops/pixels.h"

namespace stflow {
namespace {

/// Images that a thread of the CPU computes together: more than one only where they fill no nearby cache.
int64_t group_of(const Network& net) { return std::clamp<int64_t>((int64_t(1) << 20) / (net.widest() * 4), 1, 16); }
/// Images of a batch: as many as fill a GPU's units, or as make all threads of the CPU finish at about the same time.
int64_t batch_of(const Network& net, const Context& context) {
  if (context.device == Device::cuda) return 32;
  const int64_t once = group_of(net) * thread_count();
  return once * std::clamp<int64_t>(32 / once, 1, 4);
}

double microns_of(const Weights& file) {
  auto found = file.metadata().find("microns");
  if (found == file.metadata().end()) return 0;
  double x = 0;
  auto [end, error] = std::from_chars(found->second.data(), found->second.data() + found->second.size(), x);
  if (error != std::errc() || end != found->second.data() + found->second.size() || !(x > 0 && x < 1e6))
    fail(Exit::data, "{}: metadata: microns is '{}', expected a positive number", file.path(), found->second);
  return x;
}

/// The type in which a matrix of the file's type is held (i32 for words of four 8-bit integers). The patch embedding keeps its own, which
/// a GPU computes in float32.
DType held_as(Precision precision, const Parameter& p, DType stored, Device device) {
  if (device == Device::cuda) return p.type;
  if (precision == Precision::stored || p.shape.rank != 2) return stored;
  return precision == Precision::f16    ? DType::f16
         : precision == Precision::bf16 ? DType::bf16
         : precision == Precision::int8 ? DType::i32
                                        : DType::f32;
}

bool half_on_gpu(const Context& c) { return c.device == Device::cuda && c.products == Products::bf16; }

}  // namespace

Context context_of(Precision precision, Context context) {
  const bool gpu = context.device == Device::cuda;
  if (gpu && (precision == Precision::f16 || precision == Precision::int8))
    fail(Exit::usage, "--precision: found {} on a GPU, expected stored, f32, tf32 or bf16", precision == Precision::f16 ? "f16" : "int8");
  if (!gpu && precision == Precision::tf32)
    fail(Exit::usage, "--precision: found tf32 on the CPU, expected stored, f32, f16, bf16 or int8; --device cuda has tf32");
  context.products = !gpu                           ? Products::f32
                     : precision == Precision::bf16 ? Products::bf16
                     : precision == Precision::tf32 ? Products::tf32
                                                    : Products::f32;
  return context;
}

/// The network's parameters, and inference tapes for them.
struct Encoder::Program {
  /// A tape for so many images.
  struct Run {
    Array images;  // normalised
    Tape tape;
    Storage arena;
    Var features;
    Run(const Network& net, const ParameterSet& set, int64_t many, const Context& context)
        : images({many, net.input().image, net.input().image, 3}, DType::f32, context.device), tape(context), arena(0, context.device) {
      features = net(tape.input(images));
      tape.plan(false);
      tape.bind(arena, set);
    }
  };
  using Runs = std::map<int64_t, std::unique_ptr<Run>>;  // by the number of images
  Context context;
  ParameterSet set;
  Network net;
  double microns;
  int64_t batch;
  Array table;  // what each byte of a channel becomes
  /// The patches and features of a batch that is under way.
  struct Batch {
    Storage room, there;  // the patches in the host's memory, and in that of a device
    Array features;
    std::unique_ptr<Returned> back;
  };
  std::vector<Batch> batches;
  int64_t begun = 0, finished = 0;
  std::unique_ptr<CudaStream> side;  // of a device: copies patches beside the computation
  Replays replays;
  Runs together;            // of images that all threads, or a GPU, compute together
  std::vector<Runs> alone;  // of images that a thread computes alone
  std::map<std::string, std::string> identity;

  Program(const NetworkConfig& c, double microns_, const Context& context_, Precision precision, int64_t batch_)
      : context(context_of(precision, context_)),
        set(DType::f32, context.device, context.device == Device::cpu || half_on_gpu(context),
            half_on_gpu(context) ? DType::bf16 : DType::f32),
        net(set, c),
        microns(microns_),
        batch(batch_ > 0 ? batch_ : batch_of(net, context)),
        replays(context) {
    const Array bytes({3, 256}, DType::f32);
    for (size_t k = 0; k < 3; k++)
      for (int v = 0; v < 256; v++) bytes.as<float>()[k * 256 + size_t(v)] = (float(v) / 255.0f - net.input().mean[k]) / net.input().std[k];
    table = copy_of(bytes, Device::cpu, context.device, context.stream);
    if (context.device == Device::cuda) side = std::make_unique<CudaStream>();
    for (int64_t i = 0; i < ahead(); i++) {
      const size_t most = size_t(batch * size() * size() * 3);
      batches.push_back({Storage::beside(context.device, most), Storage(side ? most : 0, context.device),
                         Array({batch, net.features()}, DType::f32, context.device),
                         std::make_unique<Returned>(Shape{batch, net.features()}, DType::f32, context)});
    }
    if (side) cuda_follow(side->get(), context.stream);  // which clears the memory
    if (context.products != Products::f32) identity["precision"] = context.products == Products::bf16 ? "bf16" : "tf32";
  }

  /// Packs every matrix, one at a time: stored(p) is the type of what there is, fill(p, t) reads it into t of that type or of f32.
  template <class StoredType, class Fill> void pack(Precision precision, StoredType stored, Fill fill) {
    for (const Parameter& p : set.all()) {
      if (!p.packed) continue;
      const DType has = stored(p), held = held_as(precision, p, has, context.device);
      const Array matrix(p.shape, has == held ? held : DType::f32);
      fill(p, matrix);
      set.hold(p, linear_hold(context, matrix, held, set.pool()));
      if (held != has && held != DType::f32) identity["precision"] = held == DType::i32 ? "int8" : name_of(held);
    }
  }

  void ready(std::string weights) {
    identity.merge(network_metadata(net.config()));
    identity["weights"] = std::move(weights);
    identity["microns"] = fmt::format("{}", microns);
    if (context.device == Device::cuda) run_of(together, batch);
  }

  [[nodiscard]] int64_t size() const { return net.input().image; }
  [[nodiscard]] int64_t ahead() const { return context.device == Device::cpu ? 1 : 2; }

  Run& run_of(Runs& runs, int64_t many) {
    std::unique_ptr<Run>& r = runs[many];
    if (!r) r = std::make_unique<Run>(net, set, many, context);
    return *r;
  }

  /// Features of as many patches, which are where the context's device reads them, into `out` there.
  void run(Runs& runs, const uint8_t* rgb, int64_t many, float* out) {
    Run& r = run_of(runs, many);
    on(context, [&](auto b) { look_up_pixels(b, rgb, table, r.images); });
    replays.run(
        "encoder", {uint64_t(many)}, [] {}, [&] { r.tape.forward(); });
    const Tensor all = r.tape.value(r.features);
    copy(context.device, out, context.device, all.data, size_t(many * all.cols()) * sizeof(float), context.stream);
  }

  /// The first patches of n, each thread by itself, which is what costs least: threads wait for each other once, and what one of them wrote
  /// is read by no other. Returns how many; those left are too few to give each thread as many.
  int64_t run_alone(const uint8_t* rgb, int64_t n, float* out) {
    const int64_t threads = thread_count(), share = n / threads;
    if (context.device != Device::cpu || share == 0) return 0;
    const int64_t many = int64_t(std::bit_floor(uint64_t(std::min(group_of(net), share)))), pieces = n / (many * threads) * threads;
    alone.resize(std::max(alone.size(), size_t(threads)));
    for (int64_t i = 0; i < threads; i++) run_of(alone[size_t(i)], many);
    std::atomic<int64_t> drawn = 0;
    parallel_for(threads, 1, [&](int64_t thread, int64_t) {
      for (int64_t i = 0; (i = many * drawn.fetch_add(1, std::memory_order_relaxed)) < many * pieces;)
        run(alone[size_t(thread)], rgb + i * size() * size() * 3, many, out + i * net.features());
    });
    return many * pieces;
  }

  void begin(int64_t n) {
    check(n > 0 && n <= batch && begun - finished < ahead(), "encoder: {} patches begun, {} batches before, expected at most {} of {}", n,
          begun - finished, ahead(), batch);
    Batch& b = batches[size_t(begun++ % ahead())];
    const int64_t pixels = size() * size() * 3, dim = net.features();
    const auto* rgb = static_cast<const uint8_t*>(b.room.data());
    if (context.device == Device::cuda) {  // into memory that the batch before this one's last has done with: it is finished
      copy(Device::cuda, b.there.data(), Device::cpu, rgb, size_t(n * pixels), side->get());
      cuda_follow(context.stream, side->get());
      rgb = static_cast<const uint8_t*>(b.there.data());
    }
    for (int64_t i = run_alone(rgb, n, b.features.as<float>()), many = batch; i < n; i += many) {
      if (n - i < batch) many = int64_t(std::bit_floor(uint64_t(n - i)));  // few programs serve any number
      run(together, rgb + i * pixels, many, b.features.as<float>() + i * dim);
    }
    b.back->fetch(view(b.features.as<float>(), {n, dim}));
  }

  const float* finish() {
    check(begun > finished, "encoder: no batch is begun");
    const Batch& b = batches[size_t(finished++ % ahead())];
    b.back->wait();
    return b.back->as<float>();
  }
};

Encoder::Encoder(const Weights& file, Context context, Precision precision, int64_t batch)
    : program_(std::make_unique<Program>(read_network_config(file), microns_of(file), context, precision, batch)) {
  program_->set.allocate(0);
  program_->net.load(file, program_->set);
  program_->pack(
      precision,
      [&](const Parameter& p) {
        const Stored type = file.at(p.name).type;
        return type == Stored::f16 ? DType::f16 : type == Stored::bf16 ? DType::bf16 : DType::f32;
      },
      [&](const Parameter& p, const Tensor& to) {
        file.read_into(p.name, to);
        file.forget(p.name);
      });
  program_->ready(file.sha256());
}

Encoder::Encoder(const std::string& path, Context context, Precision precision)
    : Encoder(canonical(SafeTensors(path)), context, precision) {}

Encoder::Encoder(const NetworkConfig& config, double microns, uint64_t seed, Context context, Precision precision)
    : program_(std::make_unique<Program>(config, microns, context, precision, 0)) {
  program_->set.allocate(seed);
  program_->pack(
      precision, [](const Parameter&) { return DType::f32; },
      [&](const Parameter& p, const Tensor& to) { program_->set.initialise(p, seed, to); });
  program_->ready(fmt::format("random:{}", seed));
}

Encoder::Encoder(Encoder&&) noexcept = default;
Encoder::~Encoder() = default;

NetworkConfig Encoder::config() const { return program_->net.config(); }
int64_t Encoder::dim() const { return program_->net.features(); }
int Encoder::size() const { return int(program_->net.input().image); }
double Encoder::microns() const { return program_->microns; }
int64_t Encoder::batch() const { return program_->batch; }
const std::map<std::string, std::string>& Encoder::identity() const { return program_->identity; }

uint8_t* Encoder::room() { return static_cast<uint8_t*>(program_->batches[size_t(program_->begun % ahead())].room.data()); }
void Encoder::begin(int64_t n) { program_->begin(n); }
const float* Encoder::finish() { return program_->finish(); }
int64_t Encoder::ahead() const { return program_->ahead(); }
int64_t Encoder::begun() const { return program_->begun - program_->finished; }

void Encoder::embed(const uint8_t* rgb, int64_t n, float* features) {
  while (begun() > 0) finish();  // of somebody who gave up
  const int64_t pixels = int64_t(size()) * size() * 3;
  for (int64_t i = 0, done = 0; done < n;) {
    if (i < n) {
      const int64_t many = std::min(batch(), n - i);
      std::copy_n(rgb + i * pixels, many * pixels, room());
      begin(many);
      i += many;
    }
    if (i < n && begun() < ahead()) continue;
    const int64_t many = std::min(batch(), n - done);
    std::copy_n(finish(), many * dim(), features + done * dim());
    done += many;
  }
}

}  // namespace stflow
