// What the multiply-add units of one thread give: the measure that every other time is held against.
#pragma once
#include <cstdint>

namespace stflow {

/// Runs `rounds` rounds of independent multiply-adds in registers, on the calling thread, and returns the floating-point operations
/// done (a multiply-add is two). `sink` (16) holds where the chains start and receives a value
/// that depends on all of them.
template <class B> double fma_probe(B, int64_t rounds, float* sink);

}  // namespace stflow
