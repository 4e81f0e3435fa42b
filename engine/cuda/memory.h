// Device memory for host code: the same calls reach a GPU (nvcc) or the emulator's guarded heap (g++).
#pragma once
#include <cstddef>

namespace stflow {

/// True where kernels run in the emulator because the program was built without nvcc.
bool cuda_is_emulated();
/// At least one byte, 256-byte aligned, content undefined. Throws Exit::memory naming bytes asked for and free.
void* cuda_allocate(size_t bytes);
void cuda_release(void* p);
/// Of the device in use, whoever has what is not free.
struct CudaMemory {
  size_t free = 0, total = 0;
  [[nodiscard]] size_t taken() const { return total - free; }
};
CudaMemory cuda_memory();
/// Host memory that the device reaches by itself, so that a copy neither is staged by the driver nor holds up the caller: for what is
/// copied again and again, as the call takes far longer than an allocation. At least one byte, content undefined. Throws Exit::memory.
void* cuda_allocate_host(size_t bytes);
void cuda_release_host(void* p);
/// Copies on a stream; either side may be the host. With `wait`, returns when it is done. Without, a host side in pageable memory may be
/// changed after the call; one of cuda_allocate_host() must stay, and be believed, only once the stream has come to the copy.
void cuda_copy(void* to, const void* from, size_t bytes, bool wait, void* stream = nullptr);
/// Every byte becomes `byte`, in the order of the stream.
void cuda_fill(void* p, int byte, size_t bytes, void* stream = nullptr);
/// *p = value, in the order of the stream, with no memory of the host read.
void cuda_store(float* p, float value, void* stream = nullptr);

}  // namespace stflow
