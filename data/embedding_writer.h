// Features out, in the layouts that HEST-bench, STFlow and STPath, and TRIDENT and CLAM read (HDF5).
#pragma once
#include <string>
#include <vector>

#include "data/hdf5_write.h"
#include "data/section.h"

namespace stflow {

enum class EmbeddingLayout : uint8_t { hest, trident };

/// What a file says beside the features themselves.
struct EmbeddingHeader {
  std::string sample;
  std::vector<std::string> names;  // barcodes, N
  std::vector<double> xy;          // (N, 2) as the file is to have them; empty: none are known
  int64_t dim = 0;
  Origin origin;
  // For TRIDENT; 0: unknown.
  int64_t patch = 0;              // pixels of a patch as it is cut
  double side = 0;                // of a patch, in pixels of the full-resolution image
  double mpp = 0;                 // of that image
  int64_t width = 0, height = 0;  // of that image
};

/// hest: embeddings (N, dim) float32, coords (N, 2) (int64 where all are whole), barcodes (N, 1) UTF-8; all may grow.
/// trident: features (N, dim) float32 and coords (N, 2) int64, upper left corners, with TRIDENT's attributes; barcodes (N, 1) beside them.
/// The origin is an attribute of the root (kFeatureOrigin) in both. The file is there once commit() has been called, whole.
class EmbeddingWriter {
 public:
  /// Throws Exit::create or Exit::io; Exit::usage for the TRIDENT layout without coordinates.
  EmbeddingWriter(const std::string& path, EmbeddingLayout layout, const EmbeddingHeader& header);
  /// The features of one row, each row once, in any order.
  void put(int64_t row, const float* features) { file_.rows(data_, row, 1, features); }
  void commit() { file_.commit(); }

 private:
  Hdf5Writer file_;
  const char* data_;
};

}  // namespace stflow
