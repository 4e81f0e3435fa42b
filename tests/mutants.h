// Files that were whole once: bytes flipped, cut, doubled, moved.
#pragma once
#include <cstdint>
#include <string>

namespace stflow::test {

/// One to four changes of `bytes`, decided by `number` alone.
std::string mutant(std::string bytes, uint32_t number);

}  // namespace stflow::test
