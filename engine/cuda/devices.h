// Which GPUs there are, and which one this process works on.
#pragma once
#include <cstddef>
#include <cstdint>
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
/// The stream that a null one stands for: the calling thread's own for its current device, as CUDA's default stream cannot be captured in a
/// graph; any other is itself.
void* cuda_stream(void* stream);
/// Waits until all work of the current device is done; throws Exit::device for what went wrong in it.
void cuda_wait();
/// Whether all work of a stream is done, without waiting. Throws Exit::device for what went wrong in it.
bool cuda_done(void* stream);

/// A stream beside the default one, of the current device, which waits for no other. The emulator does all work at once.
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

/// A place in a stream.
class CudaEvent {
 public:
  CudaEvent();
  ~CudaEvent();
  CudaEvent(const CudaEvent&) = delete;
  CudaEvent& operator=(const CudaEvent&) = delete;
  /// From now on it is behind all that has been put into the stream by now.
  void record(void* stream);
  /// The host waits until the work before it is done; at once where it was never recorded. Throws Exit::device for what went wrong in it.
  void wait() const;
  /// Whether it is done, without waiting; true where it was never recorded.
  [[nodiscard]] bool done() const;

 private:
  void* event_ = nullptr;
  void* stream_ = nullptr;  // of the emulator's
  int64_t number_ = 0;
};

}  // namespace stflow
