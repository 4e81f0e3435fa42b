#include "engine/cuda/memory.h"

#include "engine/cuda/cuda.h"

namespace stflow {

namespace {

[[noreturn]] void out_of_memory(size_t bytes, size_t free, size_t total) {
  fail(Exit::memory, "device memory: {} bytes asked for, {} of {} free, expected enough; lower --batch-size, or choose --device cpu", bytes,
       free, total);
}

}  // namespace

#ifdef __CUDACC__
bool cuda_is_emulated() { return false; }

void* cuda_allocate(size_t bytes) {
  void* p = nullptr;
  if (cudaMalloc(&p, bytes > 0 ? bytes : 1) == cudaSuccess) return p;
  (void)cudaGetLastError();
  size_t free = 0, total = 0;
  cuda_check(cudaMemGetInfo(&free, &total), "memory");
  out_of_memory(bytes, free, total);
}

void cuda_release(void* p) { (void)cudaFree(p); }

void cuda_copy(void* to, const void* from, size_t bytes, bool wait, void* stream) {
  const auto s = static_cast<cudaStream_t>(stream);
  cuda_check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, s), "copy");
  if (wait) cuda_check(cudaStreamSynchronize(s), "copy");
}

void cuda_fill(void* p, int byte, size_t bytes, void* stream) {
  cuda_check(cudaMemsetAsync(p, byte, bytes, static_cast<cudaStream_t>(stream)), "fill");
}
#else
bool cuda_is_emulated() { return true; }
void* cuda_allocate(size_t bytes) {
  if (void* p = emulator::allocate(bytes)) return p;
  const emulator::Memory m = emulator::memory();
  out_of_memory(bytes, m.free, m.total);
}
void cuda_release(void* p) { emulator::release(p); }
void cuda_copy(void* to, const void* from, size_t bytes, bool, void*) { emulator::copy(to, from, bytes); }
void cuda_fill(void* p, int byte, size_t bytes, void*) { emulator::fill(p, byte, bytes); }
#endif

}  // namespace stflow
