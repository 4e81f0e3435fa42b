#pragma once
#include "engine/tape.h"

namespace stflow {

/// How a sequence of tokens becomes one feature vector.
enum class Pooling : uint8_t {
  cls,       // the class token (d)
  mean,      // the mean over patch tokens (d)
  cls_mean,  // class token, then mean (2 d): Virchow, H0-mini
};
constexpr const char* name_of(Pooling p) { return p == Pooling::cls ? "cls" : p == Pooling::mean ? "mean" : "cls_mean"; }
constexpr Pooling kPoolings[] = {Pooling::cls, Pooling::mean, Pooling::cls_mean};
constexpr int64_t pooled_size(Pooling p, int64_t d) { return p == Pooling::cls_mean ? 2 * d : d; }

/// x (images, tokens, d) -> (images, pooled_size). The first `prefix` tokens (class token, registers) are no patches.
Var pool_tokens(Var x, int64_t prefix, Pooling pooling);

template <class B> void pool_tokens_forward(B, Tensor x, int64_t prefix, Pooling pooling, Tensor y);
/// Adds into dx.
template <class B> void pool_tokens_backward(B, Tensor dy, int64_t prefix, Pooling pooling, Tensor dx);

}  // namespace stflow
