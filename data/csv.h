// Predictions out: one row per spot.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "data/section.h"

namespace stflow {

/// The text as one cell: quoted if it has a comma, quote or line break.
std::string csv_cell(const std::string& text);

/// Writes "spot,x,y,<genes...>", a row per spot, atomically. values: (N, G) row-major. Numbers are the shortest text that reads back
/// as the same float, whatever the locale. Names with a comma, quote or line break are quoted. Throws Exit::create or Exit::io.
void write_predictions(const std::string& path, const Section& section, std::span<const std::string> genes, std::span<const float> values);

}  // namespace stflow
