#include "data/scale.h"

#include <cmath>
#include <utility>

#include "engine/error.h"
#include "engine/text.h"

namespace stflow {

void settle_mpp(Section& s, const DataOptions& options, std::vector<Scale> found, const std::string& where, double most) {
  std::vector<Scale> all;
  if (options.mpp > 0) all.push_back({options.mpp, "--mpp"});
  if (s.source.mpp > 0) all.push_back({s.source.mpp, s.source.mpp_from});
  for (Scale& scale : found) all.push_back(std::move(scale));
  if (all.empty()) return;
  const Scale& best = all.front();
  std::string each;
  for (const Scale& o : all) each += fmt::format("{}{:.4g} from {}", each.empty() ? "" : ", ", o.mpp, o.from);
  for (const Scale& o : all)
    if (!(o.mpp >= 0.05 && o.mpp <= most))
      fail(Exit::data, "{}: {} microns per pixel from {}, expected 0.05 to {}", where, shortest(o.mpp), o.from, most);
  for (const Scale& o : all)
    if (std::fabs(o.mpp / best.mpp - 1) > 0.05)
      fail(Exit::data, "{}: microns per pixel: {}, expected at most 5 % between them", where, each);
  s.mpp = best.mpp / s.reduced, s.mpp_from = best.from;
}

Pitch array_pitch(std::span<const double> grid, std::span<const double> pixels) {
  const size_t n = grid.size() / 2;
  double mean[4] = {}, cc = 0, cr = 0, rr = 0, cx[2] = {}, rx[2] = {};
  for (size_t i = 0; i < n; i++)
    for (size_t k = 0; k < 2; k++) mean[k] += grid[2 * i + k] / double(n), mean[2 + k] += pixels[2 * i + k] / double(n);
  for (size_t i = 0; i < n; i++) {
    const double c = grid[2 * i] - mean[0], r = grid[2 * i + 1] - mean[1];
    cc += c * c, cr += c * r, rr += r * r;
    for (size_t k = 0; k < 2; k++) cx[k] += c * (pixels[2 * i + k] - mean[2 + k]), rx[k] += r * (pixels[2 * i + k] - mean[2 + k]);
  }
  const double determinant = cc * rr - cr * cr;
  if (!(determinant > 1e-9 * cc * rr) || !(cc > 0 && rr > 0)) return {};
  double column = 0, row = 0;
  for (size_t k = 0; k < 2; k++) {
    const double a = (rr * cx[k] - cr * rx[k]) / determinant, b = (cc * rx[k] - cr * cx[k]) / determinant;
    column += a * a, row += b * b;
  }
  return {std::sqrt(column), std::sqrt(row)};
}

}  // namespace stflow
