#include "data/legacy_st.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_map>
#include <utility>

#include "data/scale.h"
#include "data/table.h"
#include "engine/file.h"
#include "engine/text.h"

namespace stflow {
namespace {

constexpr int64_t kMostValues = int64_t(1) << 29;  // of one counts table that are not zero: 4 GiB
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

/// Where each name stands; a name that comes twice is refused by the caller through `twice(index)`.
template <class F> std::unordered_map<std::string, int64_t> index_of(const std::vector<std::string>& names, F twice) {
  std::unordered_map<std::string, int64_t> index;
  for (size_t i = 0; i < names.size(); i++)
    if (!index.emplace(names[i], int64_t(i)).second) twice(i);
  return index;
}

/// For each column of the table after the first, the gene column it adds to, or -1.
std::vector<int64_t> gene_columns(const Table& table, const std::string& name, DuplicateGenes policy, std::vector<std::string>& genes) {
  std::vector<std::string> all(table.header().begin() + 1, table.header().end()), twice;
  for (size_t i = 0; i < all.size(); i++)
    if (all[i].empty()) table.refuse(i + 1, "no name, expected a gene");
  auto first = index_of(all, [&](size_t i) { twice.push_back(all[i]); });
  std::sort(twice.begin(), twice.end());
  twice.erase(std::unique(twice.begin(), twice.end()), twice.end());
  if (!twice.empty() && policy == DuplicateGenes::refuse)
    fail(Exit::data, "{}: line 1: {} genes more than once ({}), expected each once; --duplicate-genes sum, first or drop decides", name,
         twice.size(), listed(twice));

  std::vector<int64_t> to(all.size(), -1), place(all.size(), -1);
  for (size_t i = 0; i < all.size(); i++) {
    auto f = size_t(first.at(all[i]));
    bool repeated = std::binary_search(twice.begin(), twice.end(), all[i]);
    if (repeated && (policy == DuplicateGenes::drop || (policy == DuplicateGenes::first && f != i))) continue;
    if (f == i) {
      place[i] = int64_t(genes.size());
      genes.push_back(all[i]);
    }
    to[i] = place[f];
  }
  return to;
}

float count_of(const Table& table, size_t column, const DataOptions& options) {
  std::string_view s = table.cell(column);
  if (s.size() == 1 && s[0] >= '0' && s[0] <= '9') return float(s[0] - '0');  // nearly every cell
  double x = table.number(column);
  if (!std::isfinite(x)) {
    if (options.drop_nonfinite) return float(kNan);
    table.refuse(column, shown(s) + ", expected a finite count; --drop-nonfinite leaves such spots out");
  }
  if (x < 0 || x != std::floor(x) || x > 1e9) table.refuse(column, shown(s) + ", expected a raw count: a whole number from 0 to 1e9");
  return float(x);
}

double coordinate(const Table& table, size_t column, const DataOptions& options) {
  double x = table.number(column);
  if (!std::isfinite(x) && !options.drop_nonfinite)
    table.refuse(column, shown(table.cell(column)) + ", expected a finite coordinate; --drop-nonfinite leaves such spots out");
  return x;
}

/// Slope of y on x over the finite pairs; 0 if x does not vary.
double slope(const std::vector<double>& x, const std::vector<double>& y, size_t axis) {
  double n = 0, mx = 0, my = 0, sxx = 0, sxy = 0;
  for (size_t i = axis; i < x.size(); i += 2)
    if (std::isfinite(x[i]) && std::isfinite(y[i])) n += 1, mx += x[i], my += y[i];
  if (n < 2) return 0;
  mx /= n, my /= n;
  for (size_t i = axis; i < x.size(); i += 2)
    if (std::isfinite(x[i]) && std::isfinite(y[i])) sxx += (x[i] - mx) * (x[i] - mx), sxy += (x[i] - mx) * (y[i] - my);
  return sxx > 0 ? sxy / sxx : 0;
}

/// Microns per pixel: --mpp, the manifest, or the spot pitch; they have to agree.
void find_mpp(Section& s, const SpotTable& spots, const DataOptions& options) {
  // 1,000-spot arrays of legacy ST: centres 200 um apart on a full grid. The pitch of other arrays has to be given.
  double pitch = options.spot_pitch > 0 ? options.spot_pitch : spots.staggered ? 0 : 200;
  double unit = pixels_per_unit(spots);
  std::vector<Scale> scales;
  if (pitch > 0 && unit > 0) {
    double pixels = spots.staggered ? unit * std::sqrt(2.0) : unit;
    scales.push_back({pitch / pixels, fmt::format("{} um between spots that are {:.1f} pixels apart", shortest(pitch), pixels)});
  }
  settle_mpp(s, options, std::move(scales), s.source.spots);
}

}  // namespace

Counts read_counts(std::string_view bytes, const std::string& name, const DataOptions& options, char separator) {
  Table table(bytes, name, separator);
  Counts c;
  if (table.header().size() < 2)
    fail(Exit::data, "{}: line 1: {} column, expected spot ids and genes separated by {}", name, table.header().size(),
         separator == '\t' ? "tabs" : "commas");
  std::vector<int64_t> to = gene_columns(table, name, options.duplicate_genes, c.genes);
  std::unordered_map<std::string, int64_t> lines;
  std::vector<float> row(c.genes.size());
  while (table.next()) {
    if (table.cell(0).empty()) table.refuse(0, "no spot id, expected one");
    c.spots.emplace_back(table.cell(0));
    auto [seen, fresh] = lines.emplace(c.spots.back(), table.line());
    if (!fresh)
      table.refuse(0, fmt::format("spot {} a second time (first on line {}), expected each once", shown(table.cell(0)), seen->second));
    if (int64_t(c.values.value.size() + c.genes.size()) > kMostValues)
      fail(Exit::data, "{}: line {}: more than {} counts, expected fewer", name, table.line(), kMostValues);
    std::fill(row.begin(), row.end(), 0.0f);
    for (size_t i = 0; i < to.size(); i++) {
      float x = count_of(table, i + 1, options);
      if (to[i] >= 0) row[size_t(to[i])] += x;
    }
    c.values.add_row(row);
  }
  if (c.spots.empty()) fail(Exit::data, "{}: line {}: no spots, expected rows after the header", name, table.line());
  return c;
}

SpotTable read_spots(std::string_view bytes, const std::string& name, const DataOptions& options) {
  Table table(bytes, name, '\t');
  const size_t x = table.column("x"), y = table.column("y"), px = table.column("pixel_x"), py = table.column("pixel_y");
  const int nx = table.find("new_x"), ny = table.find("new_y"), chosen = table.find("selected");
  SpotTable t;
  std::unordered_map<std::string, int64_t> lines;
  t.staggered = true;
  while (table.next()) {
    int64_t gx = table.integer(x), gy = table.integer(y);
    t.ids.push_back(fmt::format("{}x{}", gx, gy));
    auto [seen, fresh] = lines.emplace(t.ids.back(), table.line());
    if (!fresh) table.refuse(x, fmt::format("spot '{}' a second time (first on line {}), expected each once", t.ids.back(), seen->second));
    t.staggered &= (uint64_t(gx) + uint64_t(gy)) % 2 == 0;
    t.grid.push_back(nx >= 0 ? coordinate(table, size_t(nx), options) : double(gx));
    t.grid.push_back(ny >= 0 ? coordinate(table, size_t(ny), options) : double(gy));
    t.pixel.push_back(coordinate(table, px, options));
    t.pixel.push_back(coordinate(table, py, options));
    int64_t selected = chosen >= 0 ? table.integer(size_t(chosen)) : 1;
    if (selected != 0 && selected != 1) table.refuse(size_t(chosen), fmt::format("'{}', expected 0 or 1", selected));
    t.selected.push_back(selected == 1);
  }
  if (t.ids.empty()) fail(Exit::data, "{}: line {}: no spots, expected rows after the header", name, table.line());
  if (t.ids.size() < 4) t.staggered = false;  // too few to tell
  return t;
}

double pixels_per_unit(const SpotTable& spots) {
  double x = slope(spots.grid, spots.pixel, 0), y = slope(spots.grid, spots.pixel, 1);
  return x > 0 && y > 0 ? (x + y) / 2 : 0;
}

void read_legacy(Section& s, const DataOptions& options, std::vector<std::string>& warnings) {
  FileView counts_file(s.source.counts), spots_file(s.source.spots);
  SpotTable spots = read_spots(spots_file.text(), s.source.spots, options);
  Counts counts = read_counts(counts_file.text(), s.source.counts, options);
  find_mpp(s, spots, options);
  s.filed = totals_of(counts.values, int64_t(counts.genes.size()));

  auto row_of = index_of(spots.ids, [](size_t) {});
  std::vector<int64_t> rows, positions;  // of the counts table and of the spot table
  int64_t both = 0, unselected = 0, nonfinite = 0;
  for (size_t i = 0; i < counts.spots.size(); i++) {
    auto found = row_of.find(counts.spots[i]);
    if (found == row_of.end()) continue;
    both++;
    auto p = size_t(found->second);
    const float* values = counts.values.value.data();
    bool finite = std::isfinite(spots.pixel[2 * p]) && std::isfinite(spots.pixel[2 * p + 1]) &&
                  std::all_of(values + counts.values.first(int64_t(i)), values + counts.values.last(int64_t(i)),
                              [](float v) { return std::isfinite(v); });
    unselected += !spots.selected[p];
    nonfinite += spots.selected[p] && !finite;
    if (spots.selected[p] && finite) rows.push_back(int64_t(i)), positions.push_back(int64_t(p));
  }
  auto left = int64_t(counts.spots.size()), right = int64_t(spots.ids.size());
  std::string joined = fmt::format("{} spots only in the counts, {} only in the spot file, {} in both", left - both, right - both, both);
  if (2 * both < std::min(left, right)) fail(Exit::data, "{}: {}, expected at least half to match", s.source.counts, joined);
  if (rows.empty()) fail(Exit::data, "{}: no selected spot has counts ({}), expected at least one", s.source.spots, joined);
  s.leave_unmatched(left, right, both, joined, warnings);
  if (unselected > 0)
    warnings.push_back(fmt::format("{}: {} of {} spots are not selected as tissue and left out", s.sample(), unselected, both));
  if (nonfinite > 0) warnings.push_back(fmt::format("{}: {} spots with NaN or Inf are left out (--drop-nonfinite)", s.sample(), nonfinite));

  s.spots = std::move(counts.spots), s.genes = std::move(counts.genes), s.counts = std::move(counts.values);
  s.xy.assign(2 * s.spots.size(), 0);
  for (size_t i = 0; i < rows.size(); i++)
    for (size_t k = 0; k < 2; k++) s.xy[2 * size_t(rows[i]) + k] = spots.pixel[2 * size_t(positions[i]) + k];
  s.keep(rows);
}

}  // namespace stflow
