// Precomputed features in the HEST embedding layout (HDF5): embeddings (N, F), barcodes (N) or (N, 1), coords (N, 2). In the TRIDENT
// layout the features are called `features`; with `barcodes` beside them they are read, too.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "data/options.h"
#include "data/section.h"

namespace stflow {

/// The attribute of the root group by which a file says what made its features: a JSON object of texts.
constexpr const char* kFeatureOrigin = "stflow";

struct Embeddings {
  std::vector<std::string> barcodes;  // N
  int64_t dim = 0;
  std::vector<float> values;   // (N, dim)
  std::vector<double> coords;  // (N, 2); empty if the file has none
  Origin origin;               // empty if another program wrote the file
};

/// Reads the file in a child process with limits on memory and time, plug-ins off, links to other files and external or virtual
/// storage refused: libhdf5 crashes on hostile files, and such a crash becomes one error line. Throws Exit::missing or Exit::data.
Embeddings load_embeddings(const std::string& path);

/// Joins the features of `section.source.embeddings` to the section's spots by barcode; spots without features are left out and
/// counted in `warnings`. Throws Exit::data for duplicate barcodes, fewer than half matching, NaN or Inf (a row is named).
void read_embeddings(Section& section, const DataOptions& options, std::vector<std::string>& warnings);

}  // namespace stflow
