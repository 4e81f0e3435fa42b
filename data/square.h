// Squares of pixels to another size, row by row, by a triangle filter as wide as the reduction asks for, so that nothing aliases.
#pragma once
#include <cstdint>
#include <vector>

namespace stflow {

/// Resamples `length` pixels, which begin at `offset` (0 <= offset < 1) of a row of `count` pixels, to `size`; along both axes alike. Only
/// the pixels of the square are looked at.
class SquareFilter {
 public:
  SquareFilter(double length, int size, double offset_x = 0, double offset_y = 0);

  [[nodiscard]] int64_t columns() const { return columns_; }  // pixels of a row that have weight
  [[nodiscard]] int64_t rows() const { return rows_; }
  /// Adds row j, whose columns() pixels begin at `left` of the `width` pixels at `row`; those outside, and all where `row` is null, are
  /// white. sums: (size, size, 3), zero before the first row. `line`: room for size * 3 floats.
  void add(const uint8_t* row, int64_t left, int64_t width, int64_t j, float* sums, float* line) const;
  /// The bytes of finished sums.
  void finish(const float* sums, uint8_t* rgb) const;

 private:
  struct Taps {
    int64_t first;
    std::vector<float> weight;
  };
  static std::vector<Taps> taps(double length, int size, double offset, int64_t count);

  int size_;
  int64_t columns_, rows_;
  std::vector<Taps> across_, down_;  // by output sample
};

}  // namespace stflow
