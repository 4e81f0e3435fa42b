// Philox4x32-10 (Salmon et al., SC 2011): a counter-based generator. A draw is a pure function of (seed, where it is
// used), so no generator state depends on threads, ranks or the order of work. Same bits on CPU and CUDA.
#pragma once
#include <cstdint>

#ifdef __CUDACC__
#define STFLOW_BOTH __host__ __device__
#else
#define STFLOW_BOTH
#endif

namespace stflow {

/// What a stream of random numbers is for; part of the counter, so that streams never meet.
enum class Stream : uint32_t { init = 1, item = 2, time = 3, prior = 4, dropout = 5, augment = 6, mask = 7, split = 8, test = 99 };

struct Philox4 {
  uint32_t v[4];
};

/// Philox on counter c with key k. Ten rounds are the authors' safety margin; seven already pass every test of BigCrush (their table 2).
STFLOW_BOTH inline Philox4 philox(Philox4 c, uint32_t k0, uint32_t k1, int rounds = 10) {
  for (int round = 0; round < rounds; round++) {
    uint64_t a = uint64_t(0xD2511F53u) * c.v[0], b = uint64_t(0xCD9E8D57u) * c.v[2];
    c = {{uint32_t(b >> 32) ^ c.v[1] ^ k0, uint32_t(b), uint32_t(a >> 32) ^ c.v[3] ^ k1, uint32_t(a)}};
    k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
  }
  return c;
}

/// Step and slot of a key, in the memory of a device: where kernels read them, the launches of a step are those of the step before.
struct KeyPlace {
  uint32_t step, slot;
};

/// A place in the program's randomness: seed + stream + two coordinates (step, slot). draw(i) gives four words for index i.
struct RandomKey {
  uint64_t seed = 0;
  uint32_t stream = 0, step = 0, slot = 0;

  RandomKey() = default;
  bool operator==(const RandomKey&) const = default;
  STFLOW_BOTH RandomKey(uint64_t seed_, Stream s, uint32_t step_ = 0, uint32_t slot_ = 0)
      : seed(seed_), stream(uint32_t(s)), step(step_), slot(slot_) {}
  /// This key at that place; itself where there is none.
  STFLOW_BOTH RandomKey at(const KeyPlace* place) const {
    RandomKey k = *this;
    if (place) k.step = place->step, k.slot = place->slot;
    return k;
  }
  /// Index below 2^32; stream and slot share a counter word (slot < 2^24).
  STFLOW_BOTH Philox4 draw(uint64_t i, int rounds = 10) const {
    return philox({{uint32_t(i), uint32_t(i >> 32), step, (stream << 24) ^ slot}}, uint32_t(seed), uint32_t(seed >> 32), rounds);
  }
};

/// Uniform in [0, 1): 24 bits, so that float holds it exactly.
STFLOW_BOTH inline float uniform01(uint32_t w) { return float(w >> 8) * (1.0f / 16777216.0f); }
/// Uniform in (0, 1): 53 bits from two words, never 0 or 1.
STFLOW_BOTH inline double open01(uint32_t hi, uint32_t lo) {
  return (double(((uint64_t(hi) << 32) | lo) >> 12) + 0.5) * (1.0 / 4503599627370496.0);
}

}  // namespace stflow
