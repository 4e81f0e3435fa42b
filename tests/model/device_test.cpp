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

TEST_CASE("device: training in graphs gives the bytes of training kernel by kernel, and steps neither allocate nor wait nor stage") {
  const std::vector<Slide> train = test::synthetic_slides({9, 12});
  const auto trained = [&](bool graphs, const std::function<void(Fit&, const StepReport&)>& after) {
    Context c = device();
    c.graphs = graphs;
    ModelConfig config = small(ItemLaw::whole);
    config.epochs = 12;
    Fit fit(config, kGenes, train, {}, c);
    std::vector<double> numbers;
    for (int i = 0; i < 10; i++) {
      StepReport r;
      REQUIRE(fit.step(r));
      numbers.push_back(r.loss), numbers.push_back(r.grad_norm);
      after(fit, r);
    }
    return std::pair(numbers, floats(fit.current().parameters().host_values()));
  };
  const auto plain = trained(false, [](Fit& fit, const StepReport&) { CHECK(fit.trainer().replays().size() == 0); });
  emulator::Counts before;
  size_t graphs = 0;
  const auto whole = trained(true, [&](Fit& fit, const StepReport& r) {
    const emulator::Counts now = emulator::counts();
    graphs = fit.trainer().replays().size();
    if (cuda_is_emulated() && r.step > 2) {  // by then both slots' buffers are there
      CHECK(now.allocations == before.allocations);
      CHECK(now.pageable == before.pageable);
      CHECK(now.waits_before_work == before.waits);  // the host waits once all of the step is in the stream
    }
    if (cuda_is_emulated() && r.step > 8) {
      CHECK(now.replays - before.replays == 3);    // two slots and the optimiser
      CHECK(now.launches - before.launches <= 1);  // the sum of the slots
    }
    before = emulator::counts();
  });
  CHECK(graphs >= 3);
  CHECK(whole.first == plain.first);
  CHECK(whole.second == plain.second);
}

TEST_CASE("device: steps on discs are few graphs, give the bytes of going kernel by kernel, and neither allocate, nor wait, nor stage") {
  const std::vector<Slide> train = test::synthetic_slides({31, 40, 25});
  ModelConfig config = small(ItemLaw::disc);
  config.geometry = {6, FrameMode::reference, false}, config.training.batch = 2, config.epochs = 60;
  constexpr int kSteps = 50;
  std::vector<int64_t> spots;
  const auto trained = [&](bool graphs) {
    Context c = device();
    c.graphs = graphs;
    Fit fit(config, kGenes, train, {}, c);
    emulator::Counts before;
    spots.clear();
    int64_t replayed = 0;
    for (StepReport r; r.step < kSteps;) {
      REQUIRE(fit.step(r));
      const emulator::Counts now = emulator::counts();
      if (cuda_is_emulated() && r.step > 1) {
        CHECK(now.allocations == before.allocations);
        CHECK(now.pageable == before.pageable);
        CHECK(now.waits_before_work == before.waits);
        replayed += now.replays - before.replays;
        const int64_t calls =
            now.launches + now.copies + now.fills + now.replays - (before.launches + before.copies + before.fills + before.replays);
        if (now.replays - before.replays == 3) CHECK(calls <= 45);
        if (!graphs) CHECK(calls > 360);
      }
      before = emulator::counts();
      spots.push_back(r.spots);
    }
    if (cuda_is_emulated()) CHECK(graphs == (replayed > 2 * kSteps));  // of three: two discs and the optimiser
    CHECK(fit.trainer().replays().size() <= (graphs ? 2 * Item::kSizes + 1 : 0));
    return floats(fit.current().parameters().host_values());
  };
  CHECK(trained(true) == trained(false));
  CHECK(*std::max_element(spots.begin(), spots.end()) > 2 * *std::min_element(spots.begin(), spots.end()));
}

TEST_CASE("device: sampling in a graph gives the bytes of sampling kernel by kernel, for each slide that comes again") {
  ModelConfig config = test::small_config();
  config.denoiser.features = 6, config.denoiser.genes = 4;
  const std::vector<Slide> slides = test::synthetic_slides({9, 12});
  const auto sampled = [&](bool graphs, Solver solver) {
    Context c = device();
    c.graphs = graphs;
    ParameterSet set(DType::f32, c.device);
    const Denoiser denoiser(set, config.denoiser);
    set.allocate(3);
    Sampler sampler(denoiser, set, c);
    std::vector<std::vector<float>> all;
    Geometry geometries[] = {Geometry(c), Geometry(c)};
    for (int i = 0; i < 8; i++) {
      const Slide& slide = slides[size_t(i / 4)];
      const int64_t n = slide.size();
      static Array features[2], y[2];
      if (i % 4 == 0) {
        features[i / 4] = copy_of({const_cast<float*>(slide.features.data()), {n, 6}, DType::f32}, Device::cpu, c.device);
        y[i / 4] = Array({n, 4}, DType::f32, c.device);
        geometries[i / 4].build(slide.coords(), slide.ranks(), config.geometry, DType::f32);
      }
      if (i % 2 == 0) sampler.set_slide(features[i / 4], geometries[i / 4]);
      std::vector<float> start(size_t(n * 4), float(i));
      copy(c.device, y[i / 4].tensor().data, Device::cpu, start.data(), start.size() * sizeof(float));
      const emulator::Counts before = emulator::counts();
      sampler.sample(y[i / 4], 3, solver);
      const emulator::Counts now = emulator::counts();
      if (cuda_is_emulated() && i > 0)
        CHECK((now.allocations == before.allocations && now.waits == before.waits && now.pageable == before.pageable));
      if (cuda_is_emulated() && graphs && i % 4 > 1) CHECK((now.replays == before.replays + 1 && now.launches == before.launches));
      all.push_back(floats(copy_of(y[i / 4], c.device, Device::cpu)));
    }
    CHECK(sampler.replays().size() == (graphs ? 2 : 0));
    CHECK(all[0] != all[1]);
    return all;
  };
  for (const Solver solver : {Solver::euler, Solver::heun}) CHECK(sampled(true, solver) == sampled(false, solver));
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
  CHECK(cpu.ahead() == 1);
  CHECK(cuda.ahead() == 2);
}

TEST_CASE("device: batches of patches that overlap have the features of one after another, and none is staged or waited for too soon") {
  VitConfig c;
  c.image = 16, c.patch = 8, c.dim = 24, c.depth = 1, c.heads = 2, c.hidden = 32, c.pooling = Pooling::cls;
  constexpr int64_t kBatch = 4, kPixels = 16 * 16 * 3;
  const auto features = [&](bool graphs) {
    Context context = device();
    context.graphs = graphs;
    Encoder net(c, 112, 7, context);
    const int64_t batch = std::min(net.batch(), kBatch), dim = net.dim();
    std::vector<float> all;
    std::vector<int64_t> sizes;
    for (int i = 0; i < 7; i++) {
      for (int64_t p = 0; p < batch * kPixels; p++) net.room()[p] = uint8_t((p + i * 31) * 37 % 251);
      sizes.push_back(i < 6 ? batch : batch - 1);
      const emulator::Counts before = emulator::counts();
      net.begin(sizes.back());
      const emulator::Counts now = emulator::counts();
      CHECK(now.waits == before.waits);
      CHECK(now.pageable == before.pageable);
      if (i > 0 && i < 6) CHECK(now.allocations == before.allocations);
      if (cuda_is_emulated() && graphs && i > 1 && i < 6) CHECK(now.replays > before.replays);
      if (net.begun() < net.ahead()) continue;
      const float* f = net.finish();
      all.insert(all.end(), f, f + sizes[size_t(i) - 1] * dim);
    }
    CHECK(net.begun() == 1);
    const float* f = net.finish();
    all.insert(all.end(), f, f + sizes.back() * dim);
    CHECK_THROWS_AS(net.finish(), Error);
    return all;
  };
  const std::vector<float> plain = features(false);
  CHECK(features(true) == plain);
  Encoder one(c, 112, 7, device());
  const int64_t batch = std::min(one.batch(), kBatch);
  std::vector<uint8_t> rgb;
  for (int i = 0; i < 7; i++)
    for (int64_t p = 0; p < (i < 6 ? batch : batch - 1) * kPixels; p++) rgb.push_back(uint8_t((p + i * 31) * 37 % 251));
  std::vector<float> want(plain.size());
  one.embed(rgb.data(), int64_t(rgb.size()) / kPixels, want.data());
  CHECK(plain == want);
}
