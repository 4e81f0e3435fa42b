// Collectives of GPU ranks, by NCCL over NVLink and InfiniBand.
#pragma once
#include <memory>

#include "engine/distributed/communicator.h"

namespace stflow {

/// Connects all ranks, each on the current GPU of its process; the id travels through the store. No wait is without an end: a rank that
/// the store says is lost, an error that NCCL finds on its network, or `timeout` seconds abort the communicator.
std::unique_ptr<Communicator> connect_nccl(int rank, int size, StoreClient& store, void* stream, double init_timeout, double timeout);

}  // namespace stflow
