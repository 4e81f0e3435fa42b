// The one place of the version number; CMakeLists.txt reads this line too.
#pragma once

namespace stflow {

inline constexpr char kVersion[] = "0.1.0";

}  // namespace stflow
