#pragma once
#include <cstdint>

namespace stflow {

/// Pieces into which a sum over rows is cut: depends on the shape only, so the order of addition is fixed.
constexpr int64_t reduce_pieces(int64_t rows) { return rows < 16 ? 1 : rows < 1024 ? 4 : 32; }

}  // namespace stflow
