// Memory of this process, and sizes as users write them.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

namespace stflow {

/// Largest resident memory of this process so far, and what is resident now, in bytes.
uint64_t peak_rss_bytes();
uint64_t rss_bytes();

/// "2G", "512M", "1.5GB" or a number of bytes, in powers of 1024. Throws Exit::usage naming the flag.
uint64_t parse_bytes(const std::string& flag, const std::string& text);

}  // namespace stflow
