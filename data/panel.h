// Which genes a model predicts.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "data/section.h"

namespace stflow {

/// What happens to a panel gene that a section was not measured for.
enum class MissingGenes { refuse, zero };  // --missing-genes

/// Gene names in the order of the model's outputs, unique.
struct Panel {
  std::vector<std::string> genes;
  std::string from;  // for the report
};

/// Where each of a section's genes stands, by its name and, where the section has ids, by its id.
std::map<std::string, int64_t> columns_of(const Section& section);

/// Reads a list of genes in the HEST layout: {"genes": ["ACTB", ...]}. Throws Exit::data for another layout or a gene listed twice.
Panel read_panel(const std::string& path);

/// The `count` genes whose log1p counts vary most over all spots of the given sections, among the genes that every section was
/// measured for and that are found in at least 10 % of the spots of every section; equal variances go by name. Listed
/// alphabetically. Throws Exit::data naming how many genes qualify if those are fewer.
Panel most_variable(const std::vector<const Section*>& sections, int64_t count);

/// The counts of the panel's genes: (N, G) row-major.
struct PanelCounts {
  std::vector<float> values;
  std::vector<bool> measured;  // G: false where a missing gene became zero; such genes are left out of scores
};

/// Picks the panel's columns by name or id. Missing genes: Exit::data with the first ten and their number (and a hint when a name differs
/// only in case or in a version suffix), or zeros where `missing` asks for them.
PanelCounts counts_of(const Section& section, const Panel& panel, MissingGenes missing = MissingGenes::refuse);

}  // namespace stflow
