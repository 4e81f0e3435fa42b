// The op test: one line checks an op's gradients in float64, its lifetimes, and every instruction set in float32.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "engine/tape.h"
#include "ops/graph.h"

namespace stflow::test {

/// Builds the expression under test from inputs of the given shapes.
using Build = std::function<Var(Tape&, const std::vector<Var>&)>;

struct Options {
  double gradient = 1e-6;     // float64: analytic against central differences, relative
  double agree = 1e-5;        // float32 on each instruction set against float64, relative to the largest element
  double low = -1, high = 0;  // inputs ~ U(low, high) if low < high, else N(0, 1)
  std::vector<int> fixed;     // inputs that take no gradient (still random)
  bool training = true;
};

/// REQUIREs that `build`, on N(0,1) inputs of `shapes`:
///  1. has in float64 the gradient that central differences give along 8 random directions (scorched arena, so a
///     wrong keep() shows as NaN);
///  2. gives on every instruction set of this machine, in float32, the same values and gradients within `agree`;
///  3. gives the same bytes with 1, 2 and 3 threads;
///  4. gives on the CUDA back end the same values and gradients within `agree`, and the same bytes in every order of threads (emulated) or
///  in a second run (on a GPU).
/// Under ASan along one direction.
void op(const std::string& name, const Build& build, const std::vector<Shape>& shapes, const Options& options = {});

/// A constant that the expression under test reads (an index, a time): where the tape's device can read it. Use it in a Build instead of
/// tape.input(); the copy lives until the end of op().
Var constant(Tape& tape, const Tensor& host);
/// Likewise for a graph.
const Graph& constant(const Tape& tape, const Graph& host);

/// N(0, 1) numbers, the same for the same seed.
std::vector<double> normal(size_t n, uint64_t seed);

/// max|a - b| / max|b| over two tensors of float or double.
double relative(const Tensor& a, const Tensor& b);

}  // namespace stflow::test
