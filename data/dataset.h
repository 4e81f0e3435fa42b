// A data set: all sections, read and checked before any work.
#pragma once
#include <string>
#include <vector>

#include "data/manifest.h"
#include "data/options.h"
#include "data/section.h"

namespace stflow {

struct Dataset {
  std::string path, layout;
  std::vector<Section> sections;      // in the manifest's order, or by name
  std::vector<std::string> warnings;  // one line each
  std::vector<std::string> notes;     // what is worth a line and no warning

  [[nodiscard]] std::vector<const Section*> of(Split split) const;
  /// What was read, a line per section: spots, genes, image, microns per pixel and where they come from, split.
  [[nodiscard]] std::vector<std::string> describe() const;
};

/// The sections that a path holds: those of a manifest or a recognised folder (data/manifest.h), or the file itself.
Layout layout_of(const std::string& path);

/// Reads and checks one section, as open_dataset() does with each.
void read_section(Section& section, const DataOptions& options, std::vector<std::string>& warnings);

/// Opens a manifest file, an .h5ad file or a folder in a recognised layout (data/manifest.h), reads all tables, image headers and
/// precomputed features, and refuses what would spoil a training run. Where nothing says which sections are for testing, the last of
/// several is, and the description says so. Throws Exit::missing, Exit::data; Exit::usage for a sample in `options` that the data set
/// lacks.
Dataset open_dataset(const std::string& path, const DataOptions& options = {});

}  // namespace stflow
