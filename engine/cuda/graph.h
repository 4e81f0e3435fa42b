// Work of a stream that is recorded once and then started as a whole: a launch by itself costs the host 2 to 3 us, in a graph the GPU
// goes from kernel to kernel without the host.
#pragma once
#include <cstddef>
#include <functional>
#include <memory>

namespace stflow {

class CudaGraph {
 public:
  /// Records what work() puts into the stream, without doing it: launches with their arguments, copies and fills with their addresses. What
  /// is to change between replays is in device memory, and all addresses must stay. A graph can hold no allocation, no wait and no copy
  /// with pageable memory of the host: the emulator refuses them by `name` (Exit::internal), CUDA itself throws Exit::device. Kernels are
  /// loaded and libraries warmed at their first launch, so work() should have run once before.
  CudaGraph(const char* name, void* stream, const std::function<void()>& work);
  CudaGraph(CudaGraph&&) noexcept;
  CudaGraph& operator=(CudaGraph&&) noexcept;
  ~CudaGraph();

  /// Puts the recorded work into a stream.
  void replay(void* stream) const;
  /// Launches, copies and fills in it.
  [[nodiscard]] size_t nodes() const;

 private:
  struct Recorded;
  std::unique_ptr<Recorded> recorded_;
};

}  // namespace stflow
