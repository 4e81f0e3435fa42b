// stflow inspect of spatial data: what sections a path holds, and why one of them cannot be read.
#pragma once
#include <string>

#include "data/options.h"
#include "tools/json_out.h"

namespace stflow {

/// Whether a path is meant to be spatial data: a manifest (.csv), an .h5ad file, a 10x HDF5 file with its spatial folder beside it, or a
/// folder that recognise() knows.
bool is_spatial(const std::string& path);

/// Layout, and for each section spots, genes, totals per spot, share of zeros, image, microns per pixel and what says them, what else its
/// files have, warnings, and "problem": why it cannot be read as `options` say.
JsonOut describe_spatial(const std::string& path, const DataOptions& options = {});

/// The same as lines of text.
std::string spatial_text(const JsonOut& description);

/// Prints it, as text or under --json.
void inspect_spatial(const std::string& path, const DataOptions& options);

}  // namespace stflow
