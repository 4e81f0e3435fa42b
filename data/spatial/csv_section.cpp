#include "data/spatial/csv_section.h"

#include <algorithm>
#include <cmath>

#include "data/legacy_st.h"
#include "data/spatial/positions.h"
#include "engine/file.h"
#include "engine/text.h"

namespace stflow {
namespace {

/// Column and row at the end of "Human_Breast_A1_10x13".
bool grid_of(const std::string& name, std::vector<double>& grid) {
  const std::string_view last = std::string_view(name).substr(name.rfind('_') + 1);
  const size_t x = last.find('x');
  if (x == std::string_view::npos) return false;
  const auto column = parse_integer(last.substr(0, x)), row = parse_integer(last.substr(x + 1));
  constexpr int64_t kMost = 1'000'000;
  if (!column || !row || std::min(*column, *row) < 0 || std::max(*column, *row) > kMost) return false;
  grid.push_back(double(*column)), grid.push_back(double(*row));
  return true;
}

}  // namespace

void read_csv_section(Section& s, const DataOptions& options, std::vector<std::string>& warnings) {
  const std::string &counts_path = s.source.counts, &spots_path = s.source.spots;
  Counts counts = read_counts(FileView(counts_path).text(), counts_path, options, ',');
  FoundPlaces places = read_positions(FileView(spots_path).text(), spots_path);
  FoundCounts found;
  found.path = counts_path, found.name = "counts";
  found.spots = std::move(counts.spots);
  if (are_ids(counts.genes)) found.ids = std::move(counts.genes);
  else found.symbols = std::move(counts.genes);
  found.matrix.columns = int64_t(found.ids.size() + found.symbols.size());
  found.matrix.rows = std::move(counts.values);
  set_counts(s, std::move(found), options, warnings);
  strip_barcodes(places.spots, options, spots_path);
  std::vector<Scale> scales = pitch_scale(places, 0);
  std::vector<double> grid;
  bool legacy = places.grid.empty(), staggered = true;
  for (const std::string& name : places.spots) legacy = legacy && grid_of(name, grid);
  for (size_t i = 0; legacy && i < grid.size(); i += 2) staggered &= uint64_t(int64_t(grid[i]) + int64_t(grid[i + 1])) % 2 == 0;
  const double um = options.spot_pitch > 0 ? options.spot_pitch : staggered ? 0 : 200;
  if (legacy && places.spots.size() >= 4 && um > 0) {
    const Pitch pitch = array_pitch(grid, places.xy);
    const double pixels = (pitch.column + pitch.row) / 2 * (staggered ? std::sqrt(2.0) : 1);
    if (pixels > 0) scales.push_back({um / pixels, fmt::format("{} um between spots that are {:.1f} pixels apart", shortest(um), pixels)});
  }
  set_places(s, places, options, warnings);
  settle_mpp(s, options, std::move(scales), spots_path);
}

}  // namespace stflow
