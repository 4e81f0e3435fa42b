// The part of NCCL that stflow calls, looked up in libnccl at run time: no build needs the library, one program runs with and without it
// and with the version that belongs to the machine's driver and network. Signatures as in nccl.h since 2.14 (non-blocking communicators);
// a newer library accepts the older, shorter configuration by its size and version.
#pragma once
#include <cstddef>
#include <string>

namespace stflow {

struct NcclComm;  // opaque

struct NcclId {
  char bytes[128];
};

struct NcclConfig {
  size_t size = sizeof(NcclConfig);
  unsigned magic = 0xcafebeef;
  unsigned version = 21400;
  int blocking = 0;
};

/// What the calls return; the others are errors by name.
inline constexpr int kNcclSuccess = 0, kNcclInProgress = 7;
inline constexpr int kNcclSum = 0, kNcclInt = 2, kNcclFloat = 7, kNcclDouble = 8;

struct NcclApi {
  int (*get_version)(int*);
  int (*get_unique_id)(NcclId*);
  int (*init_rank)(NcclComm**, int size, NcclId, int rank, NcclConfig*);
  int (*get_async_error)(NcclComm*, int*);
  int (*all_gather)(const void*, void*, size_t count, int type, NcclComm*, void* stream);
  int (*all_reduce)(const void*, void*, size_t count, int type, int op, NcclComm*, void* stream);
  int (*broadcast)(const void*, void*, size_t count, int type, int root, NcclComm*, void* stream);
  int (*finalize)(NcclComm*);
  int (*destroy)(NcclComm*);
  int (*abort)(NcclComm*);
  const char* (*error_string)(int);

  /// "2.28.9".
  [[nodiscard]] std::string version() const;
};

/// libnccl.so.2, or the file that STFLOW_NCCL names; loaded once. Throws Exit::device when there is none or it lacks a function.
const NcclApi& nccl();

}  // namespace stflow
