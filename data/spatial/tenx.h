// What Space Ranger writes: counts (HDF5 or text), positions, scale factors and reduced images, also of Visium HD.
#pragma once
#include <string>
#include <vector>

#include "data/options.h"
#include "data/section.h"
#include "data/spatial/assemble.h"

namespace stflow {

/// The matrix of a 10x HDF5 file: /matrix of Cell Ranger 3 and later, the only genome's group of earlier ones. In a child process.
FoundCounts read_tenx_h5(const std::string& path);

/// Space Ranger's outputs in this folder: filtered_feature_bc_matrix.h5 (or a name that ends so) or the folder of that name, and spatial/.
/// Of Visium HD a folder binned_outputs/square_*um, or the outputs around it: then the bins of 16 um, or the only ones. False if it is
/// none of these. Throws Exit::data for positions as Parquet only, saying how to convert them.
bool find_tenx(const std::string& folder, Source& source, std::vector<std::string>& warnings);

/// Fills a section: counts from `source.counts` (a file or folder), places from `source.spots` (a CSV, or feature_slice.h5), scale factors
/// and images from the spatial folder beside. Spots off the tissue are left out.
void read_tenx_section(Section& section, const DataOptions& options, std::vector<std::string>& warnings);

}  // namespace stflow
