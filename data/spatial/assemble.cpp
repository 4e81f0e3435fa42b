#include "data/spatial/assemble.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>
#include <utility>

#include "engine/error.h"
#include "engine/text.h"

namespace stflow {
namespace {

using Index = std::unordered_map<std::string, int64_t>;

Index index_of(const std::vector<std::string>& names, const std::string& path, const char* what) {
  Index index;
  for (size_t i = 0; i < names.size(); i++)
    if (!index.emplace(names[i], int64_t(i)).second)
      fail(Exit::data, "{}: {} {} in row {} a second time, expected each once", path, what, shown(names[i]), i);
  return index;
}

/// Only genes stay: 10x files may have antibodies and guides among their features.
void keep_genes(FoundCounts& f, std::vector<std::string>& warnings, const std::string& sample) {
  const std::string gene = "Gene Expression";
  const auto others = std::count_if(f.kind.begin(), f.kind.end(), [&](const std::string& k) { return k != gene; });
  if (others == 0) return;
  if (others == int64_t(f.kind.size())) return;  // another program's words
  std::vector<int64_t> to(f.kind.size(), -1);
  std::vector<std::string> symbols, ids;
  int64_t kept = 0;
  for (size_t g = 0; g < to.size(); g++) {
    if (f.kind[g] != gene) continue;
    to[g] = kept++;
    if (!f.symbols.empty()) symbols.push_back(f.symbols[g]);
    if (!f.ids.empty()) ids.push_back(f.ids[g]);
  }
  f.matrix.rows = f.matrix.rows.renamed(to), f.matrix.columns = kept;
  f.symbols = std::move(symbols), f.ids = std::move(ids);
  warnings.push_back(fmt::format("{}: {} features are no genes and left out", sample, others));
}

/// Names of genes, each once. Returns for each column of the matrix the gene it adds to, or -1.
std::vector<int64_t> name_genes(Section& s, const FoundCounts& f, DuplicateGenes policy, std::vector<std::string>& warnings) {
  const std::vector<std::string>& symbols = f.symbols.empty() ? f.ids : f.symbols;
  if (!f.ids.empty()) index_of(f.ids, f.path, "gene id");
  std::unordered_map<std::string, std::vector<size_t>> places;
  for (size_t g = 0; g < symbols.size(); g++) {
    if (symbols[g].empty() && f.ids.empty()) fail(Exit::data, "{}: gene {} has no name, expected one", f.path, g);
    places[symbols[g]].push_back(g);
  }
  std::vector<std::string> twice;
  for (const auto& [name, where] : places)
    if (where.size() > 1 && !name.empty()) twice.push_back(name);
  std::sort(twice.begin(), twice.end());
  const bool by_id = !f.ids.empty() && policy == DuplicateGenes::refuse;
  if (!twice.empty() && policy == DuplicateGenes::refuse && !by_id)
    fail(Exit::data, "{}: {} genes more than once ({}), expected each once; --duplicate-genes sum, first or drop decides", f.path,
         twice.size(), listed(twice));
  if (!twice.empty() && by_id)
    warnings.push_back(
        fmt::format("{}: {} symbols stand for several genes ({}), which are called by their ids; --duplicate-genes changes that",
                    s.sample(), twice.size(), listed(twice, 3)));
  std::vector<int64_t> to(symbols.size(), -1);
  for (size_t g = 0; g < symbols.size(); g++) {
    const std::vector<size_t>& same = places[symbols[g]];
    const bool repeated = same.size() > 1 && !symbols[g].empty();
    if (repeated && !by_id && (policy == DuplicateGenes::drop || same[0] != g)) {
      if (policy == DuplicateGenes::sum) to[g] = to[same[0]];
      continue;
    }
    to[g] = int64_t(s.genes.size());
    const std::string id = f.ids.empty() ? "" : f.ids[g];
    s.genes.push_back(symbols[g].empty() || (repeated && by_id) ? id : symbols[g]);
    if (!f.ids.empty()) s.gene_ids.push_back(id);
  }
  index_of(s.genes, f.path, "gene");  // an id may be another gene's symbol
  return to;
}

/// The first value that is no count; by `values` turned into counts, or refused.
void check_values(FoundCounts& f, const DataOptions& options) {
  for (int64_t n = 0; n < f.matrix.rows.rows(); n++)
    for (auto i = size_t(f.matrix.rows.first(n)); i < size_t(f.matrix.rows.last(n)); i++) {
      float& x = f.matrix.rows.value[i];
      auto refuse = [&](const std::string& expected) {
        fail(Exit::data, "{}: '{}': {} in row {} (spot {}), expected {}", f.path, f.name, x, n, shown(f.spots[size_t(n)]), expected);
      };
      if (!std::isfinite(x)) {
        if (!options.drop_nonfinite) refuse("a finite value; --drop-nonfinite leaves such spots out");
        continue;
      }
      if (options.values == Values::counts && (x < 0 || x != std::floor(x) || x > 1e9f))
        refuse(fmt::format("raw counts{}; --x-is log1p takes the values as log(1 + count)", f.instead));
      if (options.values != Values::log1p) continue;
      if (x < 0 || x > 20) refuse("log(1 + count): 0 to 20");
      x = std::expm1(x);
    }
}

}  // namespace

void strip_barcodes(std::vector<std::string>& barcodes, const DataOptions& options, const std::string& path) {
  if (!options.barcode_strip) return;
  for (std::string& b : barcodes) {
    const size_t dash = b.rfind('-');
    if (dash != std::string::npos && dash > 0 && dash + 1 < b.size() && b.find_first_not_of("0123456789", dash + 1) == std::string::npos)
      b.resize(dash);
  }
  index_of(barcodes, path, "--barcode-strip: barcode");
}

void set_counts(Section& s, FoundCounts f, const DataOptions& options, std::vector<std::string>& warnings) {
  strip_barcodes(f.spots, options, f.path);
  index_of(f.spots, f.path, "barcode");
  if (f.spots.empty() || f.matrix.columns == 0)
    fail(Exit::data, "{}: {} spots, {} genes, expected at least one of each", f.path, f.spots.size(), f.matrix.columns);
  if (f.matrix.twice > 0)
    warnings.push_back(
        fmt::format("{}: '{}' has several values in {} of its places, which are added up", s.sample(), f.name, f.matrix.twice));
  check_values(f, options);
  keep_genes(f, warnings, s.sample());
  const std::vector<int64_t> to = name_genes(s, f, options.duplicate_genes, warnings);
  bool same = true;
  for (size_t g = 0; g < to.size(); g++) same &= to[g] == int64_t(g);
  s.counts = same ? std::move(f.matrix.rows) : f.matrix.rows.renamed(to);
  s.spots = std::move(f.spots);
  s.filed = totals_of(s.counts, int64_t(s.genes.size()));
}

void set_places(Section& s, const FoundPlaces& places, const DataOptions& options, std::vector<std::string>& warnings) {
  const Index index = index_of(places.spots, places.path, "barcode");
  std::vector<int64_t> rows;
  int64_t both = 0, off = 0, nonfinite = 0;
  s.xy.assign(2 * s.spots.size(), 0);
  for (size_t n = 0; n < s.spots.size(); n++) {
    const auto it = index.find(s.spots[n]);
    if (it == index.end()) continue;
    both++;
    const auto p = size_t(it->second);
    if (!places.in_tissue.empty() && !places.in_tissue[p]) {
      off++;
      continue;
    }
    const float* values = s.counts.value.data();
    const bool place = std::isfinite(places.xy[2 * p]) && std::isfinite(places.xy[2 * p + 1]);
    if (!place && !options.drop_nonfinite)
      fail(Exit::data, "{}: spot {} is at {}, {}, expected a finite place; --drop-nonfinite leaves such spots out", places.path,
           shown(s.spots[n]), places.xy[2 * p], places.xy[2 * p + 1]);
    if (!place ||
        !std::all_of(values + s.counts.first(int64_t(n)), values + s.counts.last(int64_t(n)), [](float v) { return std::isfinite(v); })) {
      nonfinite++;
      continue;
    }
    s.xy[2 * n] = places.xy[2 * p], s.xy[2 * n + 1] = places.xy[2 * p + 1];
    rows.push_back(int64_t(n));
  }
  const auto left = s.size(), right = int64_t(places.spots.size());
  const std::string joined =
      fmt::format("{} spots only in the counts, {} only in the positions, {} in both", left - both, right - both, both);
  if (2 * both < std::min(left, right))
    fail(Exit::data, "{}: {}, expected at least half to match{}", places.path, joined,
         options.barcode_strip ? "" : "; --barcode-strip joins barcodes that differ in '-1' at the end");
  if (rows.empty()) fail(Exit::data, "{}: no spot on tissue has counts ({}), expected at least one", places.path, joined);
  // A positions file lists the whole array: only counts without a place are worth a word.
  s.leave_unmatched(left, both, both, joined, warnings);
  if (off > 0) warnings.push_back(fmt::format("{}: {} of {} spots are not in tissue and left out", s.sample(), off, both));
  if (nonfinite > 0) warnings.push_back(fmt::format("{}: {} spots with NaN or Inf are left out (--drop-nonfinite)", s.sample(), nonfinite));
  if (rows.size() != s.spots.size()) s.keep(rows);
}

std::vector<Scale> pitch_scale(const FoundPlaces& places, double bin) {
  const size_t n = places.grid.size() / 2;
  if (n < 4) return {};
  const Pitch pitch = array_pitch(places.grid, places.xy);
  if (!(pitch.column > 0 && pitch.row > 0)) return {};
  if (bin > 0) {
    const double pixels = (pitch.column + pitch.row) / 2;
    return {{bin / pixels, fmt::format("bins of {} um that are {:.3g} pixels wide", shortest(bin), pixels)}};
  }
  bool staggered = true, all_even = true;
  for (size_t i = 0; i < n; i++) {
    if (std::fabs(places.grid[2 * i]) > 1e6 || std::fabs(places.grid[2 * i + 1]) > 1e6) return {};
    const auto c = std::llround(places.grid[2 * i]), r = std::llround(places.grid[2 * i + 1]);
    staggered &= (c + r) % 2 == 0;
    all_even &= c % 2 == 0 && r % 2 == 0;
  }
  if (!staggered || all_even) return {};
  // Neighbours stand two columns apart, or one column and one row of sqrt(3)/2 of that.
  const double pixels = (2 * pitch.column + 2 / std::sqrt(3.0) * pitch.row) / 2;
  return {{100 / pixels, fmt::format("100 um between Visium's spots that are {:.1f} pixels apart", pixels)}};
}

bool read_bin(const std::string& barcode, Bin& bin) {
  // s_016um_00052_00082-1
  const size_t um = barcode.find("um_"), second = um == std::string::npos ? um : barcode.find('_', um + 3);
  if (!barcode.starts_with("s_") || second == std::string::npos) return false;
  const auto size = parse_integer(std::string_view(barcode).substr(2, um - 2));
  const auto row = parse_integer(std::string_view(barcode).substr(um + 3, second - um - 3));
  const auto column = parse_integer(std::string_view(barcode).substr(second + 1, std::min(barcode.find('-'), barcode.size()) - second - 1));
  if (!size || !row || !column || *size < 1 || *row < 0 || *column < 0) return false;
  bin = {*row, *column, double(*size)};
  return true;
}

bool are_ids(const std::vector<std::string>& names) {
  const auto ids = std::count_if(names.begin(), names.end(), [](const std::string& n) { return n.size() > 10 && n.starts_with("ENS"); });
  return !names.empty() && ids * 10 >= int64_t(names.size()) * 9;
}

void use_reduced_image(Section& s, double scale, const std::string& what, std::vector<std::string>& warnings) {
  if (!(scale > 0 && scale <= 1.0001)) fail(Exit::data, "{}: scale {} of {}, expected 0 to 1", s.source.counts, shortest(scale), what);
  s.reduced = scale;
  for (double& v : s.xy) v *= scale;
  if (scale < 0.999)
    warnings.push_back(
        fmt::format("{}: only {} is there, {:.4g} of the full resolution: features of it see little; --image or a manifest "
                    "names the full image",
                    s.sample(), what, scale));
}

}  // namespace stflow
