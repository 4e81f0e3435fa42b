// In which orders the emulated threads of a GPU run.
#pragma once
#include "engine/cuda/emulate.h"

namespace stflow::test {

/// True under ASan, which looks at memory: numbers are compared by the build without it, several times faster.
#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool kOnlyMemory = true;
#else
inline constexpr bool kOnlyMemory = false;
#endif

/// Runs f with the emulated threads in each of the three orders.
template <class F> void in_every_order(F f) {
  for (auto order : {emulator::Order::descending, emulator::Order::shuffled, emulator::Order::ascending}) {
    emulator::set_order(order);
    f();
  }
}

}  // namespace stflow::test
