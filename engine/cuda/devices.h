// Which GPUs there are, and which one this process works on.
#pragma once
#include <cstddef>
#include <string>
#include <vector>

namespace stflow {

struct CudaDevice {
  std::string name;
  int major = 0, minor = 0;  // compute capability
  int multiprocessors = 0;
  size_t free = 0, total = 0;  // bytes of memory
};

/// All GPUs that the driver shows, in its order. None in a build without CUDA, or where the driver shows none: `why_none` says which.
std::vector<CudaDevice> cuda_devices(std::string& why_none);
/// From now on, this thread's kernels and memory are those of device `number`.
void cuda_use(int number);
/// Versions of what this program runs with: {"CUDA driver", "13.0"}, {"CUDA runtime", ...}, {"cuBLASLt", ...}. Empty in a build without
/// CUDA.
std::vector<std::pair<std::string, std::string>> cuda_versions();
/// Waits until all work of the current device is done; throws Exit::device for what went wrong in it.
void cuda_wait();
/// Whether all work of a stream is done, without waiting. Throws Exit::device for what went wrong in it.
bool cuda_done(void* stream);

/// A stream beside the default one, of the current device. The emulator has one stream, in which everything is done at once.
class CudaStream {
 public:
  CudaStream();
  ~CudaStream();
  CudaStream(const CudaStream&) = delete;
  CudaStream& operator=(const CudaStream&) = delete;
  [[nodiscard]] void* get() const { return stream_; }

 private:
  void* stream_ = nullptr;
};
/// What is put into `later` from now on waits for what is in `earlier`.
void cuda_follow(void* later, void* earlier);

}  // namespace stflow
