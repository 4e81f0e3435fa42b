#pragma once
#include "engine/random.h"
#include "engine/tape.h"

namespace stflow {

/// Where one dropout draws its mask: the key of the training item and the number of the dropout inside the model.
/// Element e keeps its value when word e % 4 of key.draw(place << 32 | e / 4), as uniform01, is >= p.
struct Dropout {
  float p = 0;
  RandomKey key;
  uint32_t place = 0;
  [[nodiscard]] bool active() const { return p > 0; }
};

/// x * mask / (1 - p). Model code leaves it out when not training (an inactive Dropout returns x itself).
Var dropout(Var x, Dropout d);

/// y = or += x * mask / (1 - p): forward on the value, backward on the gradient.
template <class B> void dropout_apply(B, const Dropout& d, Tensor x, Tensor y, bool add);

}  // namespace stflow
