// "Did you mean": the valid name that is closest to a mistyped one.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace stflow {

/// The name with the fewest insertions, deletions, substitutions and swaps of neighbours from `found` (the first of
/// equals); empty when `names` is.
std::string nearest(std::string_view found, const std::vector<std::string>& names);

}  // namespace stflow
