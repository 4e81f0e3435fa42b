// Where a kernel runs. A back end is a tag type; every kernel is a template over the tag, declared once and defined
// once per back end: ops/cpu/X.cpp is compiled once per CPU instruction set, ops/cuda/X.cu holds the CUDA half.
#pragma once
#include <cstdint>

#include "engine/error.h"

namespace stflow {

struct Plain {};   // the baseline of the architecture (SSE2 on x86-64, NEON on aarch64)
struct Avx2 {};    // AVX2 + FMA + F16C
struct Avx512 {};  // AVX-512 F/BW/DQ/VL
/// One NVIDIA GPU, or the emulator where the program was built without nvcc (engine/cuda/). Never float64.
struct Cuda {
  void* stream = nullptr;
  bool tf32 = false;  // products of float32 matrices round them to TF32
};

/// Whose memory it is.
enum class Device { cpu, cuda };
enum class Isa { plain, avx2, avx512 };
/// What matrix products on a GPU may round their factors to. tf32: 10 bits of mantissa, sums in float32. bf16, for inference: matrices that
/// are held in bf16 meet activations in bf16, and values between products are stored so (Tape::plan); other products are tf32.
enum class Products : uint8_t { f32, tf32, bf16 };

/// The widest instruction set of this machine, or the one STFLOW_ISA (plain, avx2, avx512) names. Decided once.
/// Throws Exit::device if STFLOW_ISA names one that this machine lacks.
Isa best_isa();
const char* name_of(Isa);
/// True when this machine can run `isa`.
bool supports(Isa isa);

/// The instruction sets beside the baseline: not where a program is built for its CUDA kernels alone (`make memory`).
#if defined(__x86_64__) && !defined(STFLOW_ONLY_PLAIN)
#define STFLOW_X86 1
#endif

/// What an op needs to know to run: passed by value.
struct Context {
  Isa isa = best_isa();
  Device device = Device::cpu;
  void* stream = nullptr;  // of the CUDA device; null is its default stream
  bool graphs = true;      // work that comes again on a GPU is launched as a whole (engine/replays.h)
  Products products = Products::f32;
};

/// Calls f(tag) with the tag of an instruction set: for what only the CPU back ends define.
template <class F> void on_cpu([[maybe_unused]] Isa isa, F f) {
#ifdef STFLOW_X86
  switch (isa) {
    case Isa::avx512: return f(Avx512{});
    case Isa::avx2: return f(Avx2{});
    case Isa::plain: break;
  }
#endif
  f(Plain{});
}

/// The one place where a back end is chosen: calls f(tag).
template <class F> void on(const Context& c, F f) {
  if (c.device == Device::cuda) return f(Cuda{c.stream, c.products != Products::f32});
  on_cpu(c.isa, f);
}

}  // namespace stflow
