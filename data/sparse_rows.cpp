#include "data/sparse_rows.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace stflow {

float SparseRows::at(int64_t row, int64_t wanted) const {
  const auto begin = column.begin() + first(row), end = column.begin() + last(row);
  const auto it = std::lower_bound(begin, end, int32_t(wanted));
  return it == end || *it != wanted ? 0 : value[size_t(it - column.begin())];
}

double SparseRows::total(int64_t row) const { return std::accumulate(value.begin() + first(row), value.begin() + last(row), 0.0); }

void SparseRows::add_row(std::span<const float> dense) {
  for (size_t i = 0; i < dense.size(); i++)
    if (dense[i] != 0) column.push_back(int32_t(i)), value.push_back(dense[i]);
  start.push_back(int64_t(value.size()));
}

int64_t SparseRows::add_row(std::vector<std::pair<int32_t, float>>& values) {
  // Stable: values of one column are added in the order in which they came.
  const auto less = [](const auto& a, const auto& b) { return a.first < b.first; };
  if (!std::is_sorted(values.begin(), values.end(), less)) std::stable_sort(values.begin(), values.end(), less);
  int64_t twice = 0;
  for (size_t i = 0; i < values.size();) {
    float sum = 0;
    const size_t begin = i;
    for (; i < values.size() && values[i].first == values[begin].first; i++) sum += values[i].second;
    twice += i - begin > 1;
    if (sum != 0) column.push_back(values[begin].first), value.push_back(sum);
  }
  start.push_back(int64_t(value.size()));
  return twice;
}

SparseRows SparseRows::of(const std::vector<int64_t>& wanted) const {
  SparseRows kept;
  for (const int64_t r : wanted) {
    kept.column.insert(kept.column.end(), column.begin() + first(r), column.begin() + last(r));
    kept.value.insert(kept.value.end(), value.begin() + first(r), value.begin() + last(r));
    kept.start.push_back(int64_t(kept.value.size()));
  }
  return kept;
}

SparseRows SparseRows::renamed(const std::vector<int64_t>& to) const {
  SparseRows kept;
  std::vector<std::pair<int32_t, float>> row;
  for (int64_t r = 0; r < rows(); r++) {
    row.clear();
    for (auto i = size_t(first(r)); i < size_t(last(r)); i++)
      if (const int64_t c = to[size_t(column[i])]; c >= 0) row.emplace_back(int32_t(c), value[i]);
    kept.add_row(row);
  }
  return kept;
}

Totals totals_of(const SparseRows& table, int64_t columns) {
  Totals t;
  std::vector<double> totals, present;
  double all = 0;
  for (int64_t r = 0; r < table.rows(); r++) {
    const double total = table.total(r);
    if (!std::isfinite(total)) continue;
    totals.push_back(total), present.push_back(double(table.last(r) - table.first(r)));
    all += present.back();
  }
  if (totals.empty()) return t;
  const auto median = [](std::vector<double>& v) {
    std::sort(v.begin(), v.end());
    return (v[(v.size() - 1) / 2] + v[v.size() / 2]) / 2;
  };
  t.rows = int64_t(totals.size()), t.empty = std::count(totals.begin(), totals.end(), 0.0);
  t.median = median(totals), t.least = totals.front(), t.most = totals.back();
  t.present = median(present);
  t.zeros = 1 - all / (double(t.rows) * double(columns));
  return t;
}

SparseRows sparse(std::span<const float> values, int64_t columns) {
  SparseRows rows;
  for (size_t i = 0; i + size_t(columns) <= values.size(); i += size_t(columns)) rows.add_row(values.subspan(i, size_t(columns)));
  return rows;
}

std::vector<float> dense(const SparseRows& rows, int64_t columns) {
  std::vector<float> values(size_t(rows.rows() * columns), 0);
  for (int64_t r = 0; r < rows.rows(); r++)
    for (auto i = size_t(rows.first(r)); i < size_t(rows.last(r)); i++)
      values[size_t(r * columns) + size_t(rows.column[i])] = rows.value[i];
  return values;
}

}  // namespace stflow
