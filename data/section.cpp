#include "data/section.h"

#include <utility>

namespace stflow {
namespace {

template <class T> void keep_rows(std::vector<T>& values, size_t columns, const std::vector<int64_t>& rows) {
  std::vector<T> kept;
  kept.reserve(rows.size() * columns);
  for (int64_t r : rows) {
    auto from = values.begin() + r * int64_t(columns);
    kept.insert(kept.end(), std::make_move_iterator(from), std::make_move_iterator(from + int64_t(columns)));
  }
  values = std::move(kept);
}

}  // namespace

void Section::keep(const std::vector<int64_t>& rows) {
  keep_rows(spots, 1, rows);
  keep_rows(xy, 2, rows);
  if (!counts.empty()) counts = counts.of(rows);
  if (feature_dim > 0) keep_rows(features, size_t(feature_dim), rows);
}

void Section::leave_unmatched(int64_t left, int64_t right, int64_t both, const std::string& text, std::vector<std::string>& warnings) {
  if (both == left && both == right) return;
  if (20 * (left - both) > left || 20 * (right - both) > right) {
    warnings.push_back(sample() + ": " + text + "; unmatched spots are left out");
    return;
  }
  unmatched += left - both + right - both;
  unmatched_where += (unmatched_where.empty() ? "" : "; ") + text;
}

}  // namespace stflow
