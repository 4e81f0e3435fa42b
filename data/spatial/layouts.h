// Folders of spatial data as they are published: Space Ranger's outputs, HEST-1k, HEST-bench, STImage-1K4M, folders of .h5ad files.
#pragma once
#include <string>

#include "data/manifest.h"

namespace stflow {

/// Recognises, in this order, and adds to `layout`; false if it is none of these:
///   Space Ranger:  see find_tenx(); or a folder of such folders
///   HEST-bench:    adata/<S>.h5ad, patches/<S>.h5, splits/
///   HEST-1k:       st/<S>.h5ad, wsis/<S>.tif, patches/<S>.h5, metadata/<S>.json (microns per pixel and patient)
///   STImage-1K4M:  coord/<S>_coord.csv, gene_exp/<S>_count.csv, image/<S>.png, in this folder or in ST/, Visium/, VisiumHD/
///   h5ad:          <S>.h5ad
bool find_spatial(const std::string& folder, Layout& layout);

}  // namespace stflow
