// SHA-256 (FIPS 180-4): names content in caches and finds damage in checkpoints.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace stflow {

/// Feed bytes with add(), then read the digest once.
class Sha256 {
 public:
  void add(const void* data, size_t bytes);
  void add(std::string_view text) { add(text.data(), text.size()); }
  /// 64 hexadecimal digits. Ends the hash.
  std::string hex();

 private:
  void block(const unsigned char* p);
  uint32_t state_[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  unsigned char buffer_[64] = {};
  uint64_t bytes_ = 0;
};

/// The hash of one piece of text or bytes.
std::string sha256(std::string_view bytes);

}  // namespace stflow
