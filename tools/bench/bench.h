// What `stflow bench` is made of: each row is measured in a process of its own, so that memory and caches of one do not count for another.
#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "tools/device_flag.h"
#include "tools/json_out.h"

namespace stflow::benchmark {

/// Calls f once to warm up, then until `seconds` have passed and at least three times.
/// {"median_seconds", "best_seconds", "runs"}.
JsonOut time_runs(double seconds, const std::function<void()>& f);

/// Runs `measure` in a child process and returns its object with "peak_rss_bytes" of that process added. The caller must not have
/// used the thread pool or a GPU: rows that run on a device choose it in the child. Errors of the child are thrown here.
JsonOut in_child(const std::function<JsonOut()>& measure);

/// GFLOP/s of multiply-adds on all threads: the best of the time given.
JsonOut measure_peak(double seconds);
/// Products at the shapes of ViT-B/16 and STFlow: {"shape": [m, n, k], "gflops", ...} each.
std::vector<JsonOut> measure_gemm(double seconds);
/// ViT-B/16, 224 px, float32, random weights, on `images` images at a time: "images_per_second", "gflops", times.
JsonOut measure_vit(int64_t images, double seconds, const DeviceFlag& device);

/// One optimiser step on a whole slide of `spots` spots (the denoiser of a preset; 1024 features, 50 genes): times and "arena_bytes".
JsonOut measure_step(const std::string& preset, int64_t spots, double seconds, const DeviceFlag& device);
/// Geometry, what depends on the slide alone, and one draw of four evaluations: times and "arena_bytes".
JsonOut measure_sample(const std::string& preset, int64_t spots, double seconds, const DeviceFlag& device);
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
