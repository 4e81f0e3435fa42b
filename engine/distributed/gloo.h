// Collectives of CPU ranks, by Gloo over TCP.
#pragma once
#include <memory>

#include "engine/distributed/communicator.h"

namespace stflow {

/// Connects all ranks with each other; `address` is this rank's, under which the others reach it. The store brings them together.
/// Throws Exit::peer naming who did not come within `init_timeout`. A collective waits `timeout` seconds for the others.
std::unique_ptr<Communicator> connect_gloo(int rank, int size, StoreClient& store, const std::string& address, double init_timeout,
                                           double timeout);

}  // namespace stflow
