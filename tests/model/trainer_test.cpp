// One optimiser step: what it adds up, that it is the same everywhere, and what it says when numbers go wrong.
#include "model/trainer.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <memory>

#include "ops/mse.h"
#include "tests/allocations.h"
#include "tests/model/synthetic.h"

using namespace stflow;

namespace {

using Bytes = std::vector<unsigned char>;

Bytes bytes_of_tensor(const Tensor& t) {
  const auto* p = static_cast<const unsigned char*>(t.data);
  return {p, p + t.bytes()};
}

// Everything a trainer refers to, on slides of 20 to 45 spots.
struct Small {
  std::vector<Slide> slides;
  std::vector<TrainingSlide> items;
  DenoiserConfig sizes;
  ParameterSet set;
  std::unique_ptr<Denoiser> denoiser;
  GeometryConfig geometry{6, FrameMode::exact, true};
  Prior prior;
  Standardizer targets;
  std::unique_ptr<Trainer> trainer;

  explicit Small(TrainingConfig training, float dropout = 0.2f, int64_t layers = 2, const std::vector<int64_t>& spots = {20, 45, 33})
      : slides(test::synthetic_slides(spots)) {
    sizes.features = 6, sizes.genes = 4, sizes.hidden = sizes.pairwise = 8, sizes.layers = layers, sizes.heads = 2;
    sizes.dropout = sizes.attention_dropout = dropout;
    denoiser = std::make_unique<Denoiser>(set, sizes);
    set.allocate(5);
    std::vector<std::vector<float>> logs;
    std::vector<const std::vector<float>*> all;
    std::vector<float> counts;
    for (const Slide& s : slides) logs.push_back(log1p(s.counts)), counts.insert(counts.end(), s.counts.begin(), s.counts.end());
    for (const auto& l : logs) all.push_back(&l);
    targets = Standardizer::fit(all, 4, 0);
    prior = fit_prior(PriorKind::zinb, counts, 4);
    for (size_t i = 0; i < slides.size(); i++) {
      items.push_back({&slides[i], slides[i].features, logs[i]});
      targets.apply(items[i].targets);
    }
    trainer = std::make_unique<Trainer>(*denoiser, set, items, geometry, prior, targets, training, 77);
  }
  [[nodiscard]] Bytes weights() const { return bytes_of_tensor(set.values()); }
};

TrainingConfig with(int batch, ItemLaw item = ItemLaw::whole, bool shuffle = true) {
  TrainingConfig c;
  c.steps = 100, c.batch = batch, c.item = item, c.shuffle = shuffle;
  return c;
}

}  // namespace

TEST_CASE("trainer: the same bytes at 1, 2 and 3 threads, and a second time in one process") {
  for (ItemLaw law : {ItemLaw::whole, ItemLaw::disc}) {
    Bytes first;
    double loss = 0;
    auto run = [&] {
      Small s(with(3, law));
      for (int i = 0; i < 4; i++) loss = s.trainer->step().loss;
      Bytes all = s.weights();
      for (const Tensor& t : {s.trainer->state().m.tensor(), s.trainer->state().v.tensor(), s.trainer->state().ema.tensor()}) {
        const Bytes b = bytes_of_tensor(t);
        all.insert(all.end(), b.begin(), b.end());
      }
      if (first.empty()) first = all;
      CHECK(all == first);
      CHECK(std::isfinite(loss));
    };
    test::with_threads([&](int) { run(); });
    run();
    Small untrained(with(3, law));
    CHECK(!std::equal(first.begin(), first.begin() + 400, untrained.weights().begin()));  // guards the test: it did train
  }
}

TEST_CASE("trainer: a step is the sum of its items' gradients over all their entries") {
  Small s(with(2, ItemLaw::whole, false)), own(with(2));
  const StepReport report = s.trainer->step();
  // The two items by hand: t, prior and dropouts from their documented keys.
  std::vector<float> grads[2];
  double loss = 0;
  int64_t spots = 0;
  for (uint32_t slot = 0; slot < 2; slot++) {
    const Slide& slide = own.slides[slot];
    const int64_t n = slide.size();
    spots += n;
    Geometry g;
    g.build(slide.coords(), slide.ranks(), own.geometry, DType::f32);
    const Philox4 r = RandomKey(77, Stream::time, 0, slot).draw(0);
    auto t = float(open01(r.v[0], r.v[1]));
    std::vector<float> y(size_t(4 * n)), x = own.items[slot].inputs, y1 = own.items[slot].targets;
    own.prior.sample(slide.ranks(), RandomKey(77, Stream::prior, 0, slot), own.targets, view(y.data(), {n, 4}));
    for (size_t i = 0; i < y.size(); i++) y[i] = (1 - t) * y[i] + t * y1[i];
    Tape tape;
    Dropouts dropouts{true, RandomKey(77, Stream::dropout, 0, slot)};
    const Denoiser::Slide known = own.denoiser->slide(tape.input(view(x.data(), {n, 6})), tape.input(g.frames().values), dropouts);
    Var p = own.denoiser->step(tape.input(view(y.data(), {n, 4})), tape.input(view(&t, {1})), known, g.graph(), dropouts).prediction;
    Var squares = mse(p, tape.input(view(y1.data(), {n, 4})), Reduction::sum);
    tape.plan(true);
    Storage arena;
    std::vector<float>& into = grads[slot];
    into.assign(size_t(own.set.grads().size()), 0);
    tape.bind(arena, own.set, view(into.data(), {int64_t(into.size())}));
    tape.forward();
    loss += double(*tape.value(squares).as<float>());
    tape.backward(squares);
  }
  const float* got = s.set.grads().as<float>();
  double norm = 0;
  bool equal = true;
  for (int64_t i = 0; i < s.set.size(); i++) {
    const float sum = grads[0][size_t(i)] + grads[1][size_t(i)];
    equal = equal && sum == got[i];
    norm += double(sum) * double(sum);
  }
  CHECK(equal);
  CHECK(report.spots == spots);
  CHECK(report.loss == doctest::Approx(loss / double(4 * spots)).epsilon(1e-12));
  CHECK(report.grad_norm == doctest::Approx(std::sqrt(norm) / double(4 * spots)).epsilon(1e-9));
  CHECK(norm > 0);
}

TEST_CASE("trainer: once warm, a step asks for no memory") {
  Small s(with(2));
  for (int i = 0; i < 6; i++) s.trainer->step();
  const int64_t before = test::allocations();
  for (int i = 0; i < 6; i++) s.trainer->step();
  CHECK(test::allocations() - before == 0);
}

TEST_CASE("item order: the reference shows a slide ten times in a row; shuffled passes show each slide once") {
  const ItemOrder reference{3, 10, false, 1}, shuffled{7, 1, true, 5}, repeated{4, 3, true, 5};
  for (int64_t i = 0; i < 90; i++) CHECK(reference.slide_of(i) == i % 30 / 10);
  CHECK(reference.per_pass() == 30);
  std::map<std::vector<int64_t>, int> orders;
  for (int64_t pass = 0; pass < 20; pass++) {
    std::vector<int64_t> order, seen(7, 0);
    for (int64_t i = 0; i < 7; i++) order.push_back(shuffled.slide_of(7 * pass + i)), seen[size_t(order.back())]++;
    CHECK(seen == std::vector<int64_t>(7, 1));
    orders[order]++;
  }
  CHECK(orders.size() >= 19);  // of 5040 orders
  for (int64_t pass = 0; pass < 5; pass++) {
    std::vector<int64_t> seen(4, 0);
    for (int64_t i = 0; i < 12; i++) {
      seen[size_t(repeated.slide_of(12 * pass + i))]++;
      CHECK(repeated.slide_of(12 * pass + i) == repeated.slide_of(12 * pass + i / 3 * 3));
    }
    CHECK(seen == std::vector<int64_t>(4, 3));
  }
}

TEST_CASE("discs: max(2, floor(N u)) spots, the nearest to one of them, whatever the order of rows") {
  const GeometryConfig config{6, FrameMode::exact, true};
  const Slide slide = test::synthetic_slide("A", 45, 6, 4, 3);
  const Slide mixed = test::reordered(slide, test::shuffled(45, 8));
  const TrainingSlide a{&slide, slide.features, log1p(slide.counts)}, b{&mixed, mixed.features, log1p(mixed.counts)};
  const ResidentSlide at(a, config, {}), bt(b, config, {});
  Item item, other;
  double mean = 0;
  for (uint32_t draw = 0; draw < 200; draw++) {
    const RandomKey key(4, Stream::item, draw, 2);
    item.set_disc(at, config, key), other.set_disc(bt, config, key);
    const Philox4 r = key.draw(0);
    REQUIRE(item.size() == std::max<int64_t>(2, int64_t(std::floor(45 * open01(r.v[0], r.v[1])))));
    mean += double(item.size()) / 200;
    for (const auto& [x, y] : {std::pair{item.inputs(), other.inputs()},
                               {item.targets(), other.targets()},
                               {item.ranks(), other.ranks()},
                               {item.geometry().frames().values, other.geometry().frames().values},
                               {item.geometry().graph().idx, other.geometry().graph().idx}})
      REQUIRE(bytes_of_tensor(x) == bytes_of_tensor(y));
    CHECK(item.geometry().unit() == at.geometry().unit());
    // Which spots: features are all different.
    std::vector<bool> inside(45, false);
    for (int64_t i = 0; i < item.size(); i++)
      for (size_t s = 0; s < 45; s++)
        if (std::equal(slide.features.begin() + long(6 * s), slide.features.begin() + long(6 * s + 6), item.inputs().as<float>() + 6 * i)) {
          inside[s] = true;
          CHECK(std::equal(a.targets.begin() + long(4 * s), a.targets.begin() + long(4 * s + 4), item.targets().as<float>() + 4 * i));
        }
    REQUIRE(std::count(inside.begin(), inside.end(), true) == item.size());
    bool centre = false;
    for (size_t c = 0; c < 45 && !centre; c++) {
      double farthest = 0, nearest = std::numeric_limits<double>::infinity();
      for (size_t s = 0; s < 45; s++) {
        const double d = std::hypot(slide.xy[2 * s] - slide.xy[2 * c], slide.xy[2 * s + 1] - slide.xy[2 * c + 1]);
        (inside[s] ? farthest : nearest) = inside[s] ? std::max(farthest, d) : std::min(nearest, d);
      }
      centre = inside[c] && farthest <= nearest;
    }
    REQUIRE(centre);
  }
  CHECK(mean == doctest::Approx(22.5).epsilon(0.15));
}

namespace {

// Puts `value` into what one op writes: its output (input -1) or the gradient of one of its inputs.
struct Poison {
  struct Place {
    int node, input;
    std::string op;
  };
  Place place{-1, -1, ""};
  float value = 0;
  bool everywhere = false;
  bool looking = true;  // collects the places of the first item
  std::vector<Place> found;
  int64_t at = -1;
  Shape shape;

  static void apply(void* state, const char* op, int node, int input, Tensor t) {
    auto& p = *static_cast<Poison*>(state);
    const auto same = [&](const Place& x) { return x.node == node && x.input == input; };
    if (p.looking && t.size() > 0 && std::none_of(p.found.begin(), p.found.end(), same)) p.found.push_back({node, input, op});
    if (p.looking || !same(p.place)) return;
    p.shape = t.shape, p.at = p.everywhere ? 0 : t.size() * 2 / 3;
    for (int64_t i = 0; i < t.size(); i++)
      if (p.everywhere || i == p.at) t.as<float>()[i] = p.value;
  }
};

}  // namespace

TEST_CASE("trainer: NaN or Inf in any op's output or gradient stops training before the update and is named") {
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  for (bool everywhere : {false, true}) {
    TrainingConfig training = with(2, ItemLaw::whole, false);
    training.steps = 1000, training.cosine = false;                // so that every step changes the weights
    Small s(training, everywhere ? 0.2f : 0.0f, 2, {14, 20, 17});  // a single element may be dropped
    s.trainer->step();
    Poison p;
    p.everywhere = everywhere;
    s.trainer->tape().tamper(Poison::apply, &p);
    s.trainer->step();
    p.looking = false;
    int outputs = 0, gradients = 0, masked = 0;
    for (float value : {nan, inf, -inf})
      for (const Poison::Place& place : p.found) {
        if (place.input >= 0 && (everywhere || value == inf)) continue;  // of gradients: one element, NaN and -Inf
        p.place = place, p.value = value, p.at = -1;
        const Bytes before = s.weights(), moments = bytes_of_tensor(s.trainer->state().m.tensor());
        const int64_t steps = s.trainer->steps_done();
        CAPTURE(place.op);
        CAPTURE(place.input);
        CAPTURE(value);
        std::string line;
        try {
          s.trainer->step();
        } catch (const Error& e) {
          line = e.what();
          CHECK(e.code() == Exit::data);
        }
        REQUIRE(p.at >= 0);
        CAPTURE(line);
        // Not a fault: a score of -Inf is a neighbour masked out. Its softmax weight is exp(-Inf) = 0, its gradient 0, and all
        // that follows is finite. (All scores of a spot at -Inf is 0 / 0 and must be named.)
        if (place.op == "edge_score" && place.input < 0 && value == -inf && !everywhere) {
          CHECK(line.empty());
          CHECK(s.trainer->steps_done() == steps + 1);
          const float* w = s.set.values().as<float>();
          CHECK(std::all_of(w, w + s.set.size(), [](float x) { return std::isfinite(x); }));
          masked++;
          continue;
        }
        const std::string start = fmt::format("train: step {}, slide {}: {} {} of layer '", steps + 1, s.slides[size_t(2 * steps % 3)].name,
                                              place.op, place.input < 0 ? "forward" : "backward");
        const std::string end =
            fmt::format("': {} at element {} of {}, expected finite numbers", value != value ? "NaN" : "Inf", p.at, p.shape.text());
        CHECK(line.starts_with(start));
        CHECK(line.ends_with(end));
        CHECK(line.find("layer ''") == std::string::npos);
        CHECK(s.weights() == before);
        CHECK(bytes_of_tensor(s.trainer->state().m.tensor()) == moments);
        CHECK(s.trainer->steps_done() == steps);
        (place.input < 0 ? outputs : gradients)++;
      }
    const auto ops = int(std::count_if(p.found.begin(), p.found.end(), [](const auto& x) { return x.input < 0; }));
    CHECK(ops > 60);
    CHECK(outputs + masked == 3 * ops);
    CHECK(gradients == (everywhere ? 0 : 2 * (int(p.found.size()) - ops)));
    CHECK(masked == (everywhere ? 0 : 2));  // the score of each of the two layers
    p.place.node = -1;
    const Bytes before = s.weights();
    CHECK(std::isfinite(s.trainer->step().loss));  // and training can go on
    CHECK(s.weights() != before);
  }
}

TEST_CASE("trainer: a gradient that overflows is named although every value was finite") {
  Small s(with(1, ItemLaw::whole, false), 0);
  auto fill = [&](const char* name, float v) {
    const Tensor t = s.set.value(*s.set.find(name));
    for (int64_t i = 0; i < t.size(); i++) t.as<float>()[i] = v;
  };
  const std::string head = "backbone.blks.1.gene_updater.output.";
  fill((head + "2.weight").c_str(), 0);  // the last gene head sees zeros, whose gradient is beyond float
  fill((head + "4.weight").c_str(), 3e38f);
  const Bytes before = s.weights();
  try {
    s.trainer->step();
    FAIL("accepted");
  } catch (const Error& e) {
    CHECK(std::string(e.what()).starts_with("train: step 1, slide A: linear backward of layer 'backbone.blks.1': "));
    CHECK(std::string(e.what()).ends_with("of (20, 8), expected finite numbers"));
  }
  CHECK(s.weights() == before);
}

TEST_CASE("trainer: learns, warms up and decays") {
  TrainingConfig c = with(3);
  c.adam.lr = 1e-2;
  Small s(c);
  std::vector<StepReport> all;
  while (!s.trainer->done()) all.push_back(s.trainer->step());
  CHECK(all.size() == 100);
  double first = 0, last = 0;
  for (size_t i = 0; i < 20; i++) first += all[i].loss, last += all[80 + i].loss;
  CHECK(last < 0.8 * first);
  CHECK(all[0].lr < all[9].lr);
  CHECK(all[9].lr == doctest::Approx(1e-2));
  CHECK(all[99].lr < 1e-3);
  const Bytes weights = s.weights();
  s.trainer->use_average();
  CHECK(s.weights() == bytes_of_tensor(s.trainer->state().ema));
  CHECK(s.weights() != weights);
}
