#include "model/calibration.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>

#include "engine/threads.h"
#include "model/metrics.h"

namespace stflow {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
constexpr std::array<double, 3> kLevels{0.5, 0.8, 0.9};
constexpr size_t kBins = 20;

double normal_cdf(double z) { return 0.5 * std::erfc(-z / std::numbers::sqrt2); }

/// The z below which a share p of a normal distribution lies, by bisection of its cdf: three values are needed, once.
double normal_quantile(double p) {
  double low = -10, high = 10;
  for (int i = 0; i < 200; i++) {
    const double mid = 0.5 * (low + high);
    (normal_cdf(mid) < p ? low : high) = mid;
  }
  return 0.5 * (low + high);
}

double normal_crps(double mean, double sd, double truth) {
  if (!(sd > 0)) return std::fabs(truth - mean);
  const double z = (truth - mean) / sd, density = std::exp(-z * z / 2) / std::sqrt(2 * std::numbers::pi);
  return sd * (z * (2 * normal_cdf(z) - 1) + 2 * density - 1 / std::sqrt(std::numbers::pi));
}

/// E|draw - truth| - E|draw - another draw| / 2, from the draws in rising order.
double crps_of_sorted(const std::vector<double>& draws, double truth) {
  const auto k = double(draws.size());
  double off = 0, apart = 0;
  for (size_t i = 0; i < draws.size(); i++) off += std::fabs(draws[i] - truth), apart += (2 * double(i) - k + 1) * draws[i];
  return off / k - apart / (k * (k - 1));
}

/// What one gene's values add up to.
struct Tally {
  std::array<double, kLevels.size()> inside{};
  std::array<double, kBins> pit{};
  double crps = 0;

  /// A mass of one, spread evenly over [low, high] of [0, 1].
  void spread(double low, double high) {
    if (!(high > low)) {
      pit[std::min(size_t(low * kBins), kBins - 1)] += 1;
      return;
    }
    for (size_t b = 0; b < kBins; b++) {
      const double from = std::max(low, double(b) / kBins), to = std::min(high, double(b + 1) / kBins);
      if (to > from) pit[b] += (to - from) / (high - low);
    }
  }
};

/// The two quantiles that bound each central interval, where the prediction has both.
struct Bounds {
  std::array<const float*, kLevels.size()> low{}, high{};

  explicit Bounds(const std::map<double, Tensor>& quantiles) {
    const auto find = [&](double p) -> const float* {
      for (const auto& [q, tensor] : quantiles)
        if (std::fabs(q - p) < 1e-9) return tensor.as<float>();
      return nullptr;
    };
    for (size_t l = 0; l < kLevels.size(); l++) {
      low[l] = find((1 - kLevels[l]) / 2), high[l] = find((1 + kLevels[l]) / 2);
      if (!low[l] || !high[l]) low[l] = high[l] = nullptr;
    }
  }
};

void tally_draws(Tally& tally, std::vector<double>& sorted, double truth) {
  std::sort(sorted.begin(), sorted.end());
  const auto k = int64_t(sorted.size());
  for (size_t l = 0; l < kLevels.size(); l++)
    tally.inside[l] += truth >= quantile_of_sorted(sorted.data(), k, (1 - kLevels[l]) / 2) &&
                       truth <= quantile_of_sorted(sorted.data(), k, (1 + kLevels[l]) / 2);
  const auto below = double(std::lower_bound(sorted.begin(), sorted.end(), truth) - sorted.begin()),
             until = double(std::upper_bound(sorted.begin(), sorted.end(), truth) - sorted.begin());
  tally.spread(below / double(k + 1), (until + 1) / double(k + 1));
  tally.crps += crps_of_sorted(sorted, truth);
}

void tally_normal(Tally& tally, double mean, double sd, double truth, const std::array<double, kLevels.size()>& z) {
  for (size_t l = 0; l < kLevels.size(); l++) tally.inside[l] += std::fabs(truth - mean) <= z[l] * sd;
  if (sd > 0) {
    const double place = normal_cdf((truth - mean) / sd);
    tally.spread(place, place);
  } else tally.spread(truth > mean ? 1 : 0, truth < mean ? 0 : 1);  // all mass on the mean: a truth on it may stand anywhere
  tally.crps += normal_crps(mean, sd, truth);
}

}  // namespace

Calibration calibrate(const Uncertainty& u, const Tensor& truth) {
  const int64_t n = truth.shape[0], genes = truth.cols();
  const bool draws = u.draws.size() >= 2, normal = !draws && u.sd.data != nullptr;
  const Bounds bounds(u.quantiles);
  std::array<double, kLevels.size()> z{};
  for (size_t l = 0; l < kLevels.size(); l++) z[l] = normal_quantile((1 + kLevels[l]) / 2);
  std::vector<Tally> tallies{size_t(genes)};
  parallel_for(genes, 1, [&](int64_t begin, int64_t end) {
    std::vector<double> sorted(u.draws.size());
    for (int64_t g = begin; g < end; g++)
      for (int64_t i = g; i < n * genes; i += genes) {
        const double y = truth.as<float>()[i];
        Tally& tally = tallies[size_t(g)];
        if (draws) {
          for (size_t k = 0; k < u.draws.size(); k++) sorted[k] = u.draws[k].as<float>()[i];
          tally_draws(tally, sorted, y);
          continue;
        }
        const auto normal_inside = tally.inside;
        if (normal) tally_normal(tally, u.mean.as<float>()[i], u.sd.as<float>()[i], y, z);
        for (size_t l = 0; l < kLevels.size(); l++)
          if (bounds.low[l]) tally.inside[l] = normal_inside[l] + (y >= bounds.low[l][i] && y <= bounds.high[l][i]);
      }
  });

  Calibration c;
  const auto all = double(n * genes);
  const char* from = draws ? "draws" : normal ? "normal" : "";
  Tally sum;
  for (const Tally& t : tallies) {
    for (size_t l = 0; l < kLevels.size(); l++) sum.inside[l] += t.inside[l];
    for (size_t b = 0; b < kBins; b++) sum.pit[b] += t.pit[b];
    sum.crps += t.crps;
  }
  for (size_t l = 0; l < kLevels.size(); l++) {
    const char* source = !draws && bounds.low[l] ? "quantiles" : from;
    c.coverage.push_back({kLevels[l], *source && all > 0 ? sum.inside[l] / all : kNone, source});
  }
  c.pit_from = c.crps_from = from;
  c.crps = *from && all > 0 ? sum.crps / all : kNone;
  if (*from && all > 0)
    for (const double mass : sum.pit) c.pit.push_back(mass / all);
  return c;
}

}  // namespace stflow
