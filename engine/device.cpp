#include "engine/device.h"

#include <cstdlib>
#include <string>

namespace stflow {

bool supports(Isa isa) {
#ifdef STFLOW_X86
  switch (isa) {
    case Isa::avx512:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vl") && supports(Isa::avx2);
    case Isa::avx2: return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");  // F16C came before AVX2
    case Isa::plain: return true;
  }
#endif
  return isa == Isa::plain;
}

const char* name_of(Isa isa) { return isa == Isa::avx512 ? "avx512" : isa == Isa::avx2 ? "avx2" : "plain"; }

Isa best_isa() {
  static const Isa chosen = [] {
    const char* wish = std::getenv("STFLOW_ISA");
    for (Isa isa : {Isa::avx512, Isa::avx2, Isa::plain}) {
      if (wish && std::string(wish) != name_of(isa)) continue;
      if (supports(isa)) return isa;
      if (wish) fail(Exit::device, "STFLOW_ISA: this machine has no {}, expected plain, avx2 or avx512 as it supports", wish);
    }
    fail(Exit::usage, "STFLOW_ISA: found '{}', expected plain, avx2 or avx512", wish ? wish : "");
  }();
  return chosen;
}

}  // namespace stflow
