// Matrices as text: MatrixMarket with features.tsv (or genes.tsv) and barcodes.tsv beside it, plain or gzip.
#pragma once
#include <string>
#include <string_view>

#include "data/spatial/assemble.h"

namespace stflow {

/// A sparse MatrixMarket file (coordinate, integer or real, general) of genes x spots, turned: a row of the result is a spot.
/// Throws Exit::data with the line for another size, a place or value that is none, and for more or fewer values than it says.
Matrix read_mtx(std::string_view bytes, const std::string& name, int64_t genes, int64_t spots);

/// A list without a header: features.tsv has id, name and kind, genes.tsv id and name, barcodes.tsv one column. The columns.
std::vector<std::vector<std::string>> read_list(std::string_view bytes, const std::string& name, size_t most_columns);

/// A folder with matrix.mtx[.gz], features.tsv[.gz] or genes.tsv[.gz], and barcodes.tsv[.gz]. Throws Exit::missing, Exit::data.
FoundCounts read_mex(const std::string& folder);

}  // namespace stflow
