// --device: where a command computes.
#pragma once
#include <string>

#include "engine/cuda/devices.h"
#include "engine/device.h"
#include "tools/options.h"

namespace stflow {

struct DeviceFlag {
  std::string device = "auto";
  bool emulate = false;
  bool graph = true;
};

/// "NVIDIA H100, compute capability 9.0, 79 GB of 80 GB free".
std::string text_of(const CudaDevice& d);

/// Declares --device, --emulate and --no-graph.
void declare_device(Options& o, DeviceFlag& f);

/// What a command runs on, and the sentence that says so.
struct ChosenDevice {
  Context context;
  std::string text;  // "cpu (auto: this build has no CUDA), avx512, 2 threads"
};

/// auto: the first GPU where this build has CUDA and the driver shows one, else the CPU. Throws Exit::usage for what is no device,
/// Exit::device for one that is not there or that this build cannot use. A build without CUDA emulates its kernels on the CPU under
/// --emulate alone: right, and far too slow for more than tests.
/// Of several ranks on a host, `local_rank` is this one's number: auto and cuda then mean the GPU of that number.
ChosenDevice choose_device(const DeviceFlag& f, int local_rank = 0);

}  // namespace stflow
