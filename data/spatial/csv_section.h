// Sections as CSV tables: STImage-1K4M's, and plain ones of spots and counts.
#pragma once
#include <string>
#include <vector>

#include "data/options.h"
#include "data/section.h"

namespace stflow {

/// Fills a section: counts from a CSV with a row per spot and a gene per column, places from data/spatial/positions.h's tables. Spots that
/// are called "..._10x13" (column and row of a legacy array) tell the scale by their pitch of 200 um, or what --spot-pitch says.
void read_csv_section(Section& section, const DataOptions& options, std::vector<std::string>& warnings);

}  // namespace stflow
