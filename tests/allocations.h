// How often the test program has asked for memory: for promises of the kind "a step allocates nothing".
#pragma once
#include <cstdint>

namespace stflow::test {

/// Calls of operator new so far, in all threads.
int64_t allocations();

}  // namespace stflow::test
