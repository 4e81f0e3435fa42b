// What it costs to add gradients up over ranks: measured with Gloo between processes of this host, reckoned for NCCL from the latency and
// the bandwidth of links, and the step that it takes to hide it.
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>

#include "engine/distributed/team.h"
#include "tools/bench/bench.h"
#include "tools/bench/made_up_slide.h"

namespace stflow::benchmark {
namespace {

// What a link adds to a message and how fast it is, as published all-reduce times show it: NCCL's latency on NVLink is some 2 us a hop; a
// message over InfiniBand takes some 6 us with both network cards, 400 Gb/s for each GPU. Assumed here, measured nowhere in this project.
constexpr double kNvlinkHop = 2e-6, kNvlinkRate = 370e9, kNetworkHop = 6e-6, kNetworkRate = 48e9;
constexpr int kGpusOfHost = 8;

// Seconds of an all-reduce of `bytes` over `ranks` GPUs: a ring inside a host; between hosts a pair of trees on each card.
double nccl_seconds(double bytes, int ranks) {
  if (ranks == 1) return 0;
  const int inside = std::min(ranks, kGpusOfHost), hosts = (ranks + inside - 1) / inside;
  const double ring = 2.0 * (inside - 1) * kNvlinkHop + 2.0 * (inside - 1) / inside * bytes / kNvlinkRate;
  const double trees = hosts == 1 ? 0 : 2 * std::ceil(std::log2(hosts)) * kNetworkHop + 2 * bytes / (inside * kNetworkRate);
  return ring + trees;
}

int64_t gradient_numbers(const std::string& preset, int slots) {
  ParameterSet set;
  const Denoiser denoiser(set, sized(preset).denoiser);
  return set.size() + 1 + slots;
}

// One rank of the measurement; rank 0 returns times.
JsonOut run_rank(int rank, int ranks, int port, int64_t numbers, bool ordered, double seconds) {
  Place place;
  place.rank = place.local_rank = rank, place.size = place.local_size = ranks, place.master = "127.0.0.1", place.port = port;
  Team team(place, {30, 60, [](const Fault&) {}});
  Communicator& c = team.communicator(Context());
  const Array mine({1, numbers}, DType::f32), all({ranks, numbers}, DType::f32);
  const auto once = [&] {
    if (ordered) c.all_gather(mine, all, "bench");
    else c.all_reduce_sum(mine, "bench");
  };
  // All go on until rank 0 has enough.
  JsonOut times;
  if (rank == 0) {
    times = time_runs(seconds, once);
    c.ask_to_stop();
  }
  while (!c.stop_agreed()) once();
  return times;
}

}  // namespace

JsonOut measure_allreduce(const std::string& preset, int ranks, bool ordered, double seconds) {
  const int64_t numbers = gradient_numbers(preset, ranks);
  const int port = port_of(listen_on("127.0.0.1", 0));
  std::vector<pid_t> others;
  for (int r = 1; r < ranks; r++) {
    const pid_t child = fork();
    if (child < 0) fail(Exit::memory, "bench: no child process");
    if (child == 0) {
      try {
        (void)run_rank(r, ranks, port, numbers, ordered, seconds);
      } catch (const std::exception&) {
        _exit(1);  // rank 0 hears of it
      }
      _exit(0);
    }
    others.push_back(child);
  }
  JsonOut row{{"name", fmt::format("{} preset, {}", preset, ordered ? "ordered" : "fast")}, {"ranks", ranks}, {"bytes", numbers * 4}};
  row.update(run_rank(0, ranks, port, numbers, ordered, seconds));
  for (const pid_t p : others) (void)waitpid(p, nullptr, 0);
  row["gigabytes_per_second"] = double(numbers) * 4 / row["median_seconds"].get<double>() * 1e-9;
  return row;
}

std::vector<JsonOut> reckon_nccl(const std::string& preset) {
  std::vector<JsonOut> rows;
  for (const int ranks : {2, 8, 64, 512}) {
    const int64_t bytes = gradient_numbers(preset, ranks) * 4;
    const double time = nccl_seconds(double(bytes), ranks);
    rows.push_back({{"name", preset + " preset, fast, NCCL reckoned"},
                    {"ranks", ranks},
                    {"bytes", bytes},
                    {"reckoned_seconds", time},
                    {"step_for_90_percent", 9 * time}});  // time / (step + time) = 10 %: nothing of it is hidden
  }
  return rows;
}

}  // namespace stflow::benchmark
