// Outlines of tissue: from a mask to polygons and back.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "data/tissue/mask.h"

namespace stflow {

struct Vertex {
  double x, y;
  bool operator==(const Vertex&) const = default;
};

/// A closed line; the last point is joined to the first, which is not repeated.
using Ring = std::vector<Vertex>;

struct Polygon {
  Ring outer;
  std::vector<Ring> holes;
};

/// The outlines of a mask in full-resolution pixels, one polygon for each piece connected by sides, in the order of their first pixels.
/// Lines run between pixels: mask_of() of the unsimplified outlines is the mask. `tolerance` >= 0, in mask pixels: points are left out
/// that are closer than this to the line without them (Douglas-Peucker).
std::vector<Polygon> contours(const TissueMask& mask, double tolerance = 0.75);

/// Even-odd rule over outer line and holes. A point on a left or upper side is inside, on a right or lower side outside, so that a point
/// on the side of two neighbours belongs to one of them.
bool contains(const Polygon& polygon, Vertex p);

/// Pixel centres that any of the polygons contains. Throws Exit::data "<name>: ..." for polygons that would take minutes: more than
/// 2 * 10^9 rows crossed by lines and pixels covered by bounding boxes.
TissueMask mask_of(const std::vector<Polygon>& polygons, int64_t width, int64_t height, double scale, const std::string& name);

}  // namespace stflow
