// The whole model on the CUDA back end (emulated where the program was built without nvcc) against the CPU.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>

#include "engine/cuda/memory.h"
#include "engine/file.h"
#include "model/encoder.h"
#include "model/fit.h"
#include "model/golden.h"
#include "tests/files.h"
#include "tests/model/synthetic.h"
#include "tests/orders.h"

using namespace stflow;

namespace {

Context device() {
  Context c;
  c.device = Device::cuda;
  return c;
}

double apart(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double difference = 0, size = 0;
  for (size_t i = 0; i < a.size(); i++) difference += std::pow(double(a[i]) - double(b[i]), 2), size += std::pow(double(b[i]), 2);
  return std::sqrt(difference / size);
}

std::vector<float> floats(const Array& a) { return {a.as<float>(), a.as<float>() + a.tensor().size()}; }

// A model of one layer on three small slides.
ModelConfig small(ItemLaw item) {
  ModelConfig c = test::small_config();
  c.epochs = item == ItemLaw::whole ? 4 : 2, c.members = 1, c.expert = false, c.training.item = item,
  c.training.batch = item == ItemLaw::whole ? 2 : 1;
  c.training.warmup = 0;  // ten steps that move
  return c;
}
const std::vector<std::string> kGenes{"G1", "G2", "G3", "G4"};

struct Run {
  std::vector<double> losses, norms;
  std::vector<float> weights;
};

Run ten_steps(const std::vector<Slide>& train, ItemLaw item, const Context& context) {
  Fit fit(small(item), kGenes, train, {}, context);
  Run run;
  StepReport r;
  for (int i = 0; i < 10; i++) {
    if (!fit.step(r)) break;
    run.losses.push_back(r.loss), run.norms.push_back(r.grad_norm);
    run.weights = floats(fit.current().parameters().host_values());
  }
  return run;
}

}  // namespace

TEST_CASE("device: golden numbers of the reference, every gradient, a sampling run and ten Adam steps to 1e-5") {
  const SafeTensors file("tests/fixtures/denoiser_small.safetensors");
  const std::vector<GoldenLine> lines = check_golden(file, DType::f32, device());
  CHECK(lines.size() > 150);
  for (const GoldenLine& l : lines) {
    CAPTURE(l.name);
    CHECK(l.error <= 1e-5);
  }
}

TEST_CASE("device: ten training steps as on the CPU, dropout and prior included, the same bytes in every order of threads") {
  const std::vector<Slide> train = test::synthetic_slides({20, 27, 24, 21, 15});
  for (const ItemLaw item : {ItemLaw::whole, ItemLaw::disc}) {
    const Run cpu = ten_steps(train, item, {});
    REQUIRE(cpu.losses.size() == 10);
    std::vector<float> first;
    test::in_every_order([&] {
      const Run cuda = ten_steps(train, item, device());
      REQUIRE(cuda.losses.size() == 10);
      for (size_t i = 0; i < 10; i++) {
        CHECK(cuda.losses[i] == doctest::Approx(cpu.losses[i]).epsilon(1e-5));
        // Two of the CPU's instruction sets are up to 2e-3 apart here: Adam's first steps follow the sign of gradients near zero.
        CHECK(cuda.norms[i] == doctest::Approx(cpu.norms[i]).epsilon(5e-3));
      }
      CHECK(apart(cuda.weights, cpu.weights) <= 1e-4);  // Adam divides by the gradient's size, so its rounding grows
      if (first.empty()) first = cuda.weights;
      CHECK(cuda.weights == first);
    });
    CHECK(cpu.losses[9] != cpu.losses[0]);
  }
}

TEST_CASE("device: a model predicts as on the CPU, by Euler and by Heun, from a file and from training") {
  const std::vector<Slide> train = test::synthetic_slides({20, 33, 27});
  const test::TempFolder folder;
  Fit fit(small(ItemLaw::whole), kGenes, train, {});
  for (StepReport r; fit.step(r);) {}
  Predictor cpu = fit.take();
  cpu.encoder = {{"kind", "precomputed"}};
  const std::string path = folder.path("model.safetensors"), again = folder.path("again.safetensors");
  cpu.save(path);
  Predictor cuda = Predictor::load(path, device());
  const Slide fresh = test::synthetic_slide("new", 26, 6, 4, 99);
  for (const Solver solver : {Solver::euler, Solver::heun}) {
    cpu.config.solver = cuda.config.solver = solver;
    PredictOptions options{.known = std::vector<float>(size_t(fresh.size()) * kGenes.size(), std::numeric_limits<float>::quiet_NaN())};
    options.known[5] = 2;
    const Prediction want = cpu.predict(fresh, options);
    test::in_every_order([&] {
      const Prediction got = cuda.predict(fresh, options);
      CHECK(apart(got.mean, want.mean) <= 1e-5);
      CHECK(apart(got.sd, want.sd) <= 1e-4);
    });
  }
  cuda.config = Predictor::load(path).config;
  cuda.config.sample_steps = 2;  // a spot sees only near ones, so that a small slide has tiles
  const Slide longer = test::synthetic_slide("longer", 90, 6, 4, 98);
  const Prediction whole = cuda.predict(longer), tiled = cuda.predict(longer, {.most_spots = 60});
  CHECK(tiled.tiles > 1);
  CHECK(tiled.mean == whole.mean);
  cuda.config = Predictor::load(path).config;
  cuda.save(again);  // weights come back from the device as they went
  CHECK(read_text(again) == read_text(path));
}

TEST_CASE("device: a run stopped and resumed on the device ends with the bytes of one that was not; the CPU refuses its checkpoint") {
  const std::vector<Slide> train = test::synthetic_slides({20, 33});
  const test::TempFolder folder;
  const std::string path = folder.path("checkpoint.safetensors");
  StepReport r;
  Fit whole(small(ItemLaw::whole), kGenes, train, {}, device());
  while (whole.step(r)) {}
  Fit half(small(ItemLaw::whole), kGenes, train, {}, device());
  for (int i = 0; i < 2; i++) half.step(r);
  half.save(path);
  Fit rest(small(ItemLaw::whole), kGenes, train, {}, device());
  rest.load(path);
  while (rest.step(r)) {}
  CHECK(floats(rest.current().parameters().host_values()) == floats(whole.current().parameters().host_values()));
  Fit cpu(small(ItemLaw::whole), kGenes, train, {});
  CHECK_THROWS_WITH_AS(cpu.load(path), doctest::Contains("resume with the stflow and the device that began the run"), Error);
  Context rounded = device();
  rounded.products = Products::tf32;
  Fit tf32(small(ItemLaw::whole), kGenes, train, {}, rounded);
  CHECK_THROWS_WITH_AS(tf32.load(path), doctest::Contains(" on a GPU in TF32"), Error);
  Fit exact(small(ItemLaw::whole), kGenes, train, {}, device());
  StepReport with, without;
  tf32.step(with), exact.step(without);
  CHECK(with.loss == doctest::Approx(without.loss).epsilon(1e-3));
  if (cuda_is_emulated()) CHECK(with.loss != without.loss);  // cuBLASLt may round factors, and need not
}

TEST_CASE("device: the encoder's features as on the CPU") {
  VitConfig c;
  c.image = 32, c.patch = 8, c.dim = 48, c.depth = 2, c.heads = 3, c.hidden = 96, c.pooling = Pooling::cls_mean;
  Encoder cpu(c, 112, 7), cuda(c, 112, 7, device());
  const int64_t n = 5;
  std::vector<uint8_t> rgb(size_t(n * 32 * 32 * 3));
  for (size_t i = 0; i < rgb.size(); i++) rgb[i] = uint8_t(i * 37 % 251);
  std::vector<float> want(size_t(n * cpu.dim())), got(want.size());
  cpu.embed(rgb.data(), n, want.data());
  cuda.embed(rgb.data(), n, got.data());
  CHECK(apart(got, want) <= 1e-5);
}
