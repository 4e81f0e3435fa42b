// 16-bit floating point as it is stored in files: IEEE half and bfloat16, rounded to nearest even.
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>

namespace stflow {

/// Such a number as it lies in memory.
struct Half {
  uint16_t bits;
};
struct Bfloat {
  uint16_t bits;
};

inline float half_to_float(uint16_t h) {
  uint32_t sign = uint32_t(h & 0x8000u) << 16, exponent = (h >> 10) & 31u, fraction = h & 0x3ffu;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | fraction << 13);
  if (exponent == 0) return (sign ? -1.0f : 1.0f) * std::ldexp(float(fraction), -24);
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
}

inline uint16_t float_to_half(float x) {
  uint32_t bits = std::bit_cast<uint32_t>(x), sign = bits >> 16 & 0x8000u, rest = bits & 0x7fffffffu;
  if (rest > 0x7f800000u) return uint16_t(sign | 0x7e00u);   // NaN
  if (rest >= 0x477ff000u) return uint16_t(sign | 0x7c00u);  // 65520 and more round to infinity
  if (rest < 0x38800000u) {                                  // below the smallest normal: units of 2^-24
    return uint16_t(sign | uint32_t(std::nearbyint(std::ldexp(std::bit_cast<float>(rest), 24))));
  }
  uint32_t rounded = rest + 0xfffu + (rest >> 13 & 1u);
  return uint16_t(sign | ((rounded >> 13) - (112u << 10)));
}

inline float bfloat_to_float(uint16_t b) { return std::bit_cast<float>(uint32_t(b) << 16); }

inline uint16_t float_to_bfloat(float x) {
  uint32_t bits = std::bit_cast<uint32_t>(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return uint16_t(bits >> 16 | 0x40u);  // NaN stays NaN
  return uint16_t((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

}  // namespace stflow
