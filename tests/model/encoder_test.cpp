#include "model/encoder.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <tuple>

#include "engine/cuda/memory.h"
#include "engine/safetensors.h"
#include "engine/threads.h"
#include "ops/attention.h"
#include "tests/check.h"
#include "tests/files.h"
#include "tests/orders.h"

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

namespace {

std::vector<float> features_of(Encoder& encoder) {
  const auto rgb = patches(2, encoder.size());
  std::vector<float> f(size_t(2 * encoder.dim()));
  encoder.embed(rgb.data(), 2, f.data());
  return f;
}

double apart(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0, size = 0;
  for (size_t i = 0; i < a.size(); i++) difference += std::pow(double(a[i]) - double(b[i]), 2), size += std::pow(double(b[i]), 2);
  return std::sqrt(difference / size);
}

/// A fixture's checkpoint with its matrices in 16 bits.
std::string with_halves(const test::TempFolder& folder, const std::string& name, Stored stored) {
  const SafeTensors file("tests/fixtures/" + name + ".safetensors");
  std::vector<Array> arrays;
  std::vector<OutTensor> out;
  for (const StoredTensor& t : file.tensors()) {
    Shape shape;
    for (int64_t n : t.shape) shape.n[shape.rank++] = n;
    arrays.emplace_back(shape, DType::f32);
    file.read_into(t.name, arrays.back());
    out.emplace_back(t.name, arrays.back().tensor(), t.shape.size() == 2 ? stored : Stored::f32);
  }
  const std::string path = folder.path(name + ".safetensors");
  write_safetensors(path, out, file.metadata());
  return path;
}

}  // namespace

TEST_CASE("encoder: features with matrices in 16 and 8 bits are near those of float32") {
  for (const std::string name : {"vit_plain", "vit_registers_swiglu", "vit_layer_scale", "vit_placed_registers"}) {
    CAPTURE(name);
    const std::string path = "tests/fixtures/" + name + ".safetensors";
    Encoder exact(path), f32(path, {}, Precision::f32), f16(path, {}, Precision::f16), bf16(path, {}, Precision::bf16),
        int8(path, {}, Precision::int8);
    const auto want = features_of(exact);
    CHECK(features_of(f32) == want);
    CHECK(apart(features_of(f16), want) < 4e-4);
    CHECK(apart(features_of(bf16), want) < 2.5e-3);  // a weight is off by up to 2^-9
    CHECK(apart(features_of(int8), want) < 2e-2);
    CHECK(f32.identity() == exact.identity());
    CHECK(f16.identity().at("precision") == "f16");
    CHECK(bf16.identity().at("precision") == "bf16");
    CHECK(int8.identity().at("precision") == "int8");
  }
}

TEST_CASE("encoder: matrices that are stored in 16 bits stay so, with the features of their float32 values") {
  const test::TempFolder folder;
  for (auto [stored, same, other] :
       {std::tuple{Stored::f16, Precision::f16, Precision::bf16}, {Stored::bf16, Precision::bf16, Precision::f16}}) {
    const std::string path = with_halves(folder, "vit_registers_swiglu", stored);
    Encoder as_stored(path), wide(path, {}, Precision::f32), named(path, {}, same), rounded(path, {}, other);
    const auto want = features_of(wide);
    CHECK(features_of(as_stored) == want);
    CHECK(features_of(named) == want);
    CHECK(features_of(rounded) != want);
    CHECK(as_stored.identity() == wide.identity());
    CHECK(named.identity() == wide.identity());
    CHECK(rounded.identity().at("precision") == (stored == Stored::f16 ? "bf16" : "f16"));
  }
}

TEST_CASE("device: an encoder in bf16 gives nearly the features of float32 for matrices that are exactly bf16, one in TF32 nearer ones") {
  const test::TempFolder folder;
  Context gpu;
  gpu.device = Device::cuda;
  // PyTorch 2's autocast to bf16 is 2.96e-3, 3.45e-3, 1.93e-3 and 3.41e-3 from float64 on the same matrices and random images.
  for (auto [name, bound] :
       {std::pair{"vit_plain", 3e-3}, {"vit_registers_swiglu", 3.5e-3}, {"vit_layer_scale", 2e-3}, {"vit_placed_registers", 3.5e-3}}) {
    CAPTURE(name);
    const std::string path = with_halves(folder, name, Stored::bf16);
    Encoder wide(path, {}, Precision::f32), bf16(path, gpu, Precision::bf16), tf32(path, gpu, Precision::tf32), f32(path, gpu);
    const auto want = features_of(wide);
    std::vector<float> first;
    test::in_every_order([&, bound = bound] {
      const auto got = features_of(bf16);
      CHECK(apart(got, want) < (cuda_is_emulated() ? 1 : 1.5) * bound);  // cuDNN rounds the weights of attention too
      CHECK(apart(got, want) > 1e-5);                                    // activations are rounded
      if (first.empty()) first = got;
      CHECK(got == first);
      const double near = apart(features_of(tf32), want);
      CHECK(near < 4e-4);
      CHECK((near > 1e-6 || !cuda_is_emulated()));  // cuBLASLt may round factors, and need not
    });
    CHECK(apart(features_of(f32), want) < 1e-5);
    CHECK(bf16.identity().at("precision") == "bf16");
    CHECK(tf32.identity().at("precision") == "tf32");
    CHECK(!f32.identity().contains("precision"));
  }
}

TEST_CASE("bad input: a precision that the device has not") {
  Context gpu;
  gpu.device = Device::cuda;
  CHECK_THROWS_WITH_AS(Encoder(small(), 112, 7, gpu, Precision::f16), "--precision: found f16 on a GPU, expected stored, f32, tf32 or bf16",
                       Error);
  CHECK_THROWS_WITH_AS(Encoder(small(), 112, 7, gpu, Precision::int8),
                       "--precision: found int8 on a GPU, expected stored, f32, tf32 or bf16", Error);
  CHECK_THROWS_WITH_AS(Encoder(small(), 112, 7, {}, Precision::tf32),
                       "--precision: found tf32 on the CPU, expected stored, f32, f16, bf16 or int8; --device cuda has tf32", Error);
}
