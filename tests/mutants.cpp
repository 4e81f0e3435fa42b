#include "tests/mutants.h"

#include <algorithm>

#include "engine/random.h"

namespace stflow::test {

std::string mutant(std::string bytes, uint32_t number) {
  const RandomKey key(20251125, Stream::test, number);
  const uint32_t changes = 1 + key.draw(0).v[0] % 4;
  for (uint32_t i = 1; i <= changes && !bytes.empty(); i++) {
    const Philox4 r = key.draw(i);
    // Half of the changes hit the first 512 bytes, where headers are.
    const size_t at = r.v[0] % (r.v[1] % 2 ? bytes.size() : std::min<size_t>(bytes.size(), 512));
    const size_t length = 1 + r.v[2] % std::min<size_t>(bytes.size() - at, 64);
    switch (r.v[3] % 6) {
      case 0: bytes[at] = char(r.v[1] >> 8); break;
      case 1: bytes[at] = char(bytes[at] ^ (1 << (r.v[1] >> 8) % 8)); break;
      case 2: bytes.resize(at); break;
      case 3: bytes.erase(at, length); break;
      case 4: bytes.insert(at, bytes.substr(at, length)); break;
      default: std::fill_n(bytes.begin() + int64_t(at), length, char(r.v[1] % 3 == 0 ? 0 : r.v[1] % 3 == 1 ? 0xff : '9'));
    }
  }
  return bytes;
}

}  // namespace stflow::test
