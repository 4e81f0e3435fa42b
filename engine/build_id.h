// Which program this is.
#pragma once
#include <string>

namespace stflow {

/// The linker's identity of this program (the hash of what it linked, in hex) and the size of its file. Where the linker left none, the
/// hash of the file. Programs with the same text are the same; that of a copy without debug symbols differs.
std::string build_id();

}  // namespace stflow
