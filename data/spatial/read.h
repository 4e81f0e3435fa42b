// The tables of a section, whatever format they have.
#pragma once
#include <string>
#include <vector>

#include "data/options.h"
#include "data/section.h"

namespace stflow {

/// Fills spots, xy, genes, gene_ids, counts and mpp of `section` from the files of its source, and the image where the tables bring one.
/// The format is told from the counts' file: an .h5ad file; a folder or file of 10x Genomics; a CSV table (STImage-1K4M and plain);
/// else a table of legacy ST. Adds what a user should know to `warnings`. Throws Exit::missing or Exit::data.
void read_tables(Section& section, const DataOptions& options, std::vector<std::string>& warnings);

}  // namespace stflow
