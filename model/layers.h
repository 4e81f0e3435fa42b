// The layers that every model is made of: each declares its parameters under the reference's names and records ops.
#pragma once
#include <string>

#include "engine/tape.h"
#include "ops/layernorm.h"
#include "ops/linear.h"

namespace stflow {

/// y = activation(x W^T + b); parameters `<name>.weight` (out, in) and unless `biased` is false `<name>.bias` (out).
struct Linear {
  Parameter weight, bias;

  Linear() = default;
  Linear(ParameterSet& set, const std::string& name, int64_t in, int64_t out, Init init = Init::fan_in, bool biased = true)
      : weight(set.matrix(name + ".weight", {out, in}, init, in)) {
    bias.present = biased;
    if (biased) bias = set.add(name + ".bias", {out}, init == Init::fan_in ? Init::fan_in : Init::zero, in);
  }
  Var operator()(Var x, Activation a = Activation::none) const {
    return linear(x, x.tape->param(weight), bias.present ? x.tape->param(bias) : Var{}, a);
  }
};

/// Layer normalisation over the last dimension (n); parameters `<name>.weight` and `<name>.bias`.
struct LayerNorm {
  Parameter weight, bias;
  float eps = 1e-5f;

  LayerNorm() = default;
  LayerNorm(ParameterSet& set, const std::string& name, int64_t n, float epsilon = 1e-5f)
      : weight(set.add(name + ".weight", {n}, Init::one)), bias(set.add(name + ".bias", {n}, Init::zero)), eps(epsilon) {}
  Var operator()(Var x) const { return layernorm(x, x.tape->param(weight), x.tape->param(bias), eps); }
};

}  // namespace stflow
