#include "ops/knn.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "engine/threads.h"
#include "ops/cuda/cell_grid.h"

namespace stflow {
namespace {

constexpr int64_t kLeaf = 8;  // places in a leaf at most

/// The distinct places of a slide, in the order of a balanced k-d tree whose node v has the children 2v + 1 and 2v + 2
/// and covers the first and second half of its range.
struct Tree {
  struct Box {
    double x0, y0, x1, y1;
  };

  std::vector<int32_t> spots;  // all spots, those of one place side by side and by rank
  std::vector<int32_t> begin;  // place p holds spots[begin[p] .. end[p])
  std::vector<int32_t> end;
  std::vector<Point> at;        // of place p
  std::vector<Box> boxes;       // of node v
  std::vector<int32_t> sorted;  // scratch

  [[nodiscard]] int64_t places() const { return int64_t(at.size()); }

  void build(const Point* c, const int32_t* rank, int64_t n) {
    spots.resize(size_t(n));
    for (int64_t i = 0; i < n; i++) spots[size_t(i)] = int32_t(i);
    std::sort(spots.begin(), spots.end(), [&](int32_t a, int32_t b) {
      if (c[a].x != c[b].x) return c[a].x < c[b].x;
      if (c[a].y != c[b].y) return c[a].y < c[b].y;
      return rank[a] < rank[b];
    });
    begin.clear(), end.clear(), at.clear();
    for (int32_t s = 0, e = 0; s < n; s = e) {
      const Point p = c[spots[size_t(s)]];
      while (e < n && c[spots[size_t(e)]].x == p.x && c[spots[size_t(e)]].y == p.y) e++;
      begin.push_back(s), end.push_back(e), at.push_back(p);
    }
    boxes.assign(nodes(places()), Box{});
    sorted.resize(at.size());
    for (size_t p = 0; p < sorted.size(); p++) sorted[p] = int32_t(p);
    split(0, 0, places());
    permute(at), permute(begin), permute(end);
  }

  static size_t nodes(int64_t places) {
    size_t levels = 1;
    for (int64_t most = places; most > kLeaf; most = (most + 1) / 2) levels++;
    return (size_t(1) << levels) - 1;
  }

 private:
  void split(size_t node, int64_t lo, int64_t hi) {
    constexpr double inf = std::numeric_limits<double>::infinity();
    Box b{inf, inf, -inf, -inf};
    for (int64_t p = lo; p < hi; p++) {
      const Point q = at[size_t(sorted[size_t(p)])];
      b = {std::min(b.x0, q.x), std::min(b.y0, q.y), std::max(b.x1, q.x), std::max(b.y1, q.y)};
    }
    boxes[node] = b;
    if (hi - lo <= kLeaf) return;
    const int64_t mid = (lo + hi + 1) / 2;
    const bool wide = b.x1 - b.x0 >= b.y1 - b.y0;
    std::nth_element(sorted.begin() + lo, sorted.begin() + mid, sorted.begin() + hi, [&](int32_t i, int32_t j) {
      const Point p = at[size_t(i)], q = at[size_t(j)];
      return wide ? p.x < q.x : p.y < q.y;
    });
    split(2 * node + 1, lo, mid);
    split(2 * node + 2, mid, hi);
  }
  template <class T> void permute(std::vector<T>& v) const {
    const std::vector<T> old = v;
    for (size_t p = 0; p < v.size(); p++) v[p] = old[size_t(sorted[p])];
  }
};

/// One thread's search around a place. The search counts the spots at the place itself too: they are all at distance
/// 0, a group of their own, so that leaving one out later disturbs nothing.
class Search {
 public:
  /// The `want` first spots around place p in canonical order with their squared distances: spot(i), d2(i).
  void around(const Tree& tree, const int32_t* rank, int64_t p, int64_t want) {
    t_ = &tree, here_ = tree.at[size_t(p)], want_ = want;
    // A tie group may go on behind the want-th spot. Everything within `wider` is collected; if a group is not closed
    // there, look again further out.
    for (wider_ = 1 + 1e3 * kTieTolerance;; wider_ = 2 * wider_) {
      nearest_.clear(), found_.clear(), counted_ = 0;
      visit(0, 0, tree.places());
      if (order(rank)) return;
    }
  }
  [[nodiscard]] int32_t spot(int64_t i) const { return chosen_[size_t(i)].spot; }
  [[nodiscard]] double d2(int64_t i) const { return chosen_[size_t(i)].d2; }

 private:
  struct Place {
    double d2;
    int64_t p;
  };
  struct Spot {
    int32_t rank, spot;
    double d2;
  };
  struct Count {
    double d2;
    int64_t spots;
  };

  [[nodiscard]] double limit() const { return counted_ < want_ ? std::numeric_limits<double>::infinity() : nearest_.back().d2 * wider_; }

  void visit(size_t node, int64_t lo, int64_t hi) {
    if (hi - lo <= kLeaf) {
      for (int64_t p = lo; p < hi; p++) add(p);
      return;
    }
    const int64_t mid = (lo + hi + 1) / 2;
    const double left = gap(2 * node + 1), right = gap(2 * node + 2);
    for (bool first : {left <= right, left > right}) {
      if (first ? left <= limit() : right <= limit()) first ? visit(2 * node + 1, lo, mid) : visit(2 * node + 2, mid, hi);
    }
  }
  /// Squared distance to a node's box. Rounding is monotone, so it never exceeds that of a point inside.
  [[nodiscard]] double gap(size_t node) const {
    const Tree::Box& b = t_->boxes[node];
    const double dx = std::max({b.x0 - here_.x, here_.x - b.x1, 0.0}), dy = std::max({b.y0 - here_.y, here_.y - b.y1, 0.0});
    return dx * dx + dy * dy;
  }
  void add(int64_t p) {
    const double dx = t_->at[size_t(p)].x - here_.x, dy = t_->at[size_t(p)].y - here_.y, d = dx * dx + dy * dy;
    if (d > limit()) return;
    found_.push_back({d, p});
    if (counted_ >= want_ && d >= nearest_.back().d2) return;
    // nearest_ is sorted and holds just enough places for `want` spots; its last distance is the current bound.
    const int64_t spots = std::min<int64_t>(want_, t_->end[size_t(p)] - t_->begin[size_t(p)]);
    nearest_.insert(std::upper_bound(nearest_.begin(), nearest_.end(), d, [](double v, const Count& c) { return v < c.d2; }), {d, spots});
    counted_ += spots;
    while (counted_ - nearest_.back().spots >= want_) counted_ -= nearest_.back().spots, nearest_.pop_back();
  }
  /// Sorts what was found into groups and takes the first `want` spots; false when the last group may go on outside.
  bool order(const int32_t* rank) {
    const double edge = limit();
    std::erase_if(found_, [&](const Place& f) { return f.d2 > edge; });
    std::sort(found_.begin(), found_.end(), [](const Place& a, const Place& b) { return a.d2 < b.d2; });
    chosen_.clear();
    for (size_t s = 0, e = 0; s < found_.size() && int64_t(chosen_.size()) < want_; s = e) {
      for (e = s + 1; e < found_.size() && found_[e].d2 - found_[e - 1].d2 <= kTieTolerance * found_[e].d2;) e++;
      if (e == found_.size() && found_.size() < size_t(t_->places()) && edge - found_[e - 1].d2 <= kTieTolerance * edge) {
        if (found_[e - 1].d2 > 0) return false;
      }
      const auto group = chosen_.size();
      for (size_t f = s; f < e; f++) {
        const size_t p = size_t(found_[f].p);
        const int32_t last = int32_t(std::min<int64_t>(t_->end[p], t_->begin[p] + want_));
        for (int32_t i = t_->begin[p]; i < last; i++) {
          const int32_t spot = t_->spots[size_t(i)];
          chosen_.push_back({rank[spot], spot, found_[f].d2});
        }
      }
      std::sort(chosen_.begin() + std::ptrdiff_t(group), chosen_.end(), [](const Spot& a, const Spot& b) { return a.rank < b.rank; });
    }
    return true;
  }

  const Tree* t_ = nullptr;
  Point here_{};
  int64_t want_ = 0, counted_ = 0;
  double wider_ = 1;
  std::vector<Count> nearest_;
  std::vector<Place> found_;
  std::vector<Spot> chosen_;
};

[[noreturn]] void refuse(int64_t i, Point p) { fail(Exit::data, "coordinates: spot {} at ({}, {}), expected finite numbers", i, p.x, p.y); }

void verify_arguments(const Tensor& coords, const Tensor& rank, int k) {
  const int64_t n = coords.shape[0];
  check(coords.shape == Shape{n, 2} && coords.type == DType::f64 && rank.shape == Shape{n} && rank.type == DType::i32 && k >= 0,
        "knn: coordinates {} {}, ranks {}, k {}", coords.shape.text(), name_of(coords.type), rank.shape.text(), k);
}

void verify(const Point* c, const int32_t* rank, int64_t n) {
  std::vector<unsigned char> seen(size_t(n), 0);
  for (int64_t i = 0; i < n; i++) {
    if (!acceptable(c[i])) refuse(i, c[i]);
    check(rank[i] >= 0 && rank[i] < n && !seen[size_t(rank[i])], "knn: rank {} of spot {} is no permutation", rank[i], i);
    seen[size_t(rank[i])] = 1;
  }
}

int neighbours_of(int64_t n, int k) { return int(std::min<int64_t>(k, std::max<int64_t>(n - 1, 0))); }

// Of distances to the nearest neighbour elsewhere, 0 where a spot has none.
double median_of(std::vector<double> nearest) {
  std::erase(nearest, 0.0);
  if (nearest.empty()) return 1;
  const auto middle = nearest.begin() + std::ptrdiff_t(nearest.size() / 2);
  std::nth_element(nearest.begin(), middle, nearest.end());
  if (nearest.size() % 2 == 1) return *middle;
  return 0.5 * (*middle + *std::max_element(nearest.begin(), middle));
}

}  // namespace

void build_knn(const Tensor& coords, const Tensor& rank, int k, Graph& graph) {
  const int64_t n = coords.shape[0];
  verify_arguments(coords, rank, k);
  const auto* c = static_cast<const Point*>(coords.data);
  const auto* position = rank.as<int32_t>();
  verify(c, position, n);
  graph.resize(n, neighbours_of(n, k));
  if (graph.k > 0) {
    thread_local Tree tree;  // keeps its capacity from slide to slide
    tree.build(c, position, n);
    const Tree& t = tree;
    const int64_t take = graph.k;
    auto* idx = graph.idx.as<int32_t>();
    auto* distance = graph.distance.as<double>();
    parallel_for(t.places(), 256, [&, idx, distance](int64_t first, int64_t last) {
      thread_local Search search;
      for (int64_t p = first; p < last; p++) {
        search.around(t, position, p, take + 1);
        for (int32_t s = t.begin[size_t(p)]; s < t.end[size_t(p)]; s++) {
          const int64_t self = t.spots[size_t(s)];
          for (int64_t i = 0, slot = 0; slot < take; i++) {
            if (search.spot(i) == self) continue;
            idx[self * take + slot] = search.spot(i);
            distance[self * take + slot] = std::sqrt(search.d2(i));
            slot++;
          }
        }
      }
    });
  }
  graph.build_reverse(rank);
}

void build_knn(Cuda on, const Spots& here, const Spots& there, int k, Graph& graph) {
  const int64_t n = here.coords.shape[0];
  verify_arguments(here.coords, here.rank, k);
  verify_arguments(there.coords, there.rank, k);
  check(graph.device() == Device::cuda && there.coords.shape[0] == n, "knn: {} spots, {} on the device, expected as many and a graph there",
        n, there.coords.shape[0]);
  const auto* at = here.coords.as<const Point>();
  verify(at, here.rank.as<int32_t>(), n);
  graph.resize(n, neighbours_of(n, k));
  if (graph.k > 0) search_cells(on, CellGrid(at, n), there, graph);
  build_reverse(on, there.rank, graph);
}

double median_neighbour_distance(const Graph& graph) {
  std::vector<double> nearest(size_t(graph.n));
  for (int64_t i = 0; i < graph.n; i++) nearest[size_t(i)] = nearest_elsewhere(graph.distance.as<double>() + i * graph.k, graph.k);
  return median_of(std::move(nearest));
}

double median_neighbour_distance(Cuda on, Graph& graph) {
  std::vector<double> nearest(size_t(graph.n));
  graph.scratch.reserve(nearest.size() * sizeof(double));
  auto* there = static_cast<double*>(graph.scratch.data());
  find_nearest(on, graph, there);
  copy(Device::cpu, nearest.data(), Device::cuda, there, nearest.size() * sizeof(double), on.stream);
  return median_of(std::move(nearest));
}

}  // namespace stflow
