// Where the time of a training step goes: each kind of operator, and how far it is from its floor: the time to move its inputs and results
// once, or of the matrix products of linear, if that is longer.
#include <algorithm>
#include <chrono>
#include <map>

#include "engine/cuda/devices.h"
#include "model/geometry.h"
#include "ops/mse.h"
#include "tools/bench/bench.h"
#include "tools/bench/made_up_slide.h"

namespace stflow::benchmark {
namespace {

using Clock = std::chrono::steady_clock;

// An H100's memory and its float32 units, by which the comments of ops/cuda/ count their floors.
constexpr double kBytesPerSecond = 3.0e12, kFlopsPerSecond = 67e12;

struct Total {
  int64_t calls = 0;
  double bytes = 0, floor = 0;  // floor: seconds on an H100
  std::vector<double> seconds;  // of all calls, one entry a run
};

struct Profile {
  bool device = false;
  Clock::time_point last;
  size_t run = 0;
  std::map<std::string, Total> totals;

  // The device's work is waited for after each operator, so what is measured includes a start: about 5 us a call.
  void mark(const char* op, const Call& c, bool backward) {
    if (device) cuda_wait();
    const auto now = Clock::now();
    Total& t = totals[fmt::format("{}, {}", op, backward ? "backward" : "forward")];
    if (t.seconds.size() <= run) t.seconds.resize(run + 1), t.calls = 0, t.bytes = t.floor = 0;
    t.seconds[run] += std::chrono::duration<double>(now - last).count();
    t.calls++;
    double bytes = double(backward ? c.dout.bytes() : c.out.bytes()), flops = 0;
    for (int i = 0; i < c.inputs; i++) bytes += double(c.in[i].bytes()) + (c.din[i].data ? 2.0 * double(c.din[i].bytes()) : 0.0);
    if (std::string_view(op) == "linear") flops = (backward ? 4.0 : 2.0) * double(c.in[0].rows()) * double(c.in[1].size());
    t.bytes += bytes, t.floor += std::max(bytes / kBytesPerSecond, flops / kFlopsPerSecond);
    last = Clock::now();
  }
};

}  // namespace

std::vector<JsonOut> measure_operators(int64_t spots, double seconds, const DeviceFlag& flag) {
  const Context context = choose_device(flag).context;
  const ModelConfig config = sized("reference");
  const Slide slide = made_up_slide(spots, config.denoiser.features);
  ParameterSet set(DType::f32, context.device);
  const Denoiser denoiser(set, config.denoiser);
  set.allocate(1);
  Geometry geometry(context);
  geometry.build(slide.coords(), slide.ranks(), config.geometry, DType::f32);
  const Array features =
      copy_of(view(const_cast<float*>(slide.features.data()), {spots, config.denoiser.features}), Device::cpu, context.device);
  const Array genes({spots, config.denoiser.genes}, DType::f32, context.device), time({1}, DType::f32, context.device);

  Tape tape(context);
  Dropouts dropouts{true, RandomKey(1, Stream::dropout)};
  const Denoiser::Slide known = denoiser.slide(tape.input(features), tape.input(geometry.frames().values), dropouts);
  const Var prediction = denoiser.step(tape.input(genes), tape.input(time), known, geometry.graph(), dropouts).prediction;
  const Var loss = mse(prediction, tape.input(genes), Reduction::sum);
  Storage arena(0, context.device);
  tape.plan(true);
  tape.bind(arena, set, set.grads());

  Profile profile;
  profile.device = context.device != Device::cpu;
  tape.watch([](void* p, const char* op, const Call& c, bool backward) { static_cast<Profile*>(p)->mark(op, c, backward); }, &profile);
  const auto start = Clock::now();
  for (; profile.run < 3 || std::chrono::duration<double>(Clock::now() - start).count() < seconds; profile.run++) {
    profile.last = Clock::now();
    tape.forward();
    profile.last = Clock::now();
    tape.backward(loss);
  }
  std::vector<JsonOut> rows;
  for (auto& [name, t] : profile.totals) {
    std::sort(t.seconds.begin(), t.seconds.end());
    const double median = t.seconds[t.seconds.size() / 2];
    JsonOut row{{"name", name},
                {"spots", spots},
                {"median_seconds", median},
                {"best_seconds", t.seconds[0]},
                {"runs", t.seconds.size()},
                {"calls", t.calls},
                {"bytes", t.bytes},
                {"gigabytes_per_second", t.bytes / median / 1e9}};
    if (profile.device) row["times_the_floor"] = median / t.floor;
    rows.push_back(std::move(row));
  }
  std::sort(rows.begin(), rows.end(), [](const JsonOut& a, const JsonOut& b) { return a["median_seconds"] > b["median_seconds"]; });
  return rows;
}

}  // namespace stflow::benchmark
