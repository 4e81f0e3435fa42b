#include "ops/window_attention.h"

#include <algorithm>
#include <cmath>

#include "ops/gemm.h"

namespace stflow {
namespace {

struct WindowAttention final : Op {
  int heads;
  WindowGrid grid;
  WindowAttention(int h, const WindowGrid& g) : heads(h), grid(g) {}

  const char* name() const override { return "window_attention"; }
  Tensor infer(std::span<const Tensor> in) const override {
    const Shape &s = in[0].shape, &b = in[1].shape;
    check(s.rank == 3 && heads > 0 && s[2] % (3 * heads) == 0 && grid.side * grid.side == s[1] && grid.side > 0,
          "window_attention: qkv {} and {} heads, expected (images, side x side, 3 x heads x n)", s.text(), heads);
    check(grid.window > 0 && grid.side % grid.window == 0 && grid.shift >= 0 && grid.shift < grid.window,
          "window_attention: windows of {} shifted by {} on a side of {}, expected a divisor and a part of it", grid.window, grid.shift,
          grid.side);
    const int64_t offsets = 2 * grid.window - 1;
    check(b == Shape{offsets * offsets, heads}, "window_attention: bias {}, expected ({}, {})", b.text(), offsets * offsets, heads);
    return {nullptr, {s[0], s[1], s[2] / 3}, in[0].type};
  }
  void forward(const Call& c) const override {
    on(c.context, [&](auto b) { window_attention_forward(b, c.in[0], c.in[1], heads, grid, c.out, c.scratch); });
  }
  void backward(const Call& c) const override {
    on(c.context, [&](auto b) { window_attention_backward(b, c.in[0], c.in[1], heads, grid, c.dout, c.din[0], c.din[1], c.scratch); });
  }
  unsigned keep() const override { return kInputs; }
  size_t scratch_bytes(const Call& c, bool backward) const override {
    return size_t(window_attention_scratch(c.context.device, c.in[0], heads, grid, backward)) * bytes_of(c.out.type);
  }
};

}  // namespace

Var window_attention(Var qkv, Var bias, int heads, int window, int shift) {
  const auto side = int64_t(std::lround(std::sqrt(double(qkv.shape()[1]))));
  return qkv.tape->record(WindowAttention(heads, {side, window, shift}), {qkv, bias});
}

// CPU: the bias of every head spread over (cells, cells), then for each piece what Work of ops/cpu/window_attention.cpp holds, and
// backward the sums of its score gradients per head. CUDA, backward: the score gradients themselves.
int64_t window_attention_scratch(Device device, const Tensor& qkv, int heads, const WindowGrid& grid, bool backward) {
  const int64_t cells = grid.cells(), square = (cells * cells + 15) / 16 * 16, windows = qkv.shape[0] * grid.count();
  if (device == Device::cuda) return backward ? windows * heads * cells * cells : 0;
  const int64_t n = qkv.shape[2] / 3 / heads, rows = (cells * n + 15) / 16 * 16;
  const int64_t each = 5 * rows + 3 * square + std::max(packed_elements(cells, n), (packed_elements(n, cells) + 15) / 16 * 16);
  return heads * square + window_pieces(windows) * (each + (backward ? heads * square : 0));
}

}  // namespace stflow
