#pragma once
#include "engine/random.h"
#include "engine/tape.h"

namespace stflow {

/// Where one dropout draws its mask: the key of the training item and the number of the dropout inside the model.
/// Masks are the most numerous draws of a training step (about a hundred million at 3,000 spots), so eight elements share one draw of
/// seven rounds: element e keeps its value when half e % 8, lowest bits first, of key.draw(place << 32 | e / 8, 7) is >= dropped().
/// What is kept is scaled by the inverse of the probability in these 16 bits, so that the expectation is exact.
struct Dropout {
  static constexpr int kRounds = 7, kHalves = 8;
  float p = 0;
  RandomKey key;
  uint32_t place = 0;
  const KeyPlace* now = nullptr;  // in a device's memory: its kernels draw with the key there
  [[nodiscard]] bool active() const { return p > 0; }
  /// Of 65,536 values of a half, how many drop; never all.
  [[nodiscard]] uint32_t dropped() const { return p < 65535.0f / 65536 ? uint32_t(double(p) * 65536 + 0.5) : 65535; }
  [[nodiscard]] double scale() const { return 65536.0 / (65536.0 - dropped()); }
};

/// x * mask / (1 - p). Model code leaves it out when not training (an inactive Dropout returns x itself).
Var dropout(Var x, Dropout d);

/// y = or += x * mask / (1 - p): forward on the value, backward on the gradient.
template <class B> void dropout_apply(B, const Dropout& d, Tensor x, Tensor y, bool add);

}  // namespace stflow
