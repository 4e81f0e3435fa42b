#include "ops/fma_probe.h"

#include "ops/cpu/simd.h"

namespace stflow {

// Two units with a latency of four or five cycles need ten chains; with twelve, the factor and the term, sixteen registers do.
template <> double fma_probe(ThisIsa, int64_t rounds, float* sink) {
  using R = Reg<float>;
  const R a = R{} + 0.999f, b = R{} + 0.001f;
  // Chains of equal starts would be one chain to the compiler.
  R c0 = R{} + sink[0], c1 = R{} + sink[1], c2 = R{} + sink[2], c3 = R{} + sink[3], c4 = R{} + sink[4], c5 = R{} + sink[5];
  R c6 = R{} + sink[6], c7 = R{} + sink[7], c8 = R{} + sink[8], c9 = R{} + sink[9], c10 = R{} + sink[10], c11 = R{} + sink[11];
  auto next = [&](R& c) STFLOW_INLINE_LAMBDA { c = multiply_add<float>(c, a, b); };
  for (int64_t i = 0; i < rounds; i++) {
    next(c0), next(c1), next(c2), next(c3), next(c4), next(c5);
    next(c6), next(c7), next(c8), next(c9), next(c10), next(c11);
  }
  const R all = ((c0 + c1) + (c2 + c3)) + ((c4 + c5) + (c6 + c7)) + ((c8 + c9) + (c10 + c11));
  std::memcpy(sink, &all, sizeof all);
  return double(rounds) * 2 * 12 * kRegister / sizeof(float);
}

}  // namespace stflow
