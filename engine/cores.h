// What this process may use of the machine's processors.
#pragma once

namespace stflow {

/// Cores that this process may use: its affinity mask.
int available_cores();

}  // namespace stflow
