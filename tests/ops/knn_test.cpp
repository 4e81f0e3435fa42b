#include "ops/knn.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>

#include "engine/threads.h"
#include "tests/ops/layouts.h"
#include "tests/orders.h"

using namespace stflow;
using test::Layout;

namespace {

/// The definition, word for word: sort all others by squared distance, chain into groups, ranks within a group.
std::vector<int32_t> plain_search(const Layout& l, int k) {
  std::vector<int32_t> idx;
  for (int64_t i = 0; i < l.n(); i++) {
    struct Other {
      double d2;
      int64_t group;
      int32_t rank, j;
    };
    std::vector<Other> others;
    for (int64_t j = 0; j < l.n(); j++) {
      const double dx = l.coords[size_t(2 * j)] - l.coords[size_t(2 * i)], dy = l.coords[size_t(2 * j + 1)] - l.coords[size_t(2 * i + 1)];
      if (j != i) others.push_back({dx * dx + dy * dy, 0, l.rank[size_t(j)], int32_t(j)});
    }
    std::sort(others.begin(), others.end(), [](auto& a, auto& b) { return a.d2 < b.d2; });
    for (size_t j = 1; j < others.size(); j++)
      others[j].group = others[j - 1].group + (others[j].d2 - others[j - 1].d2 > kTieTolerance * others[j].d2);
    std::sort(others.begin(), others.end(), [](auto& a, auto& b) { return a.group != b.group ? a.group < b.group : a.rank < b.rank; });
    for (int s = 0; s < std::min<int>(k, int(others.size())); s++) idx.push_back(others[size_t(s)].j);
  }
  return idx;
}

bool same_bytes(const Tensor& a, const Tensor& b) { return a.shape == b.shape && std::memcmp(a.data, b.data, a.bytes()) == 0; }
bool same(const Graph& a, const Graph& b) {
  return a.n == b.n && a.k == b.k && same_bytes(a.idx, b.idx) && same_bytes(a.distance, b.distance) &&
         same_bytes(a.reverse_start, b.reverse_start) && same_bytes(a.reverse, b.reverse);
}

std::vector<int32_t> numbers(const Tensor& t) { return {t.as<int32_t>(), t.as<int32_t>() + t.size()}; }

}  // namespace

TEST_CASE("knn: equals the definition on every layout, each edge once in the reverse lists") {
  Graph g;
  for (Layout& l : test::layouts())
    for (int k = 0; k <= 18; k++) {
      CAPTURE(l.name);
      CAPTURE(k);
      build_knn(l.points(), l.ranks(), k, g);
      REQUIRE(g.k == std::min<int64_t>(k, l.n() - 1));
      REQUIRE(numbers(g.idx) == plain_search(l, k));
      std::vector<int> seen(size_t(g.n * g.k), 0);
      const auto start = numbers(g.reverse_start), edges = numbers(g.reverse);
      REQUIRE(start[0] == 0);
      REQUIRE(start[size_t(g.n)] == g.n * g.k);
      for (int64_t j = 0; j < g.n; j++)
        for (int32_t e = start[size_t(j)]; e < start[size_t(j + 1)]; e++) {
          REQUIRE(g.idx.as<int32_t>()[edges[size_t(e)]] == j);
          seen[size_t(edges[size_t(e)])]++;
          if (e > start[size_t(j)]) REQUIRE(l.rank[size_t(edges[size_t(e - 1)] / g.k)] < l.rank[size_t(edges[size_t(e)] / g.k)]);
        }
      REQUIRE(std::count(seen.begin(), seen.end(), 1) == g.n * g.k);
    }
}

TEST_CASE("knn: permuting the spots permutes the graph, at any thread count") {
  Graph g, h;
  for (Layout& l : test::layouts())
    for (int k : {1, 6, 8, 17})
      for (uint32_t turn = 0; turn < 10; turn++) {
        CAPTURE(l.name);
        const auto to = test::shuffled(l.n(), 100 + turn);  // spot i of l is spot to[i] of m
        Layout m = test::permuted(l, to);
        set_thread_count(1 + int(turn % 3));
        build_knn(l.points(), l.ranks(), k, g);
        build_knn(m.points(), m.ranks(), k, h);
        const auto a = numbers(g.idx), b = numbers(h.idx), ra = numbers(g.reverse), rb = numbers(h.reverse);
        const auto sa = numbers(g.reverse_start), sb = numbers(h.reverse_start);
        for (int64_t i = 0; i < g.n; i++) {
          const int64_t j = to[size_t(i)];
          for (int s = 0; s < g.k; s++) REQUIRE(b[size_t(j * g.k + s)] == to[size_t(a[size_t(i * g.k + s)])]);
          REQUIRE(std::memcmp(g.distance.as<double>() + i * g.k, h.distance.as<double>() + j * g.k, size_t(g.k) * 8) == 0);
          REQUIRE(sa[size_t(i + 1)] - sa[size_t(i)] == sb[size_t(j + 1)] - sb[size_t(j)]);
          for (int32_t e = 0; e < sa[size_t(i + 1)] - sa[size_t(i)]; e++) {
            const int32_t x = ra[size_t(sa[size_t(i)] + e)], y = rb[size_t(sb[size_t(j)] + e)];
            REQUIRE(y == to[size_t(x / g.k)] * g.k + x % g.k);
          }
        }
      }
  set_thread_count(0);
}

TEST_CASE("knn: a slide in one place, alone or with a far spot, takes the first barcodes in linear time") {
  const int64_t n = 100000;
  Layout l{"heap", std::vector<double>(size_t(2 * n), 5.0), test::shuffled(n, 3)};
  std::vector<int32_t> order(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; i++) order[size_t(l.rank[size_t(i)])] = int32_t(i);
  l.coords[size_t(2 * order[0])] = 1e9;  // the first barcode is elsewhere
  Graph g;
  build_knn(l.points(), l.ranks(), 8, g);
  for (int64_t i = 0; i < n; i++) {
    const int32_t r = l.rank[size_t(i)];
    for (int s = 0; s < 8; s++) REQUIRE(g.idx.as<int32_t>()[i * 8 + s] == order[size_t(s + 1 + (r > 0 && s + 1 >= r))]);
  }
  CHECK(median_neighbour_distance(g) == doctest::Approx(1e9 - 5));
}

TEST_CASE("knn: memory is kept, median distance, bad coordinates") {
  auto all = test::layouts();
  Layout hex = all[2], pair = all[9];
  Graph g;
  build_knn(hex.points(), hex.ranks(), 8, g);
  const void* memory = g.idx.data;
  CHECK(median_neighbour_distance(g) == doctest::Approx(200));
  build_knn(pair.points(), pair.ranks(), 8, g);
  CHECK(g.idx.data == memory);
  CHECK(g.k == 1);
  CHECK(median_neighbour_distance(g) == doctest::Approx(std::hypot(200, 70)));
  Layout lone{"lone", {3, 4}, {0}};
  build_knn(lone.points(), lone.ranks(), 8, g);
  CHECK(g.k == 0);
  CHECK(median_neighbour_distance(g) == 1);
  for (double bad : {double(NAN), double(INFINITY), -2e12}) {
    pair.coords[3] = bad;
    try {
      build_knn(pair.points(), pair.ranks(), 8, g);
      FAIL("accepted ", bad);
    } catch (const Error& e) {
      CHECK(e.code() == Exit::data);
      CHECK(std::string(e.what()).find("spot 1") != std::string::npos);
    }
  }
}

TEST_CASE("knn: the device's graph and median are the host's byte for byte, on every layout, in every order of threads") {
  Graph host, device(Device::cuda);
  for (Layout& l : test::layouts_for_device()) {
    const Array coords = test::on_device(l.points()), rank = test::on_device(l.ranks());
    for (int k : {0, 1, 2, 3, 6, 8, 17, 100}) {
      if (l.n() * k > 30000) continue;
      CAPTURE(l.name);
      CAPTURE(k);
      build_knn(l.points(), l.ranks(), k, host);
      test::in_every_order([&] {
        build_knn(Cuda{}, {l.points(), l.ranks()}, {coords, rank}, k, device);
        REQUIRE(same(device.to(Device::cpu), host));
      });
      REQUIRE(median_neighbour_distance(Cuda{}, device) == median_neighbour_distance(host));
    }
  }
}

TEST_CASE("knn: a device's graph with more rows has the graph and, behind it, the last spot again, whom nobody sees") {
  Layout l = test::layouts()[2];
  const Array coords = test::on_device(l.points()), rank = test::on_device(l.ranks());
  const int64_t n = l.n();
  constexpr int64_t kMore = 37;
  Graph want, device(Device::cuda);
  build_knn(l.points(), l.ranks(), 6, want);
  test::in_every_order([&] {
    device.resize(n + kMore, 6);
    build_knn(Cuda{}, {l.points(), l.ranks()}, {coords, rank}, 6, device);
    pad_graph(Cuda{}, device, n + kMore);
    const Graph got = device.to(Device::cpu);
    REQUIRE((got.n == n + kMore && got.k == 6));
    const auto *idx = got.idx.as<int32_t>(), *start = got.reverse_start.as<int32_t>();
    CHECK(std::memcmp(idx, want.idx.data, want.idx.bytes()) == 0);
    CHECK(std::memcmp(got.distance.data, want.distance.data, want.distance.bytes()) == 0);
    CHECK(std::memcmp(start, want.reverse_start.data, want.reverse_start.bytes()) == 0);
    CHECK(std::memcmp(got.reverse.data, want.reverse.data, want.reverse.bytes()) == 0);
    for (int64_t i = n; i < n + kMore; i++) {
      CHECK(std::equal(idx + i * 6, idx + i * 6 + 6, idx + (n - 1) * 6));
      CHECK(std::equal(got.distance.as<double>() + i * 6, got.distance.as<double>() + i * 6 + 6, want.distance.as<double>() + (n - 1) * 6));
      CHECK(start[i + 1] == n * 6);
    }
  });
  CHECK_THROWS_WITH_AS(pad_graph(Cuda{}, device, 100 * n), doctest::Contains("memory for them"), Error);
}

TEST_CASE("knn: the device refuses what the host refuses in the same words, and keeps its memory") {
  Layout l = test::layouts()[2], pair = test::layouts()[9];
  auto refusal = [](auto build) -> std::pair<Exit, std::string> {
    try {
      build();
    } catch (const Error& e) {
      return {e.code(), e.what()};
    }
    return {Exit::ok, "accepted"};
  };
  Graph host, device(Device::cuda);
  auto there = [&](Layout& layout) {
    const Array coords = test::on_device(layout.points()), rank = test::on_device(layout.ranks());
    build_knn(Cuda{}, {layout.points(), layout.ranks()}, {coords, rank}, 8, device);
  };
  there(l);
  const void* memory = device.idx.data;
  there(pair);
  CHECK(device.idx.data == memory);
  CHECK(device.k == 1);
  for (double bad : {double(NAN), double(INFINITY), -2e12}) {
    Layout wrong = l;
    wrong.coords[31] = wrong.coords[100] = bad;
    test::in_every_order([&] {
      const auto got = refusal([&] { there(wrong); });
      CHECK(got.first == Exit::data);
      CHECK(got == refusal([&] { build_knn(wrong.points(), wrong.ranks(), 8, host); }));
    });
  }
  for (int32_t bad : {-1, 81, l.rank[3]}) {
    Layout wrong = l;
    wrong.rank[70] = bad;
    CHECK(refusal([&] { there(wrong); }).first == Exit::internal);
  }
}
