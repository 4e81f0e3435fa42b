// A fit is a machine that can be stopped at any step: it goes on to the same bytes, and only from a state of its own.
#include "model/fit.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>

#include "engine/safetensors.h"
#include "engine/version.h"
#include "tests/files.h"
#include "tests/model/synthetic.h"
#include "tests/run.h"
#include "tools/run_folder.h"
#include "tools/terminal.h"

using namespace stflow;

namespace {

const std::vector<std::string> kGenes{"G1", "G2", "G3", "G4"};

ModelConfig config_of(int members) {
  ModelConfig c = test::small_config();
  c.members = members, c.epochs = 4;
  c.surroundings = {3};
  return c;
}

struct Finished {
  std::string bytes;  // of the model file
  Selection selection;
  bool operator==(const Finished& o) const {
    const auto same = [](double x, double y) { return x == y || (x != x && y != y); };  // NaN without folds
    const Selection &a = selection, &b = o.selection;
    return bytes == o.bytes && same(a.lambda, b.lambda) && same(a.blend, b.blend) && same(a.pearson, b.pearson) &&
           same(a.expert, b.expert) && same(a.denoiser, b.denoiser);
  }
};

Finished finish(Fit& fit, const test::TempFolder& folder) {
  for (StepReport r; fit.step(r);) {}
  const Selection selection = fit.selection();
  const Predictor model = fit.take();
  model.save(folder.path("model"));
  return {test::read_file(folder.path("model")), selection};
}

Finished fitted(const ModelConfig& c, const std::vector<Slide>& train, const std::vector<Slide>& val = {}) {
  const test::TempFolder folder;
  Fit fit(c, kGenes, train, val);
  return finish(fit, folder);
}

}  // namespace

TEST_CASE("fit: saved before any step and continued by another object, it ends with the same bytes") {
  const std::vector<Slide> train = test::synthetic_slides({30, 24, 27});
  const test::TempFolder folder;
  ModelConfig reference = test::small_config("reference");  // discs, ten of a slide in a row, no folds
  reference.epochs = 1;
  for (const ModelConfig& c : {config_of(1), config_of(3), reference}) {
    CAPTURE(c.preset);
    const Finished whole = fitted(c, train);
    Fit fit(c, kGenes, train, {});
    REQUIRE(fit.stages() == (c.expert ? 4 * c.members : 1));  // three folds, then everything; the reference chooses nothing
    std::vector<std::string> states;
    for (StepReport r; fit.stage() < fit.stages(); fit.step(r)) {
      states.push_back(folder.path(std::to_string(states.size())));
      fit.save(states.back());
    }
    CHECK(int64_t(states.size()) == fit.stages() * fit.steps_per_stage());
    REQUIRE(fit.steps_per_stage() >= 3);
    for (size_t i = 0; i < states.size(); i += c.members == 1 ? 3 : 11) {  // first, last and middle steps of the stages in turn
      CAPTURE(i);
      Fit resumed(c, kGenes, train, {});
      StepReport r;
      for (size_t k = 0; k < i % 4; k++) resumed.step(r);  // what it did before load() is forgotten
      resumed.load(states[i]);
      CHECK(resumed.stage() == int64_t(i) / fit.steps_per_stage());
      CHECK(resumed.steps_in_stage() == int64_t(i) % fit.steps_per_stage());
      CHECK(finish(resumed, folder) == whole);
    }
  }
}

TEST_CASE("fit: the same bytes at 1, 2 and 3 threads, others from another seed") {
  const std::vector<Slide> train = test::synthetic_slides({30, 24});
  ModelConfig c = config_of(3);
  const Finished once = fitted(c, train);
  test::with_threads([&](int) { CHECK(fitted(c, train) == once); });
  c.seed = 2;
  CHECK(fitted(c, train).bytes != once.bytes);
}

TEST_CASE("fit: a state of other data or another configuration is refused in one line") {
  const std::vector<Slide> train = test::synthetic_slides({30, 24});
  const ModelConfig c = config_of(1);
  const test::TempFolder folder;
  const std::string state = folder.path("state");
  Fit fit(c, kGenes, train, {});
  StepReport r;
  fit.step(r);
  fit.save(state);
  auto loads = [&](const ModelConfig& config, const std::vector<std::string>& genes, const std::vector<Slide>& slides) {
    Fit other(config, genes, slides, {});
    other.load(state);
  };
  loads(c, kGenes, train);
  ModelConfig other = c;
  other.training.adam.lr = 0.5f;
  const std::string was = to_json(c)["lr"].dump();
  test::refuses(Exit::data, "{}: config: 'lr' was " + was + ", now 0.5; resume with the flags of the first run, or start a new one", state,
                [&] { loads(other, kGenes, train); });
  other = c, other.seed = 9;
  test::refuses(Exit::data, "{}: config: 'seed' was 1, now 9; resume with the flags of the first run, or start a new one", state,
                [&] { loads(other, kGenes, train); });
  const std::string data = "{}: data: the sections, features or genes differ from those of this checkpoint";
  for (int what = 0; what < 5; what++) {
    std::vector<Slide> changed = train;
    if (what == 0) changed[1].counts[5] += 1;
    if (what == 1) changed[0].features[7] += 0.25f;
    if (what == 2) changed[0].xy[3] += 1;
    if (what == 3) changed[1].name = "Z";
    if (what == 4) changed[0].spots[0] += "x";
    test::refuses(Exit::data, data, state, [&] { loads(c, kGenes, changed); });
  }
  test::refuses(Exit::data, data, state, [&] { loads(c, {"G1", "G2", "G3", "other"}, train); });
}

TEST_CASE("fit: a state of a program that computes otherwise is refused in one line") {
  const std::vector<Slide> train = test::synthetic_slides({30, 24});
  const test::TempFolder folder;
  Fit fit(config_of(1), kGenes, train, {});
  StepReport r;
  fit.step(r);
  fit.save(folder.path("state"));
  const SafeTensors saved(folder.path("state"));
  CHECK(saved.meta("numerics") == std::to_string(kNumerics));
  for (const std::string& other : {std::to_string(kNumerics - 1), std::to_string(kNumerics + 1), std::string("none")}) {
    std::vector<std::vector<float>> values;
    for (const StoredTensor& t : saved.tensors()) values.push_back(saved.read<float>(t.name));
    std::vector<OutTensor> tensors;
    for (size_t i = 0; i < values.size(); i++)
      tensors.emplace_back(saved.tensors()[i].name, Tensor{values[i].data(), {int64_t(values[i].size())}, DType::f32});
    auto metadata = saved.metadata();
    metadata.erase("sha256");
    metadata["numerics"] = other;
    if (other == "none") metadata.erase("numerics");  // as before there was such a number
    const std::string path = folder.path("other");
    write_safetensors(path, std::move(tensors), metadata);
    test::refuses(Exit::data,
                  "{}: metadata: numerics " + other + ", expected " + std::to_string(kNumerics) +
                      "; resume with the stflow and the device that began the run, or start a new one",
                  path, [&] { fit.load(path); });
  }
}

TEST_CASE("fit: a damaged state is refused and leaves the fit as it was") {
  const std::vector<Slide> train = test::synthetic_slides({30, 24});
  const ModelConfig c = config_of(1);
  const test::TempFolder folder;
  Fit fit(c, kGenes, train, {});
  StepReport r;
  fit.step(r), fit.step(r);
  fit.save(folder.path("state"));
  const std::string good = test::read_file(folder.path("state"));
  const Finished whole = fitted(c, train);
  auto damaged = [&](const std::string& bytes) { CHECK_THROWS_AS(fit.load(folder.file("bad", bytes)), DamagedFile); };
  for (size_t cut = 0; cut < good.size(); cut += good.size() / 40) damaged(good.substr(0, cut));
  damaged(good.substr(0, good.size() - 1));
  damaged(good + "x");
  for (size_t at = 0; at < good.size(); at += good.size() / 97) {
    std::string bad = good;
    bad[at] = char(bad[at] ^ 4);
    damaged(bad);
  }
  CHECK_THROWS_AS(fit.load(folder.path("nothing")), DamagedFile);
  CHECK(finish(fit, folder) == whole);
}

TEST_CASE("fit: choices are made on training or validation sections, weights on training sections only") {
  const std::vector<Slide> train = test::synthetic_slides({30, 24});
  const std::vector<Slide> val{test::synthetic_slide("V", 26, 6, 4, 99)};
  const ModelConfig c = config_of(1);
  std::vector<Slide> changed = val;
  for (size_t i = 0; i < changed[0].counts.size(); i++) changed[0].counts[i] = float((i * 7) % 23);
  Fit a(c, kGenes, train, val), b(c, kGenes, train, changed);
  CHECK(a.stages() == 1);
  for (StepReport r; a.step(r);) {}
  for (StepReport r; b.step(r);) {}
  const Selection first = a.selection(), second = b.selection();
  CHECK(first.pearson != second.pearson);
  CHECK(first.pearson >= std::max(first.expert, first.denoiser));
  const Predictor one = a.take(), other = b.take();
  REQUIRE(one.residuals.sd.size() == 4);
  {  // 80 % of the validation section's spots lie between the 10 % and the 90 % quantile, as these come from there
    const std::vector<float> truth = log1p(val[0].counts), guess = one.predict(val[0]).mean;
    int64_t inside = 0;
    for (size_t i = 0; i < truth.size(); i++) {
      const double r = double(truth[i]) - double(guess[i]);
      const auto g = int64_t(i % 4);
      inside += r >= one.residuals.quantile(g, 0.1) - 1e-6 && r <= one.residuals.quantile(g, 0.9) + 1e-6;
    }
    CHECK(double(inside) / double(truth.size()) == doctest::Approx(0.8).epsilon(0.05));
  }
  REQUIRE(one.validation.size() == 4);  // of one fold, so that the mean over genes is the one that was maximised
  CHECK(std::accumulate(one.validation.begin(), one.validation.end(), 0.0) / 4 == doctest::Approx(first.pearson).epsilon(1e-12));
  const Tensor w = one.parameters().values(), v = other.parameters().values();
  CHECK(std::equal(w.as<float>(), w.as<float>() + w.size(), v.as<float>()));
  CHECK(one.targets.mean == other.targets.mean);
  CHECK(one.pipeline.scale.sd == other.pipeline.scale.sd);
  // The expert follows from the training sections and the penalty that was chosen.
  if (first.lambda == second.lambda) CHECK(one.expert.weight == other.expert.weight);
}

TEST_CASE("run folder: the newest checkpoint is found also when stages have three digits") {
  const std::vector<Slide> train = test::synthetic_slides({12, 13});
  ModelConfig c = config_of(64);
  c.epochs = 0.5;
  const test::TempFolder folder;
  RunFolder run = RunFolder::create(folder.path("run"), false);
  Fit fit(c, kGenes, train, {});
  StepReport r;
  while (fit.stage() < 101) {
    fit.step(r);
    if (fit.stage() >= 98) run.checkpoint(fit);
  }
  Fit resumed(c, kGenes, train, {});
  terminal::Settings quiet;
  quiet.quiet = true;
  terminal::configure(quiet);
  run.resume(resumed);
  terminal::configure({});
  CHECK(resumed.stage() == 101);
}
