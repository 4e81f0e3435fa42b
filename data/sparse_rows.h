// A table of which most values are zero, row by row: only the others are kept (CSR).
#pragma once
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace stflow {

struct SparseRows {
  std::vector<int64_t> start{0};  // rows + 1: row n has the values [start[n], start[n + 1])
  std::vector<int32_t> column;    // of each value, ascending within a row
  std::vector<float> value;       // never zero; NaN is a value

  [[nodiscard]] int64_t rows() const { return int64_t(start.size()) - 1; }
  [[nodiscard]] bool empty() const { return rows() == 0; }
  [[nodiscard]] int64_t first(int64_t row) const { return start[size_t(row)]; }
  [[nodiscard]] int64_t last(int64_t row) const { return start[size_t(row) + 1]; }
  [[nodiscard]] float at(int64_t row, int64_t column) const;
  [[nodiscard]] double total(int64_t row) const;
  bool operator==(const SparseRows&) const = default;

  void clear() { *this = {}; }
  /// Appends a row that has a value in every column.
  void add_row(std::span<const float> dense);
  /// Appends a row: (column, value) in any order; values of one column are added up. Returns how many columns came twice.
  int64_t add_row(std::vector<std::pair<int32_t, float>>& values);
  /// The given rows, in the given order.
  [[nodiscard]] SparseRows of(const std::vector<int64_t>& rows) const;
  /// Column c becomes to[c]; -1: it is left out. Columns that become one are added up.
  [[nodiscard]] SparseRows renamed(const std::vector<int64_t>& to) const;
};

/// What a table of counts holds in all. Rows with NaN or Inf are not looked at.
struct Totals {
  int64_t rows = 0, empty = 0;             // rows; those of them without a count
  double median = 0, least = 0, most = 0;  // of the rows' totals
  double present = 0;                      // the median number of columns that are not zero in a row
  double zeros = 0;                        // their share of the table
};
Totals totals_of(const SparseRows& rows, int64_t columns);

/// From and to (rows, columns) row-major, for small tables.
SparseRows sparse(std::span<const float> dense, int64_t columns);
std::vector<float> dense(const SparseRows& rows, int64_t columns);

}  // namespace stflow
