// AnnData files (.h5ad), in every encoding since 2018: https://anndata.readthedocs.io/en/latest/fileformat-prose.html
#pragma once
#include <map>
#include <string>
#include <vector>

#include "data/image.h"
#include "data/options.h"
#include "data/section.h"
#include "data/spatial/frame.h"
#include "data/spatial/matrix.h"

namespace stflow {

/// What of a file is wanted.
struct H5adOptions {
  std::string layer;                  // "": X; "raw": raw/X with raw/var; else a name in layers
  bool matrix = true;                 // false: names, places and columns only
  std::vector<std::string> obs, var;  // columns wanted, where the file has them
};

/// An entry of uns/spatial.
struct SpatialLibrary {
  std::string id;
  std::map<std::string, double> scalefactors;
  std::map<std::string, std::pair<int64_t, int64_t>> images;  // width and height by name

  /// The most detailed image: hires, downscaled_fullres (HEST), lowres, or the only one; "" if there is none.
  [[nodiscard]] std::string best_image() const;
  /// Pixels of that image per pixel of obsm/spatial (tissue_<image>_scalef); 0 if the file does not say.
  [[nodiscard]] double scale_of(const std::string& image) const;
};

struct H5ad {
  std::vector<std::string> barcodes, genes;  // N and G: the indices of obs and var as they are
  std::map<std::string, Column> obs, var;    // the wanted columns
  std::vector<double> spatial;               // (N, 2) obsm/spatial: column, row; empty if the file has none
  std::vector<SpatialLibrary> libraries;
  Matrix matrix;            // (N, G)
  std::string matrix_name;  // "X", "layers/counts"
};

/// Reads the file in a child process with limits (data/hdf5_file.h). Throws Exit::missing; Exit::data for an encoding that is not known, a
/// damaged or contradictory file, a layer that it lacks.
H5ad read_h5ad(const std::string& path, const H5adOptions& options = {});

/// A matrix of the file as floats, row-major: "X", "raw/X", "layers/NAME", "obsm/NAME", dense or sparse. In a child process.
struct FloatMatrix {
  int64_t rows = 0, columns = 0;
  std::vector<float> values;
};
FloatMatrix read_h5ad_matrix(const std::string& path, const std::string& name);
/// The matrices that read_h5ad_matrix() takes, by name, and the columns of obs and var ("obs/NAME", "var/NAME").
std::vector<std::string> h5ad_names(const std::string& path);

/// The most detailed image of the first library that has one. Floats from 0 to 1 become bytes. In a child process.
Image read_h5ad_image(const std::string& path);

/// Fills a section from the .h5ad file that its source names as counts (and spots): barcodes, coordinates, genes, counts, and microns per
/// pixel where the array's pitch says them. Without an image of its own it has the file's, with coordinates and scale of that.
void read_h5ad_section(Section& section, const DataOptions& options, std::vector<std::string>& warnings);

}  // namespace stflow
