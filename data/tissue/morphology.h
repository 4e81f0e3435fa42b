// Operations on small binary images.
#pragma once
#include <cstdint>
#include <functional>
#include <vector>

namespace stflow {

/// (height, width) of 0 and 1, row-major. Radii are of squares, in pixels; 0 changes nothing. Beyond the border there is nothing: it
/// neither adds to an image nor wears it off.
struct Bitmap {
  int64_t width, height;
  std::vector<uint8_t> on;

  [[nodiscard]] int64_t size() const { return width * height; }
};

void dilate(Bitmap& b, int64_t radius);
void erode(Bitmap& b, int64_t radius);
/// More than half of the square around a pixel: a median.
void majority(Bitmap& b, int64_t radius);
/// Sets pieces of value `value` to the other one where `change(piece, touches the border)` says so; a piece is the
/// places of its pixels. Pieces of ones are connected by
/// sides, pieces of zeros by corners as well.
void flip_pieces(Bitmap& b, uint8_t value, const std::function<bool(const std::vector<int64_t>& piece, bool border)>& change);

}  // namespace stflow
