// What this binary is.
#pragma once
#include <string>

namespace stflow {

/// Several lines: version, compiler and build flags, instruction sets built in and the one in use, libraries.
std::string version_text();

}  // namespace stflow
