// Small made-up slides whose genes follow their features: enough to train on in milliseconds.
#pragma once
#include <cmath>
#include <string>
#include <vector>

#include "engine/threads.h"
#include "model/config.h"
#include "model/slide.h"
#include "tests/check.h"
#include "tests/ops/layouts.h"

namespace stflow::test {

/// n spots on a hexagonal grid of 7 columns, spacing 100, barcodes in random order; (n, dim) features ~ N(0, 1); gene g
/// has exp(1.5 + 0.8 feature g + 0.3 noise) counts, rounded down.
inline Slide synthetic_slide(const std::string& name, int64_t n, int64_t dim, int64_t genes, uint64_t seed) {
  Slide s;
  s.name = name, s.dim = dim;
  const std::vector<int32_t> number = shuffled(n, uint32_t(seed));
  const std::vector<double> x = normal(size_t(n * dim), seed), noise = normal(size_t(n * genes), seed + 1000);
  for (int64_t i = 0; i < n; i++) {
    s.spots.push_back("spot" + std::to_string(1000 + number[size_t(i)]));
    s.xy.push_back(100 * (double(i % 7) + 0.5 * double(i / 7 % 2))), s.xy.push_back(86 * double(i / 7));
    for (int64_t f = 0; f < dim; f++) s.features.push_back(float(x[size_t(i * dim + f)]));
    for (int64_t g = 0; g < genes; g++)
      s.counts.push_back(float(std::floor(std::exp(1.5 + 0.8 * x[size_t(i * dim + g % dim)] + 0.3 * noise[size_t(i * genes + g)]))));
  }
  s.rank = canonical_rank(s.spots);
  return s;
}

/// Slides A, B, ... of these sizes.
inline std::vector<Slide> synthetic_slides(const std::vector<int64_t>& sizes, int64_t dim = 6, int64_t genes = 4) {
  std::vector<Slide> all;
  for (size_t i = 0; i < sizes.size(); i++) all.push_back(synthetic_slide(std::string(1, char('A' + i)), sizes[i], dim, genes, 10 + i));
  return all;
}

/// The slide with its rows in another order: row i of the result is row order[i] of `s`.
inline Slide reordered(const Slide& s, const std::vector<int32_t>& order) { return s.part({order.begin(), order.end()}); }

/// A preset made small: one layer of width 8, 6 neighbours, 2 draws.
inline ModelConfig small_config(const std::string& name = "default") {
  ModelConfig c = preset(name);
  c.denoiser.hidden = c.denoiser.pairwise = 8, c.denoiser.layers = 1, c.denoiser.heads = 2;
  c.geometry.neighbors = 6, c.samples = 2, c.epochs = 2;
  return c;
}

/// Calls f with 1, 2 and 3 threads, then sets the number back.
template <class F> void with_threads(F&& f) {
  const int before = thread_count();
  for (int n : {1, 2, 3}) {
    set_thread_count(n);
    f(n);
  }
  set_thread_count(before);
}

}  // namespace stflow::test
