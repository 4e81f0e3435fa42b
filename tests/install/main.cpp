// Records one op on a tape and compares its result: the installed headers, library and kernels work together.
#include <cmath>
#include <cstdio>

#include "engine/tape.h"
#include "engine/version.h"
#include "ops/layernorm.h"

int main() {
  using namespace stflow;
  float x[] = {1, 2, 3, 4}, weight[] = {1, 1, 1, 1}, bias[] = {0, 0, 0, 0};
  Tape tape;
  const Var y = layernorm(tape.input(view(x, {1, 4})), tape.input(view(weight, {4})), tape.input(view(bias, {4})), 0);
  Storage arena;
  const ParameterSet none;
  tape.plan(false);
  tape.bind(arena, none);
  tape.forward();
  const float first = *tape.value(y).as<float>(), expected = -1.5f / std::sqrt(1.25f);
  std::printf("stflow %s: layernorm %.6f, expected %.6f\n", kVersion, double(first), double(expected));
  return std::fabs(first - expected) < 1e-5f ? 0 : 1;
}
