#include "model/encoder.h"

#include <algorithm>
#include <charconv>

#include "engine/safetensors.h"
#include "engine/threads.h"
#include "model/key_maps.h"

namespace stflow {
namespace {

/// As many images as keep the widest activation within about 8 MB of cache.
int64_t batch_of(const Network& net) { return std::clamp<int64_t>((int64_t(8) << 20) / (net.widest() * 4), 1, 32); }

double microns_of(const Weights& file) {
  auto found = file.metadata().find("microns");
  if (found == file.metadata().end()) return 0;
  double x = 0;
  auto [end, error] = std::from_chars(found->second.data(), found->second.data() + found->second.size(), x);
  if (error != std::errc() || end != found->second.data() + found->second.size() || !(x > 0 && x < 1e6))
    fail(Exit::data, "{}: metadata: microns is '{}', expected a positive number", file.path(), found->second);
  return x;
}

}  // namespace

/// The network's parameters and one inference tape, recorded once: weights packed, memory laid out.
struct Encoder::Program {
  Context context;
  ParameterSet set;
  Network net;
  double microns;
  int64_t batch;
  Staged images;  // (batch, size, size, 3), normalised
  Tape tape;
  Storage arena;
  Var features;
  std::map<std::string, std::string> identity;

  Program(const NetworkConfig& c, double microns_, const Context& context_, int64_t batch_)
      : context(context_),
        set(DType::f32, context.device),
        net(set, c),
        microns(microns_),
        batch(batch_ > 0 ? batch_ : batch_of(net)),
        images({batch, net.input().image, net.input().image, 3}, DType::f32, context),
        tape(context),
        arena(0, context.device) {}

  void ready(std::string weights) {
    identity = network_metadata(net.config());
    identity["weights"] = std::move(weights);
    identity["microns"] = fmt::format("{}", microns);
    features = net(tape.input(images));
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
    const ImageInput& c = net.input();
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

Encoder::Encoder(const Weights& file, Context context, int64_t batch)
    : program_(std::make_unique<Program>(read_network_config(file), microns_of(file), context, batch)) {
  program_->set.allocate(0);
  program_->net.load(file, program_->set);
  program_->ready(file.sha256());
}

Encoder::Encoder(const std::string& path, Context context) : Encoder(canonical(SafeTensors(path)), context) {}

Encoder::Encoder(const NetworkConfig& config, double microns, uint64_t seed, Context context)
    : program_(std::make_unique<Program>(config, microns, context, 0)) {
  program_->set.allocate(seed);
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

void Encoder::embed(const uint8_t* rgb, int64_t n, float* features) {
  const int64_t pixels = int64_t(size()) * size() * 3;
  for (int64_t i = 0; i < n; i += batch()) {
    const int64_t many = std::min(batch(), n - i);  // the last batch computes what is left over from the one before it, too
    program_->normalise(rgb + i * pixels, many);
    program_->run(many, features + i * dim());
  }
}

}  // namespace stflow
