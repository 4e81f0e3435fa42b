// Device memory for host code: the same calls reach a GPU (nvcc) or the emulator's guarded heap (g++).
#pragma once
#include <cstddef>

namespace stflow {

/// True where kernels run in the emulator because the program was built without nvcc.
bool cuda_is_emulated();
/// At least one byte, 256-byte aligned, content undefined. Throws Exit::memory naming bytes asked for and free.
void* cuda_allocate(size_t bytes);
void cuda_release(void* p);
/// Copies on a stream; either side may be the host, in pageable memory. With `wait`, returns when it is done.
void cuda_copy(void* to, const void* from, size_t bytes, bool wait, void* stream = nullptr);
/// Every byte becomes `byte`, in the order of the stream.
void cuda_fill(void* p, int byte, size_t bytes, void* stream = nullptr);

}  // namespace stflow
