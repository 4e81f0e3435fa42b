// Tissue outlines as GeoJSON, the way QuPath, TRIDENT and HEST write and read them.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "data/tissue/contours.h"

namespace stflow {

/// Polygons in full-resolution pixels, origin at the upper left. Takes a FeatureCollection, an array of features, a Feature, a
/// GeometryCollection, a Polygon or a MultiPolygon, plain or gzip; other geometries (points, lines) and features without one are passed
/// over. A ring whose last point is not its first is closed. Refused with Exit::data "<name>: <place>: ...": no polygon at all, fewer than
/// three points in a ring, a coordinate that is no number or beyond 10^9, more than 64 MiB of text, 4 million values or 64 levels.
std::vector<Polygon> parse_tissue(std::string_view bytes, const std::string& name);
/// Of a file. Throws Exit::missing or Exit::data.
std::vector<Polygon> read_tissue(const std::string& path);

/// A FeatureCollection of one Polygon each, annotations with the classification Tissue; gzip where the name ends with ".gz". The same
/// bytes for the same polygons. Atomic.
void write_tissue(const std::string& path, const std::vector<Polygon>& polygons);

}  // namespace stflow
