// What a user may choose about reading a data set. Every repair is a named option; nothing is repaired in silence.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace stflow {

/// What the values of a matrix are. `any` takes them as they are, where nobody looks at them.
enum class Values { counts, log1p, any };

/// What happens to a gene symbol that a table has twice.
enum class DuplicateGenes { refuse, sum, first, drop };

struct DataOptions {
  double mpp = 0;                             // --mpp: microns per pixel of all images; 0: from the manifest, else from the spot pitch
  double spot_pitch = 0;                      // --spot-pitch: microns between spot centres; 0: what the array type says, if it does
  std::string embeddings;                     // --embeddings: folder with <sample>.h5; "" for none
  std::vector<std::string> train, val, test;  // --train, --val, --test: samples; override the manifest's split
  int64_t min_counts = 0;                     // --min-counts: spots with fewer counts in all are left out
  std::string image;                          // --image: of the only section; "" for what its files say
  std::string layer;                          // --layer: of .h5ad files; "" for X
  Values values = Values::counts;             // --x-is
  bool barcode_strip = false;                 // --barcode-strip: "-1" at the end of barcodes is no part of them
  bool drop_nonfinite = false;                // --drop-nonfinite: spots with NaN or Inf are left out
  DuplicateGenes duplicate_genes = DuplicateGenes::refuse;  // --duplicate-genes
};

}  // namespace stflow
