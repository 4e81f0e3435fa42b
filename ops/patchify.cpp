#include "ops/patchify.h"

namespace stflow {
namespace {

struct Patchify final : Op {
  int patch;
  explicit Patchify(int p) : patch(p) {}

  const char* name() const override { return "patchify"; }
  Tensor infer(std::span<const Tensor> in) const override {
    const Shape& s = in[0].shape;
    check(s.rank == 4 && s[3] == 3 && patch > 0 && s[1] % patch == 0 && s[2] % patch == 0,
          "patchify: image {}, expected (images, height, width, 3) with multiples of {}", s.text(), patch);
    return {nullptr, {s[0], s[1] / patch * (s[2] / patch), 3 * patch * patch}, in[0].type};
  }
  void forward(const Call& c) const override {
    on(c.context, [&](auto b) { patchify_forward(b, c.in[0], patch, c.out); });
  }
  void backward(const Call& c) const override {
    if (c.din[0].data) on(c.context, [&](auto b) { patchify_backward(b, c.dout, patch, c.din[0]); });
  }
  unsigned keep() const override { return kNothing; }
};

}  // namespace

Var patchify(Var image, int patch) { return image.tape->record(Patchify(patch), {image}); }

}  // namespace stflow
