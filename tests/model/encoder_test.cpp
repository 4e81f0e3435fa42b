#include "model/encoder.h"

#include <doctest/doctest.h>

#include <cstring>

#include "engine/threads.h"
#include "ops/attention.h"
#include "tests/check.h"

using namespace stflow;

namespace {

VitConfig small() {
  VitConfig c;
  c.image = 32, c.patch = 8, c.dim = 48, c.depth = 2, c.heads = 3, c.hidden = 96, c.pooling = Pooling::cls_mean;
  return c;
}

std::vector<uint8_t> patches(int64_t n, int size) {
  std::vector<uint8_t> rgb(size_t(n * size * size * 3));
  const auto x = test::normal(rgb.size(), 4);
  for (size_t i = 0; i < rgb.size(); i++) rgb[i] = uint8_t(std::clamp(128 + 50 * x[i], 0.0, 255.0));
  return rgb;
}

}  // namespace

TEST_CASE("encoder: a patch has the same features whatever the batch and the threads") {
  Encoder encoder(small(), 112, 7);
  const int64_t n = encoder.batch() + 3, dim = encoder.dim(), pixels = int64_t(encoder.size()) * encoder.size() * 3;
  CHECK(dim == 96);
  const auto rgb = patches(n, encoder.size());
  std::vector<float> together(size_t(n * dim)), alone(together.size()), threads(together.size());
  encoder.embed(rgb.data(), n, together.data());
  for (int64_t i = 0; i < n; i++) encoder.embed(rgb.data() + i * pixels, 1, alone.data() + i * dim);
  CHECK(std::memcmp(together.data(), alone.data(), together.size() * sizeof(float)) == 0);
  for (int count : {1, 2, 3}) {
    set_thread_count(count);
    encoder.embed(rgb.data(), n, threads.data());
    CHECK(std::memcmp(together.data(), threads.data(), together.size() * sizeof(float)) == 0);
  }
  set_thread_count(0);
}

TEST_CASE("encoder: bytes become (x / 255 - mean) / std, and the identity tells weights and settings apart") {
  VitConfig c = small();
  c.mean = {0.6f, 0.5f, 0.7f}, c.std = {0.2f, 0.25f, 0.3f};
  Encoder encoder(c, 112, 7);
  const auto rgb = patches(1, 32);
  std::vector<float> got(size_t(encoder.dim()));
  encoder.embed(rgb.data(), 1, got.data());

  ParameterSet set(DType::f64);
  Vit vit(set, c);
  set.allocate(7);
  Array image({1, 32, 32, 3}, DType::f64);
  for (size_t i = 0; i < rgb.size(); i++) image.as<double>()[i] = (rgb[i] / 255.0 - double(c.mean[i % 3])) / double(c.std[i % 3]);
  Tape tape;
  Var features = vit(tape.input(image));
  Storage arena;
  tape.plan(false), tape.bind(arena, set), tape.forward();
  CHECK(test::relative(view(got.data(), {1, encoder.dim()}), tape.value(features)) < 1e-5);

  Encoder same(c, 112, 7), seed(c, 112, 8), microns(c, 55, 7);
  CHECK(same.identity() == encoder.identity());
  CHECK(seed.identity() != encoder.identity());
  CHECK(microns.identity() != encoder.identity());
  c.mean[0] = 0.5f;
  CHECK(Encoder(c, 112, 7).identity() != encoder.identity());
}

TEST_CASE("encoder: a checkpoint gives its weights' digest and its microns") {
  Encoder encoder("tests/fixtures/vit_layer_scale.safetensors");
  CHECK(encoder.identity().at("weights").size() == 64);
  CHECK(encoder.microns() == 0);
  CHECK(encoder.dim() == 96);
  CHECK(encoder.identity().at("num_heads") == "4");
}
