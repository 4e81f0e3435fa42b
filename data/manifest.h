// Which sections there are: from a manifest, or from a folder in a layout that is recognised.
#pragma once
#include <string>
#include <vector>

#include "data/section.h"

namespace stflow {

/// Reads a manifest: CSV with the columns sample, image, counts, spots and optionally mpp, patient, split (train, val or test),
/// embeddings (an HDF5 file). Counts may be an .h5ad file or a folder of Space Ranger, which have the spots, and an image that serves where
/// none is named. Relative paths are relative to the manifest. Throws Exit::data with line and column; Exit::missing,
/// with the manifest's line, for a file that does not exist.
std::vector<Source> read_manifest(const std::string& path);

/// A recognised folder.
struct Layout {
  std::string name;                   // for the report
  std::vector<Source> sources;        // by sample name
  std::vector<std::string> warnings;  // sections that lack a file
};

/// Recognises, in this order:
///   manifest.csv
///   her2st:           ST-cnts/<S>.tsv[.gz], ST-spotfiles/<S>_selection.tsv, ST-imgs/*/<S>/*.{jpg,jpeg,png}
///   alignment tables: <S>.tsv[.gz], alignment_table_<S>.tsv, <S>.{jpg,jpeg,png}
///   the folders of data/spatial/layouts.h
/// Throws Exit::missing if the folder does not exist, Exit::data naming what was looked for if it is none of these.
Layout recognise(const std::string& folder);
/// Whether this file is a section by itself: an .h5ad file, or Space Ranger's feature_bc_matrix.h5 with its spatial folder beside it.
bool is_section_file(const std::string& path);
/// The layout of such a file.
Layout section_file(const std::string& path);

/// Whether a folder has anything that recognise() looks for first, so that it is meant to be one of these.
bool is_data_set(const std::string& folder);

}  // namespace stflow
