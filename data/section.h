// A tissue section: its image, its spots and what was measured on them. Plain data: readers fill it, models read it.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "data/sparse_rows.h"

namespace stflow {

enum class Split : uint8_t { none, train, val, test };
inline const char* name_of(Split s) { return s == Split::train ? "train" : s == Split::val ? "val" : s == Split::test ? "test" : "none"; }

/// Where a section's files are, as a manifest row or a recognised folder says. Paths are ready to open; "" where there is none.
struct Source {
  std::string sample, image, counts, spots, embeddings, patient;
  double mpp = 0;  // microns per pixel of the image; 0: not stated
  Split split = Split::none;
  std::string mpp_from = "the manifest";  // what states mpp
  std::string patches{};                  // an HDF5 file with the spots' patches cut already; "" for none
};

/// What made features: "kind" (encoder or precomputed), the encoder's weights and settings. Two that are equal have the same features.
using Origin = std::map<std::string, std::string>;

struct Section {
  Source source;
  int64_t width = 0, height = 0;  // pixels of the image; 0: there is none
  double mpp = 0;                 // microns per pixel; 0: unknown
  std::string mpp_from;           // where mpp comes from, for the report
  double reduced = 1;  // pixels of this image per pixel that the section's files speak of: below 1 where there is only a small one

  std::vector<std::string> spots;     // barcodes, N, unique
  std::vector<double> xy;             // (N, 2) pixels of the image: column, row
  std::vector<std::string> genes;     // G, unique: symbols, or ids where a symbol is not unique or not known
  std::vector<std::string> gene_ids;  // G, unique; empty: the files have none
  SparseRows counts;                  // N rows, G columns: molecules per spot and gene; no rows: not measured
  Totals filed;                       // of the file of counts, before spots are left out
  int64_t feature_dim = 0;
  std::vector<float> features;  // (N, feature_dim): precomputed features; empty if there are none
  Origin origin;                // of precomputed features, if their file says it
  int64_t unmatched = 0;        // spots left out because one of the files lacks them
  std::string unmatched_where;  // how many in which, for the report
  int64_t poor = 0;             // spots left out because they have too few counts, if they are few

  [[nodiscard]] const std::string& sample() const { return source.sample; }
  [[nodiscard]] Split split() const { return source.split; }
  [[nodiscard]] int64_t size() const { return int64_t(spots.size()); }
  [[nodiscard]] float count(int64_t spot, int64_t gene) const { return counts.at(spot, gene); }

  /// Keeps the given spots, in the given order.
  void keep(const std::vector<int64_t>& rows);
  /// Notes that of two files with `left` and `right` spots only `both` are used, as `text` says. More than a twentieth of either file
  /// is a warning; fewer are usual in public data, and only counted.
  void leave_unmatched(int64_t left, int64_t right, int64_t both, const std::string& text, std::vector<std::string>& warnings);
};

}  // namespace stflow
