#include "engine/distributed/nccl_api.h"

#include <dlfcn.h>

#include <cstdlib>

#include "engine/error.h"

namespace stflow {

std::string NcclApi::version() const {
  int v = 0;
  if (get_version(&v) != kNcclSuccess) return "unknown";
  return fmt::format("{}.{}.{}", v / 10000, v / 100 % 100, v % 100);
}

const NcclApi& nccl() {
  static const NcclApi api = [] {
    // Only algorithms that add in an order which the machines alone decide: no sums in the switches.
    (void)setenv("NCCL_ALGO", "Ring,Tree", 0);
    (void)setenv("NCCL_NVLS_ENABLE", "0", 0);
    const char* wish = std::getenv("STFLOW_NCCL");
    const std::string path = wish && *wish ? wish : "libnccl.so.2";
    void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);  // stays until the process ends
    if (!library) {
      const char* why = dlerror();
      fail(Exit::device, "NCCL: {}, expected the library; install it, name it in STFLOW_NCCL, or choose --device cpu",
           why ? why : "not loaded");
    }
    NcclApi a{};
    const auto find = [&](const char* name, auto& function) {
      void* found = dlsym(library, name);
      if (!found) fail(Exit::device, "NCCL: {}: no {}, expected version 2.14 or later", path, name);
      function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(found);
    };
    find("ncclGetVersion", a.get_version), find("ncclGetUniqueId", a.get_unique_id), find("ncclCommInitRankConfig", a.init_rank);
    find("ncclCommGetAsyncError", a.get_async_error), find("ncclAllGather", a.all_gather), find("ncclAllReduce", a.all_reduce);
    find("ncclBroadcast", a.broadcast), find("ncclCommFinalize", a.finalize), find("ncclCommDestroy", a.destroy);
    find("ncclCommAbort", a.abort), find("ncclGetErrorString", a.error_string);
    return a;
  }();
  return api;
}

}  // namespace stflow
