// Patches that another program has cut (HDF5): HEST's and the older CLAM's files.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "data/image.h"

namespace stflow {

/// `img` or `imgs` (N, P, P, 3) bytes, `barcode`, `barcodes` (N) or (N, 1), `coords` (N, 2).
struct PatchFile {
  std::string path, dataset;
  int64_t count = 0, side = 0;     // N, P
  std::vector<std::string> names;  // barcodes; without them "<x>x<y>"; without coordinates "0", "1"...
  std::vector<double> coords;      // (N, 2) as the file has them: centres or upper left corners; empty if it has none
};

/// Reads everything but the pixels, in a child process. Throws Exit::missing or Exit::data.
PatchFile open_patch_file(const std::string& path);

/// Patches [first, first + count), in a child process.
std::vector<Image> read_patches(const PatchFile& file, int64_t first, int64_t count);

}  // namespace stflow
