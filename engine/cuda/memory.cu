#include "engine/cuda/memory.h"

#include "engine/cuda/cuda.h"

namespace stflow {

namespace {

[[noreturn]] void out_of_memory(size_t bytes) {
  const auto [free, total] = cuda_memory();
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
  out_of_memory(bytes);
}

CudaMemory cuda_memory() {
  CudaMemory m;
  cuda_check(cudaMemGetInfo(&m.free, &m.total), "memory");
  return m;
}

void cuda_release(void* p) { (void)cudaFree(p); }

void* cuda_allocate_host(size_t bytes) {
  void* p = nullptr;
  cuda_check(cudaHostAlloc(&p, bytes > 0 ? bytes : 1, cudaHostAllocDefault), "pinned memory of the host");
  return p;
}

void cuda_release_host(void* p) { (void)cudaFreeHost(p); }

void cuda_copy(void* to, const void* from, size_t bytes, bool wait, void* stream) {
  const cudaStream_t s = stream_of({stream});
  cuda_check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, s), "copy");
  if (wait) cuda_check(cudaStreamSynchronize(s), "copy");
}

void cuda_fill(void* p, int byte, size_t bytes, void* stream) { cuda_check(cudaMemsetAsync(p, byte, bytes, stream_of({stream})), "fill"); }
#else
bool cuda_is_emulated() { return true; }
void* cuda_allocate(size_t bytes) {
  if (void* p = emulator::allocate(bytes)) return p;
  out_of_memory(bytes);
}
CudaMemory cuda_memory() {
  const emulator::Memory m = emulator::memory();
  return {m.free, m.total};
}
void cuda_release(void* p) { emulator::release(p); }
void* cuda_allocate_host(size_t bytes) { return emulator::allocate_host(bytes); }
void cuda_release_host(void* p) { emulator::release_host(p); }
void cuda_copy(void* to, const void* from, size_t bytes, bool wait, void* stream) { emulator::copy(to, from, bytes, wait, stream); }
void cuda_fill(void* p, int byte, size_t bytes, void* stream) { emulator::fill(p, byte, bytes, stream); }
#endif

namespace {

__global__ void store_kernel(float* p, float value) {
  if (threadIdx.x == 0) *p = value;
}

}  // namespace

void cuda_store(float* p, float value, void* stream) { launch("store", store_kernel, {1, kWarp, 0, stream_of({stream})}, p, value); }

}  // namespace stflow
