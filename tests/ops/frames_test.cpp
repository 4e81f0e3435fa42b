#include "ops/frames.h"

#include <doctest/doctest.h>

#include <cstring>

#include "engine/safetensors.h"
#include "engine/threads.h"
#include "ops/knn.h"
#include "tests/ops/layouts.h"
#include "tests/orders.h"

using namespace stflow;
using test::Layout;

namespace {

struct Built {
  Graph graph;
  Frames frames;
  std::vector<double> mean;  // of phi over the frames of each edge
};

/// A smooth function without symmetries.
double phi(const double* v) {
  const double u = 0.9 * v[0] - 0.4 * v[1] + 0.3 * v[2] + 0.2, w = 0.5 * v[0] + 1.1 * v[1] - 0.7 * v[2] - 0.6;
  return u / (1 + std::exp(-u)) + std::tanh(w) + 0.3 * u * std::tanh(w);
}

void build(Layout& l, int k, FrameMode mode, Built& b) {
  build_knn(l.points(), l.ranks(), k, b.graph);
  average_frames(l.points(), b.graph, mode, median_neighbour_distance(b.graph), DType::f64, b.frames);
  const int64_t count = b.frames.count;
  b.mean.assign(size_t(b.graph.n * b.graph.k), 0);
  for (size_t e = 0; e < b.mean.size(); e++) {
    for (int64_t f = 0; f < count; f++) b.mean[e] += phi(b.frames.values.as<double>() + (int64_t(e) * count + f) * 3);
    b.mean[e] /= double(count);
  }
}

/// The layout after motion number m: quarter turns with and without reflection, then any angle; shifted by up to 5e4.
Layout moved(const Layout& l, int m) {
  const auto r = RandomKey(11, Stream::test, 5).draw(uint64_t(m));
  const double angle = m < 8 ? (m % 4) * M_PI / 2 : 2 * M_PI * open01(r.v[0], r.v[1]), mirror = (m / 4) % 2 ? -1 : 1;
  const double c = m < 8 ? std::round(std::cos(angle)) : std::cos(angle), s = m < 8 ? std::round(std::sin(angle)) : std::sin(angle);
  const double dx = m % 3 ? 1e5 * (open01(r.v[2], 0) - 0.5) : 0, dy = m % 3 ? 1e5 * (open01(r.v[3], 0) - 0.5) : 0;
  Layout out = l;
  for (size_t i = 0; i < l.coords.size(); i += 2) {
    const double x = mirror * l.coords[i], y = l.coords[i + 1];
    out.coords[i] = c * x - s * y + dx, out.coords[i + 1] = s * x + c * y + dy;
  }
  return out;
}

/// Largest change of the averaged phi over the motions; infinite when the neighbour lists change.
double change(Layout& l, int k, FrameMode mode, int motions) {
  static Built still, turned;
  build(l, k, mode, still);
  double worst = 0;
  for (int m = 0; m < motions; m++) {
    Layout t = moved(l, m);
    build(t, k, mode, turned);
    if (std::memcmp(still.graph.idx.data, turned.graph.idx.data, still.graph.idx.bytes()) != 0) return INFINITY;
    for (size_t e = 0; e < still.mean.size(); e++) worst = std::max(worst, std::fabs(still.mean[e] - turned.mean[e]));
  }
  return worst;
}

Layout polygon(int corners) {  // a spot in the centre of a regular polygon
  Layout l{"polygon", {0, 0}, {0}};
  for (int i = 0; i < corners; i++) {
    l.coords.push_back(3 * std::cos(0.4 + 2 * M_PI * i / corners)), l.coords.push_back(3 * std::sin(0.4 + 2 * M_PI * i / corners));
    l.rank.push_back(i + 1);
  }
  return l;
}

}  // namespace

TEST_CASE("frames: no motion of the slide changes what is averaged over exact frames") {
  for (Layout& l : test::layouts())
    for (int k = 1; k <= 18; k++) {
      CAPTURE(l.name);
      CAPTURE(k);
      CHECK(change(l, k, FrameMode::exact, 40) <= 1e-9);
    }
}

TEST_CASE("frames: the reference's frames depend on the pose of a lattice, and are the exact ones elsewhere") {
  auto all = test::layouts();
  CHECK(change(all[2], 6, FrameMode::reference, 40) > 1e-2);  // hex: the first shell has no axes
  CHECK(change(all[3], 8, FrameMode::reference, 40) > 1e-2);  // square: the first two
  Built exact, reference;
  for (int k = 1; k <= 18; k++) {
    build(all[1], k, FrameMode::exact, exact);
    build(all[1], k, FrameMode::reference, reference);
    REQUIRE(exact.frames.degenerate == 0);
    CHECK(exact.mean == reference.mean);
    CHECK(change(all[1], k, FrameMode::reference, 40) <= 1e-9);
  }
}

TEST_CASE("frames: permuting the spots permutes the frames byte for byte, at any thread count") {
  Built a, b;
  for (Layout& l : test::layouts())
    for (uint32_t turn = 0; turn < 10; turn++) {
      CAPTURE(l.name);
      const auto to = test::shuffled(l.n(), 300 + turn);
      Layout m = test::permuted(l, to);
      set_thread_count(1 + int(turn % 3));
      const int k = 1 + int(turn);
      build(l, k, FrameMode::exact, a);
      build(m, k, FrameMode::exact, b);
      REQUIRE(a.frames.count == b.frames.count);
      const int64_t row = a.graph.k * a.frames.count * 3;
      for (size_t i = 0; i < to.size(); i++)
        REQUIRE(std::memcmp(a.frames.values.as<double>() + int64_t(i) * row, b.frames.values.as<double>() + to[i] * row, size_t(row) * 8) ==
                0);
    }
  set_thread_count(0);
}

TEST_CASE("frames: turning by half a circle flips the axes and keeps every bit") {
  Built a, b;
  for (Layout& l : test::layouts())
    for (int k = 1; k <= 9; k++) {
      build(l, k, FrameMode::exact, a);
      Layout t = l;
      for (double& x : t.coords) x = -x;
      build(t, k, FrameMode::exact, b);
      CAPTURE(l.name);
      CAPTURE(k);
      REQUIRE(std::memcmp(a.frames.values.data, b.frames.values.data, a.frames.values.bytes()) == 0);
    }
}

TEST_CASE("frames: small and odd neighbourhoods by hand") {
  Built b;
  auto row = [&](int64_t i, int64_t slot, int64_t f) {
    return b.frames.values.as<double>() + ((i * b.graph.k + slot) * b.frames.count + f) * 3;
  };

  Layout pair{"pair", {0, 0, 3, 4}, {0, 1}};  // one neighbour: its centred offset is zero
  build(pair, 8, FrameMode::exact, b);
  CHECK(b.frames.count == 4);
  for (int f = 0; f < 4; f++) {
    CHECK(row(0, 0, f)[0] == 0);
    CHECK(row(0, 0, f)[1] == 0);
    CHECK(row(0, 0, f)[2] == 1);
  }

  Layout line{"line", {0, 0, 6, 8, -3, -4}, {0, 1, 2}};  // offsets 10 and -5 along a line, unit 5: +-7.5 around their mean
  build(line, 2, FrameMode::exact, b);
  CHECK(row(0, 0, 3)[0] == doctest::Approx(0).epsilon(1e-12));
  CHECK(row(0, 0, 3)[1] == doctest::Approx(1.5));
  CHECK(row(0, 1, 3)[1] == doctest::Approx(1.5));
  CHECK(row(0, 1, 0)[1] == doctest::Approx(-1.5));
  CHECK(row(0, 1, 3)[2] == doctest::Approx(2));

  for (int corners : {3, 4, 6}) {  // no axes: the circle, from the edge itself
    Layout l = polygon(corners);
    build(l, corners, FrameMode::exact, b);
    REQUIRE(b.frames.count == 8);
    REQUIRE(b.frames.degenerate >= 1);
    for (int s = 0; s < corners; s++)
      for (int f = 0; f < 8; f++) {
        const double unit = median_neighbour_distance(b.graph), *v = row(0, s, f);
        CHECK(std::hypot(v[0], v[1]) == doctest::Approx(3 / unit));
        CHECK(v[2] == doctest::Approx(3 / unit));
        CHECK(std::fabs(v[0]) == doctest::Approx(3 / unit * (f < 4 ? std::cos(M_PI / 8) : std::sin(M_PI / 8))));
        CHECK((v[0] < 0) == (f % 4 < 2));
        CHECK((v[1] < 0) == (f % 2 == 0));
      }
  }

  Layout lone{"lone", {1, 2}, {0}};
  build(lone, 8, FrameMode::exact, b);
  CHECK(b.frames.values.shape == Shape{1, 0, 4, 3});
}

TEST_CASE("frames: just above the threshold the axes are still good to 1e-9") {
  for (double squeeze : {1e-7, 3e-6, 1e-5, 1e-3}) {
    Layout l = polygon(6);
    for (size_t i = 0; i < l.coords.size(); i += 2) l.coords[i] *= 1 + squeeze;
    for (double& x : l.coords) x *= 100;
    Built still, turned;
    build(l, 6, FrameMode::exact, still);
    CHECK((still.frames.count == 8) == (squeeze < 1e-6));
    for (int m = 9; m < 40; m += 3) {  // those without a shift
      Layout t = moved(l, m);
      build(t, 6, FrameMode::exact, turned);
      for (size_t e = 0; e < 6; e++) CHECK(std::fabs(still.mean[e] - turned.mean[e]) <= 1e-9);
    }
  }
}

TEST_CASE("frames: neighbours, projections and distances of the reference model") {
  const SafeTensors golden("tests/fixtures/denoiser_small.safetensors");
  Layout l{"golden", golden.read<double>("in.coords"), {}};
  for (size_t i = 0; i < l.coords.size() / 2; i++) l.rank.push_back(int32_t(i));
  const auto indices = golden.read<int32_t>("knn.indices");
  const auto projection = golden.read<double>("frames.abs_projection"), distance = golden.read<double>("frames.distance");
  Graph graph;
  Frames frames;
  build_knn(l.points(), l.ranks(), int(int64_t(indices.size()) / l.n()), graph);
  REQUIRE(graph.idx.size() == int64_t(indices.size()));
  CHECK(std::memcmp(graph.idx.data, indices.data(), graph.idx.bytes()) == 0);
  for (FrameMode mode : {FrameMode::reference, FrameMode::exact}) {
    average_frames(l.points(), graph, mode, 1, DType::f64, frames);
    REQUIRE(frames.count == 4);
    for (size_t e = 0; e < indices.size(); e++)
      for (size_t f = 0; f < 4; f++) {
        const double* v = frames.values.as<double>() + (e * 4 + f) * 3;
        CHECK(std::fabs(v[0] - (f < 2 ? -1 : 1) * projection[2 * e]) <= 1e-9 * distance[e]);
        CHECK(std::fabs(v[1] - (f % 2 ? 1 : -1) * projection[2 * e + 1]) <= 1e-9 * distance[e]);
        CHECK(std::fabs(v[2] - distance[e]) <= 1e-12 * distance[e]);
      }
  }
}

TEST_CASE("frames: the device's are the host's byte for byte, in both modes, on every layout, in every order of threads") {
  Graph graph;
  Frames host, device(Device::cuda);
  int64_t degenerate = 0;
  for (Layout& l : test::layouts_for_device()) {
    const Array coords = test::on_device(l.points());
    for (int k : {0, 1, 3, 6, 8, 17})
      for (FrameMode mode : {FrameMode::reference, FrameMode::exact}) {
        CAPTURE(l.name);
        CAPTURE(k);
        build_knn(l.points(), l.ranks(), k, graph);
        const Graph there = graph.to(Device::cuda);
        const double unit = median_neighbour_distance(graph);
        average_frames(l.points(), graph, mode, unit, DType::f32, host);
        degenerate += host.degenerate;
        test::in_every_order([&] {
          average_frames(Cuda{}, coords, there, mode, unit, DType::f32, device);
          REQUIRE(device.degenerate == host.degenerate);
          REQUIRE(device.values.shape == host.values.shape);
          Array back(device.values.shape, DType::f32);
          copy(Device::cpu, back.tensor().data, Device::cuda, device.values.data, device.values.bytes());
          REQUIRE(std::memcmp(back.tensor().data, host.values.data, host.values.bytes()) == 0);
        });
      }
  }
  CHECK(degenerate > 100);  // both kinds were met
}
