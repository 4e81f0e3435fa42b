// The flat gradients of a model in a few parts, each of which is final before the backward pass has ended.
#pragma once
#include <string>
#include <vector>

#include "engine/tape.h"

namespace stflow {

struct Bucket {
  int64_t begin = 0, end = 0;  // elements of the flat array
  int first = 0;               // final once this node of the program has gone backward
  std::string name;            // "gradients 1 of 4"
};

/// Cuts [0, size) at the borders of parameters into at most `count` parts of about equal length, in the order in which a backward pass over
/// the tape's program finishes them. The order follows from the program alone, so that all ranks reduce the same parts in the same order.
std::vector<Bucket> cut_gradients(const Tape& tape, int64_t size, int count);

}  // namespace stflow
