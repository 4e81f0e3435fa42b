// The one place of the version number; CMakeLists.txt reads this line too.
#pragma once

namespace stflow {

inline constexpr char kVersion[] = "0.1.0";

/// What training computes from the same flags and data. Raise it with every change after which a run that continues from an earlier
/// checkpoint would not end with the bytes of an undisturbed one: other random streams or masks, another order of a sum, another kernel's
/// rounding, another law of items or learning rates. Checkpoints hold it, and one of another number is refused.
inline constexpr int kNumerics = 1;

}  // namespace stflow
