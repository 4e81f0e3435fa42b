// A model in a file: what is written is what is read, nothing else is accepted, and a slide's prediction is its own.
#include "model/predictor.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>

#include "engine/safetensors.h"
#include "model/fit.h"
#include "tests/files.h"
#include "tests/model/synthetic.h"

using namespace stflow;

namespace {

ModelConfig config_of(int members) {
  ModelConfig c = test::small_config();
  c.members = members, c.samples = 6, c.surroundings = {3}, c.epochs = 1;
  return c;
}

Predictor trained(const ModelConfig& c) {
  const std::vector<Slide> train = test::synthetic_slides({30, 24});
  Fit fit(c, {"G1", "G2", "G3", "G4"}, train, {});
  for (StepReport r; fit.step(r);) {}
  Predictor p = fit.take();
  p.blend = c.expert ? 0.6 : 1;
  p.encoder = {{"kind", "precomputed"}, {"dim", "6"}};
  return p;
}

/// A model file as it may be bent before it is written again, with a digest that is right.
struct Bent {
  std::map<std::string, std::string> metadata;
  std::vector<OutTensor> tensors;
  std::vector<std::unique_ptr<Array>> values;

  explicit Bent(const std::string& path) {
    const SafeTensors f(path);
    metadata = f.metadata();
    metadata.erase("sha256");
    for (const StoredTensor& t : f.tensors()) {
      Shape shape;
      for (int64_t n : t.shape) shape.n[shape.rank++] = n;
      values.push_back(std::make_unique<Array>(shape, t.type == Stored::f64 ? DType::f64 : DType::f32));
      f.read_into(t.name, *values.back());
      tensors.emplace_back(t.name, *values.back());
    }
  }
  size_t place(const std::string& name) {
    for (size_t i = 0; i < tensors.size(); i++)
      if (tensors[i].source.name == name) return i;
    throw std::runtime_error(name);
  }
  void reshape(const std::string& name, std::vector<int64_t> shape, int64_t size) {
    StoredTensor& t = tensors[place(name)].source;
    t.shape = std::move(shape), t.size = size;
  }
  double& first(const std::string& name) { return values[place(name)]->as<double>()[0]; }
  void config(const std::string& key, const Json& value) {
    Json j = Json::parse(metadata["config"]);
    j[key] = value;
    metadata["config"] = j.dump();
  }
};

}  // namespace

TEST_CASE("predictor: written and read it predicts the same, as one member or several, with either preset") {
  const test::TempFolder folder;
  const std::string path = folder.path("model.safetensors");
  const Slide slide = test::synthetic_slide("T", 40, 6, 4, 50);
  for (const ModelConfig& c : {config_of(1), config_of(3), test::small_config("reference")}) {
    const Predictor p = trained(c);
    p.save(path);
    const Predictor q = Predictor::load(path);
    CHECK(q.genes == p.genes);
    CHECK(q.encoder == p.encoder);
    CHECK(q.blend == p.blend);
    CHECK(p.validation.size() == (c.expert ? 4 : 0));  // without an expert nothing is chosen, so nothing is left out
    CHECK(q.validation == p.validation);
    CHECK(p.residuals.active() == c.expert);
    CHECK(q.residuals.sd == p.residuals.sd);
    CHECK(q.residuals.quantiles == p.residuals.quantiles);
    CHECK(to_json(q.config) == to_json(p.config));
    CHECK(p.novelty.size() == 54);
    CHECK(q.novelty.features == p.novelty.features);
    CHECK(q.novelty.distances == p.novelty.distances);
    const Prediction a = p.predict(slide), b = q.predict(slide);
    CHECK(a.mean == b.mean);
    CHECK(a.sd == b.sd);
    REQUIRE(a.mean.size() == 160);
    for (float v : a.mean) REQUIRE(std::isfinite(v));
    const SafeTensors f(path);  // the first member has the reference's names
    CHECK(f.find("image_transform.weight") != nullptr);
    CHECK((f.find("member1.image_transform.weight") != nullptr) == (c.members > 1));
    CHECK((f.find("member2.image_transform.weight") != nullptr) == (c.members > 2));
    CHECK(f.find("member0.image_transform.weight") == nullptr);
    CHECK(f.find("member3.image_transform.weight") == nullptr);
  }
}

TEST_CASE("predictor: a slide's prediction is its own, whatever was predicted before, in any order of rows and at any thread count") {
  const Predictor p = trained(config_of(3));
  for (int64_t n : {1, 2, 6, 7, 40}) {  // up to one more than a spot has neighbours
    CAPTURE(n);
    const Slide slide = test::synthetic_slide("T", n, 6, 4, 60);
    const Prediction alone = p.predict(slide);
    test::with_threads([&](int) {
      for (int64_t other : {1, 29}) (void)p.predict(test::synthetic_slide("other", other, 6, 4, 70));
      const Prediction again = p.predict(slide);
      CHECK(again.mean == alone.mean);
      CHECK(again.sd == alone.sd);
    });
    const std::vector<int32_t> order = test::shuffled(n, 5);
    const Prediction mixed = p.predict(test::reordered(slide, order));
    bool same = true;
    for (size_t i = 0; i < size_t(n); i++)
      for (size_t g = 0; g < 4; g++)
        same = same && mixed.mean[i * 4 + g] == alone.mean[size_t(order[i]) * 4 + g] &&
               mixed.sd[i * 4 + g] == alone.sd[size_t(order[i]) * 4 + g];
    CHECK(same);
  }
}

TEST_CASE("predictor: the mean over draws and members is theirs, and so is the variance") {
  Predictor p = trained(config_of(2));
  p.config.samples = 5;  // three draws of each member
  const Slide slide = test::synthetic_slide("T", 20, 6, 4, 80);
  const std::vector<float> inputs = p.pipeline.apply(slide);
  p.blend = 1;
  const std::vector<double> quantiles{0, 0.25, 0.5, 1};
  const Prediction whole = p.predict(slide, {.quantiles = quantiles, .keep_draws = true});
  // The same by hand: draw d belongs to member d / 3 and to the key of d.
  Geometry geometry;
  geometry.build(slide.coords(), slide.ranks(), p.config.geometry, DType::f32);
  std::vector<std::vector<float>> draws;
  for (uint32_t d = 0; d < 6; d++) {
    draws.emplace_back(80);
    const Tensor y{draws.back().data(), {20, 4}, DType::f32};
    Sampler sampler(p.denoiser(), p.parameters(int(d / 3)));
    sampler.set_slide({const_cast<float*>(inputs.data()), {20, p.config.denoiser.features}, DType::f32}, geometry);
    p.prior.sample(slide.ranks(), RandomKey(p.config.seed, Stream::prior, 0xffffffffu, d), p.targets, y);
    sampler.sample(y, p.config.sample_steps, p.config.solver);
  }
  REQUIRE(whole.draws.size() == 6);
  for (size_t i = 0; i < 80; i++) {
    const double scale = p.targets.sd[i % 4], at = p.targets.mean[i % 4];
    std::vector<double> of;
    double m = 0, v = 0;
    for (size_t d = 0; d < 6; d++) {
      of.push_back(double(draws[d][i]) * scale + at);
      m += of[d] / 6;
      REQUIRE(double(whole.draws[d][i]) == doctest::Approx(of[d]).epsilon(1e-6));
    }
    for (double y : of) v += (y - m) * (y - m) / 5;
    REQUIRE(v > 0);
    REQUIRE(double(whole.mean[i]) == doctest::Approx(m).epsilon(1e-6));
    REQUIRE(double(whole.sd[i]) == doctest::Approx(std::sqrt(v)).epsilon(1e-6));
    std::sort(of.begin(), of.end());
    const double want[] = {of[0], of[1] + 0.25 * (of[2] - of[1]), (of[2] + of[3]) / 2, of[5]};
    for (size_t q = 0; q < 4; q++) REQUIRE(double(whole.quantiles[q][i]) == doctest::Approx(want[q]).epsilon(1e-6));
  }
  p.config.samples = 2, p.blend = 0;  // the expert alone draws nothing
  for (float sd : p.predict(slide).sd) CHECK(sd == 0);
}

TEST_CASE("predictor: in tiles of any size a slide's prediction has the bytes of the whole slide's") {
  for (const bool exact : {true, false}) {
    ModelConfig c = config_of(2);
    c.geometry.frames = exact ? FrameMode::exact : FrameMode::reference;
    c.solver = exact ? Solver::euler : Solver::heun;
    const Predictor p = trained(c);
    Slide slide = test::synthetic_slide("T", 500, 6, 4, 90);  // a strip of 7 columns: rows are 86 apart
    for (size_t i = 0; i < 40; i++) slide.xy[2 * i] = slide.xy[0], slide.xy[2 * i + 1] = slide.xy[1];  // some in one place
    const PredictOptions whole_options{.quantiles = {0.1, 0.9}, .keep_draws = true};
    const Prediction whole = p.predict(slide, whole_options);
    CHECK(whole.tiles == 1);
    for (int64_t most : {499, 300, exact ? 200 : 260}) {
      CAPTURE(most);
      PredictOptions options = whole_options;
      options.most_spots = most;
      test::with_threads([&](int) {
        const Prediction tiled = p.predict(slide, options);
        CHECK(tiled.tiles > 1);
        CHECK(tiled.largest_tile <= most);
        CHECK(tiled.mean == whole.mean);
        CHECK(tiled.sd == whole.sd);
        CHECK(tiled.quantiles == whole.quantiles);
        CHECK(tiled.draws == whole.draws);
      });
    }
    CHECK_THROWS_WITH_AS((void)p.predict(slide, {.most_spots = 30}),
                         doctest::Contains("spots decide on one, expected at most 30, which the memory allows"), Error);
  }
}

TEST_CASE("predictor: known spots are what they are, and the others see them") {
  for (const Solver solver : {Solver::euler, Solver::heun}) {
    ModelConfig c = config_of(2);
    c.solver = solver;
    const Predictor p = trained(c);
    const Slide slide = test::synthetic_slide("T", 200, 6, 4, 95);
    const Prediction free = p.predict(slide);
    const float nan = std::numeric_limits<float>::quiet_NaN();
    PredictOptions options{.quantiles = {0.5}, .known = std::vector<float>(800, nan)};
    CHECK(p.predict(slide, options).mean == free.mean);                       // nothing known
    for (size_t i = 0; i < 800; i += 8) options.known[i] = 3 + float(i % 5);  // gene 1 of every other spot
    const Prediction held = p.predict(slide, options);
    double moved = 0;
    for (size_t i = 0; i < 800; i++) {
      if (i % 8 == 0) {
        REQUIRE(held.mean[i] == options.known[i]);
        REQUIRE(held.quantiles[0][i] == options.known[i]);
        REQUIRE(held.sd[i] == 0);
      } else {
        moved += std::fabs(double(held.mean[i]) - double(free.mean[i]));
      }
    }
    CHECK(moved > 0.1);
    options.most_spots = 150;  // in tiles, too
    const Prediction tiled = p.predict(slide, options);
    CHECK(tiled.tiles > 1);
    CHECK(tiled.mean == held.mean);
    // Everything known: nothing is left to predict.
    std::vector<float> all = log1p(slide.counts);
    CHECK(p.predict(slide, {.known = all}).mean == all);
  }
}

TEST_CASE("bad input: features of another width than the model's") {
  const Predictor p = trained(config_of(1));
  test::refuses(Exit::data, "T: features of width 5, expected 6 as in training", "",
                [&] { (void)p.predict(test::synthetic_slide("T", 9, 5, 4, 1)); });
}

TEST_CASE("bad input: model files") {
  const test::TempFolder folder;
  const std::string good = folder.path("good"), path = folder.path("bad");
  trained(config_of(2)).save(good);
  auto refused = [&](const std::string& line, const std::function<void(Bent&)>& bend) {
    Bent bent(good);
    bend(bent);
    write_safetensors(path, bent.tensors, bent.metadata);
    test::refuses(Exit::data, line, path, [&] { (void)Predictor::load(path); });
  };
  {
    const Bent same(good);  // guards the test: unbent, it is accepted
    write_safetensors(path, same.tensors, same.metadata);
    CHECK(Predictor::load(path).genes.size() == 4);
  }
  refused("{}: metadata: no 'format', expected a model written by stflow train", [](Bent& b) { b.metadata.erase("format"); });
  refused("{}: metadata: format 'stflow-model-9', expected stflow-model-1", [](Bent& b) { b.metadata["format"] = "stflow-model-9"; });
  refused("{}: metadata: 'genes' is '7', expected another type", [](Bent& b) { b.metadata["genes"] = "7"; });
  refused("{}: metadata: 3 genes, expected 4", [](Bent& b) { b.metadata["genes"] = R"(["a","b","c"])"; });
  refused("{}: metadata: 'blend' is 1.5, expected 0 to 1", [](Bent& b) { b.metadata["blend"] = "1.5"; });
  refused("{}: config: 'n_heads' is \"two\", expected another type", [](Bent& b) { b.config("n_heads", "two"); });
  refused("{}: config: 'n_heads' is 0, expected 1 to 16384", [](Bent& b) { b.config("n_heads", 0); });
  refused("{}: config: 'samples' is 0, expected 1 to 4096", [](Bent& b) { b.config("samples", 0); });
  refused("{}: config: 'members' is 65, expected 1 to 64", [](Bent& b) { b.config("members", 65); });
  refused("{}: config: 'genes' is 1000000000000, expected 1 to 16777216", [](Bent& b) { b.config("genes", 1000000000000); });
  refused("{}: config: 'surroundings' is [0], expected numbers of spots, 1 to 16384", [](Bent& b) { b.config("surroundings", {0}); });
  refused("{}: config: 'prior' is 'poisson', expected one that this version knows", [](Bent& b) { b.config("prior", "poisson"); });
  refused("{}: config: 'frames' is 'odd', expected exact or reference", [](Bent& b) { b.config("frames", "odd"); });
  refused(
      "{}: config: denoiser: features 12, genes 4, layers 1, heads 3, hidden 8, pairwise 8, expected 1 to 16 layers and even widths that "
      "heads divide",
      [](Bent& b) { b.config("n_heads", 3); });
  refused("{}: config: denoiser: 256 neighbours x 32 heads, expected at most 4096", [](Bent& b) {
    b.config("hidden_dim", 64), b.config("pairwise_hidden_dim", 64), b.config("n_heads", 32), b.config("n_neighbors", 256);
  });
  refused("{}: tensor 'image_transform.weight': shape (8, 12), expected (8, 16777216)", [](Bent& b) { b.config("features", 1 << 24); });
  refused("{}: tensor 'member1.image_transform.weight': shape (12, 8), expected (8, 12)", [](Bent& b) {
    b.reshape("member1.image_transform.weight", {12, 8}, 96);
  });
  refused("{}: tensor 'prior.mu': 3 numbers, expected 4", [](Bent& b) { b.reshape("prior.mu", {3}, 3); });
  refused("{}: prior: mu 1, theta -1, pi 0.5 of gene 1, expected a distribution",
          [](Bent& b) { b.first("prior.mu") = 1, b.first("prior.theta") = -1, b.first("prior.pi") = 0.5; });
  refused("{}: novelty: 324 features of 54 spots, expected 6 finite ones of each and ascending distances",
          [](Bent& b) { b.first("novelty.distances") = 1e9; });
  refused("{}: novelty: 324 features of 53 spots, expected 6 finite ones of each and ascending distances",
          [](Bent& b) { b.reshape("novelty.distances", {53}, 53); });
  {
    Bent old(good);  // a file of before novelty: without a flag
    std::erase_if(old.tensors, [](const OutTensor& t) { return t.source.name.starts_with("novelty."); });
    write_safetensors(path, old.tensors, old.metadata);
    CHECK_FALSE(Predictor::load(path).novelty.active());
  }
  for (const char* name : {"novelty.features", "features.sd", "targets.mean", "expert.weight", "expert.offset", "prior.theta",
                           "member1.image_transform.bias"}) {
    CAPTURE(name);
    Bent bent(good);
    std::erase_if(bent.tensors, [&](const OutTensor& t) { return t.source.name == name; });
    write_safetensors(path, bent.tensors, bent.metadata);
    CHECK_THROWS_WITH_AS((void)Predictor::load(path), doctest::Contains(name), Error);
  }
}
