// What `stflow bench` is made of: each row is measured in a process of its own, so that memory and caches of one do not count for another.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "model/encoder.h"
#include "tools/device_flag.h"
#include "tools/json_out.h"

namespace stflow::benchmark {

/// Calls f once to warm up, then until `seconds` have passed and at least three times; where the first call takes longer than `limit`
/// seconds, it is the only one. {"median_seconds", "best_seconds", "runs"}.
JsonOut time_runs(double seconds, const std::function<void()>& f, double limit = 1e9);

/// Runs `measure` in a child process and returns its object with "peak_rss_bytes" of that process added. The caller must not have
/// used the thread pool or a GPU: rows that run on a device choose it in the child. Errors of the child are thrown here.
JsonOut in_child(const std::function<JsonOut()>& measure);

/// On a GPU, at the end of a row: "device_bytes", all that is taken of its memory, by CUDA and its libraries too.
void add_device_memory(JsonOut& row, const Context& context);

/// GFLOP/s of multiply-adds on all threads: the best of the time given.
JsonOut measure_peak(double seconds);
/// Products at the shapes of ViT-B/16 and STFlow: {"shape": [m, n, k], "gflops", ...} each.
std::vector<JsonOut> measure_gemm(double seconds);
/// The sizes of ViT that can be measured: S/16, B/16, L/16 and g/14 (SwiGLU), 224 px.
extern const std::vector<std::string> kVitSizes;
/// An encoder of random weights on `images` images given at a time: "images_per_second", "gflops", times; on a GPU
/// "card_gflops", what it gives in large products of the same numbers, and "percent_of_peak" of that.
JsonOut measure_vit(const std::string& size, Precision precision, int64_t images, double seconds, double limit, const DeviceFlag& device);

/// One optimiser step on a whole slide of `spots` spots (the denoiser of a preset; 1024 features, 50 genes): times and "arena_bytes".
JsonOut measure_step(const std::string& preset, int64_t spots, double seconds, const DeviceFlag& device);
/// Geometry, what depends on the slide alone, and one draw of four evaluations: times and "arena_bytes".
JsonOut measure_sample(const std::string& preset, int64_t spots, double seconds, const DeviceFlag& device);
/// A whole model (default preset, the width of the shipped encoder's features, all draws) on a slide of `spots` spots, whose features are
/// in a file of the folder TMPDIR or /tmp, in tiles that fit `limit` bytes: times, "tiles", "largest_tile", "planned_bytes".
JsonOut measure_slide(int64_t spots, uint64_t limit, double seconds, const DeviceFlag& device);
/// Each kind of operator in a step at the authors' sizes on a slide of `spots` spots, forward and backward: calls, median seconds of them
/// all, bytes that it has to move (inputs once, results once, gradients likewise) and the rate.
std::vector<JsonOut> measure_operators(int64_t spots, double seconds, const DeviceFlag& device);

/// Adding a preset's gradients up over `ranks` processes of this host with Gloo, in the tree's order (all-gather) or Gloo's (all-reduce):
/// times and "bytes". Like all rows, to be run in a child.
JsonOut measure_allreduce(const std::string& preset, int ranks, bool ordered, double seconds);
/// The same over 2 to 512 GPUs in hosts of eight, from the links' latency and rate: "reckoned_seconds", and "step_for_90_percent", the
/// seconds of computation for which the ranks are busy 90 % of the time.
std::vector<JsonOut> reckon_nccl(const std::string& preset);

}  // namespace stflow::benchmark
