// CUDA on the host: the threads of a block are fibers, blocks run one after another. Strict on purpose: whole warps only,
// every thread must reach every barrier, blocks may not wait for each other, memory that nothing wrote is NaN, and device
// memory is out of bounds for the host (under ASan). What this cannot show: coalescing, bank conflicts, occupancy, the weak
// memory model, the last bits of fused multiply-adds, and cuBLAS, cuDNN and NCCL themselves.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "engine/half.h"

// The names below are CUDA's.
// NOLINTBEGIN(clang-diagnostic-reserved-identifier,clang-diagnostic-reserved-macro-identifier)
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

inline dim3 threadIdx, blockIdx, blockDim, gridDim;  // of the running fiber

using cudaStream_t = void*;

namespace stflow {

namespace emulator {

/// The order in which blocks, and the threads of each, run.
enum class Order { ascending, descending, shuffled };
void set_order(Order order);
/// While one lives, every kernel runs in all three orders from the same device memory, and one that leaves different bytes behind is
/// refused by its name: a barrier is missing, or threads race. For small device memory: each launch copies all of it.
struct InEveryOrder {
  InEveryOrder();
  ~InEveryOrder();
  InEveryOrder(const InEveryOrder&) = delete;
  InEveryOrder& operator=(const InEveryOrder&) = delete;
};

/// Runs a kernel's threads. Throws Error (Exit::internal) naming the kernel when a barrier is not reached by all.
void run(const char* name, dim3 grid, dim3 block, size_t shared, const std::function<void()>& thread);
/// Names of the kernels run so far, each once, in the order of their first run.
const std::vector<std::string>& kernels_run();

/// The device has so much memory from now on; without a call, as much as the host.
void set_memory(size_t bytes);
struct Memory {
  size_t free, total;
};
Memory memory();
/// Device memory: filled with NaN; under ASan no one but kernels and the two calls below may touch it. Null where too little is free.
void* allocate(size_t bytes);
void release(void* p);
void* allocate_host(size_t bytes);
void release_host(void* p);
/// Done at once, except what a host must not believe yet: a copy into pinned memory is NaN there until the host waits for the stream (or an
/// event behind it). Pinned memory from which a copy went must be unchanged by then: a GPU may come to it as late as that.
void copy(void* to, const void* from, size_t bytes, bool wait = true, void* stream = nullptr);
void fill(void* p, int byte, size_t bytes, void* stream = nullptr);
void* new_stream();
int64_t enqueued();  // copies with pinned memory so far
/// Who waits for `later` has waited for what is in `earlier` by now.
void follow(void* later, void* earlier);
/// The host waits: for all streams, or for the copies up to `number` of one.
void wait();
void wait(void* stream, int64_t number);
/// True when the host has waited for those copies.
bool arrived(void* stream, int64_t number);
/// The same without being counted: the stream is found done. Throws Error (Exit::internal) for pinned memory that has changed.
void arrive(void* stream);

/// What the host has asked of the device since the program began.
struct Counts {
  int64_t launches = 0, copies = 0, fills = 0, replays = 0;  // of what is in a replayed graph, nothing is counted
  int64_t allocations = 0, waits = 0;
  int64_t pageable = 0;           // copies with host memory that is not pinned, which a driver has to stage
  int64_t waits_before_work = 0;  // of the waits, those after which a launch, copy, fill or replay came
};
const Counts& counts();

/// Work of a stream as a graph holds it: arguments and addresses as they were, memory as it is then.
using Recording = std::vector<std::function<void()>>;
/// Runs f, whose launches, copies and fills are not done but returned. Refuses by name (Error, Exit::internal) what the capture of a graph
/// refuses: allocations, waits, copies with pageable memory of the host.
Recording record(const char* name, const std::function<void()>& f);
void replay(const Recording& recording);
/// Throws if this thread records: no graph of ours has such a thing.
void refuse_recorded(const char* what);

void sync_block(int site);
void sync_warp(int site);
/// Thirty-two slots of the running warp; two banks in turn.
uint64_t* warp_slots();
int lane();
void* dynamic_shared();
int new_array();  // a number for each shared_array<>
/// That array in the running block: made, and filled with NaN, when the block first asks for it.
void* shared_array(int number, size_t bytes);

template <class T> T exchange(T value, int from, int site) {
  static_assert(sizeof(T) <= 8);
  uint64_t* slots = warp_slots();
  std::memcpy(&slots[lane()], &value, sizeof(T));
  sync_warp(site);
  T out;
  std::memcpy(&out, &slots[from & 31], sizeof(T));
  return out;
}

}  // namespace emulator

struct Launch {
  dim3 grid, block;
  size_t shared = 0;
  cudaStream_t stream = nullptr;
};

template <class... P, class... A> void launch(const char* name, void (*kernel)(P...), const Launch& l, A... args) {
  if (l.grid.x == 0 || l.grid.y == 0 || l.grid.z == 0) return;
  emulator::run(name, l.grid, l.block, l.shared, [kernel, args...] { kernel(static_cast<P>(args)...); });
}
template <class T, int N, class Tag> T* shared_array() {
  static const int number = emulator::new_array();
  return static_cast<T*>(emulator::shared_array(number, sizeof(T) * N));
}
inline Bfloat to_bfloat(float x) { return {float_to_bfloat(x)}; }
template <class T> T* dynamic_shared() { return static_cast<T*>(emulator::dynamic_shared()); }

}  // namespace stflow

inline void __syncthreads(int site = __builtin_LINE()) { stflow::emulator::sync_block(site); }
inline void __syncwarp(unsigned = 0xffffffffu, int site = __builtin_LINE()) { stflow::emulator::sync_warp(site); }
template <class T> T __shfl_sync(unsigned, T v, int from, int site = __builtin_LINE()) { return stflow::emulator::exchange(v, from, site); }
template <class T> T __shfl_xor_sync(unsigned, T v, int mask, int site = __builtin_LINE()) {
  return stflow::emulator::exchange(v, stflow::emulator::lane() ^ mask, site);
}
template <class T> T __shfl_up_sync(unsigned, T v, int by, int site = __builtin_LINE()) {
  const int from = stflow::emulator::lane() - by;
  return stflow::emulator::exchange(v, from >= 0 ? from : stflow::emulator::lane(), site);
}
template <class T> T __shfl_down_sync(unsigned, T v, int by, int site = __builtin_LINE()) {
  const int from = stflow::emulator::lane() + by;
  return stflow::emulator::exchange(v, from < 32 ? from : stflow::emulator::lane(), site);
}
inline unsigned __ballot_sync(unsigned, int predicate, int site = __builtin_LINE()) {
  uint64_t* slots = stflow::emulator::warp_slots();
  slots[stflow::emulator::lane()] = predicate != 0;
  stflow::emulator::sync_warp(site);
  unsigned out = 0;
  for (int i = 0; i < 32; i++) out |= unsigned(slots[i]) << i;
  return out;
}
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
/// Integers only: the order in which floats arrive would change their sum.
inline int atomicAdd(int* p, int v) {
  const int old = *p;
  *p = old + v;
  return old;
}
inline int atomicMin(int* p, int v) {
  const int old = *p;
  *p = std::min(old, v);
  return old;
}
inline int atomicMax(int* p, int v) {
  const int old = *p;
  *p = std::max(old, v);
  return old;
}
template <class T> T __ldg(const T* p) { return *p; }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
using std::max;
using std::min;
// NOLINTEND(clang-diagnostic-reserved-identifier,clang-diagnostic-reserved-macro-identifier)
