// One operation of cuDNN's graph API, cudnnBackend...() in C: scaled dot-product attention, for inference. ViT-L/16, batch 32 (197 tokens,
// 16 heads of 64), on an H100: qkv read and out written, 52 MB, 17 us at 3.0 TB/s; 5.1 GFLOP, 6 us at 800 TFLOP/s.
#include "ops/cuda/cudnn_attention.h"

#ifdef __CUDACC__
#include <dlfcn.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <set>
#include <type_traits>
#include <utility>
#include <vector>

#include "engine/cuda/cuda.h"
#include "engine/storage.h"

#if __has_include(<cudnn_graph.h>)
#include <cudnn_graph.h>
#include <cudnn_version.h>
#endif

namespace stflow {
namespace {

// Words of cudnn_graph.h, whose values its binary interface fixes; compared with the header where the build finds one.
constexpr int kFloat = 0, kBfloat16 = 9, kModeA = 3;
constexpr int kIsHandle = 0, kIsDataType = 1, kIsBoolean = 2, kIsInt64 = 3, kIsPointer = 6, kIsMode = 8, kIsDescriptor = 15;
constexpr int kEngine = 3, kHeuristic = 4, kPlan = 5, kGraph = 15, kPack = 16, kTensor = 17;
constexpr int kHeuristicMode = 200, kHeuristicGraph = 201, kHeuristicResults = 202, kPlanEngine = 401, kPlanWorkspace = 402,
              kGraphOperations = 801;
constexpr int kTensorAlignment = 900, kTensorType = 901, kTensorSizes = 902, kTensorStrides = 903, kTensorId = 906, kTensorByValue = 908;
constexpr int kPackIds = 1000, kPackPointers = 1001, kPackWorkspace = 1003;
constexpr int kGraphHandle = 800;  // CUDNN_ATTR_OPERATIONGRAPH_HANDLE, which headers since 9.8 call deprecated
constexpr int kAttention = 41;     // CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR, since 9.13.1, like its attributes
constexpr int kAttentionQ = 2800, kAttentionK = 2801, kAttentionV = 2802, kAttentionOut = 2803, kAttentionScale = 2805;
constexpr size_t kOldest = 91301;
#if __has_include(<cudnn_graph.h>)
static_assert(kFloat == CUDNN_DATA_FLOAT && kBfloat16 == CUDNN_DATA_BFLOAT16 && kModeA == CUDNN_HEUR_MODE_A &&
              kIsHandle == CUDNN_TYPE_HANDLE && kIsDataType == CUDNN_TYPE_DATA_TYPE && kIsBoolean == CUDNN_TYPE_BOOLEAN &&
              kIsInt64 == CUDNN_TYPE_INT64 && kIsPointer == CUDNN_TYPE_VOID_PTR && kIsMode == CUDNN_TYPE_HEUR_MODE &&
              kIsDescriptor == CUDNN_TYPE_BACKEND_DESCRIPTOR && kEngine == CUDNN_BACKEND_ENGINECFG_DESCRIPTOR &&
              kHeuristic == CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR && kPlan == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR &&
              kGraph == CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR && kPack == CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR &&
              kTensor == CUDNN_BACKEND_TENSOR_DESCRIPTOR && kHeuristicMode == CUDNN_ATTR_ENGINEHEUR_MODE &&
              kHeuristicGraph == CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH && kHeuristicResults == CUDNN_ATTR_ENGINEHEUR_RESULTS &&
              kPlanEngine == CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG && kPlanWorkspace == CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE &&
              kGraphOperations == CUDNN_ATTR_OPERATIONGRAPH_OPS && kTensorAlignment == CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT &&
              kTensorType == CUDNN_ATTR_TENSOR_DATA_TYPE && kTensorSizes == CUDNN_ATTR_TENSOR_DIMENSIONS &&
              kTensorStrides == CUDNN_ATTR_TENSOR_STRIDES && kTensorId == CUDNN_ATTR_TENSOR_UNIQUE_ID &&
              kTensorByValue == CUDNN_ATTR_TENSOR_IS_BY_VALUE && kPackIds == CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS &&
              kPackPointers == CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS && kPackWorkspace == CUDNN_ATTR_VARIANT_PACK_WORKSPACE);
#if CUDNN_VERSION >= 91301
static_assert(kAttention == CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR && kAttentionQ == CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC &&
              kAttentionK == CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC && kAttentionV == CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC &&
              kAttentionOut == CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC && kAttentionScale == CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC);
#endif
#endif

struct Api {
  size_t (*version)();
  int (*create)(void** handle);
  int (*set_stream)(void* handle, void* stream);
  void (*last_error)(char* text, size_t most);
  int (*make)(int kind, void** descriptor);
  int (*destroy)(void* descriptor);
  int (*set)(void* descriptor, int name, int type, int64_t count, const void* values);
  int (*get)(void* descriptor, int name, int type, int64_t most, int64_t* count, void* values);
  int (*finalize)(void* descriptor);
  int (*execute)(void* handle, void* plan, void* pack);

  [[nodiscard]] std::string version_text() const {
    return fmt::format("{}.{}.{}", version() / 10000, version() / 100 % 100, version() % 100);
  }
};

[[noreturn]] void refuse(const std::string& why) { fail(Exit::device, "{}", why); }

std::string library_path() {
  const char* wish = std::getenv("STFLOW_CUDNN");
  return wish && *wish ? wish : "libcudnn.so.9";
}
bool is_off() { return library_path() == "off"; }

// Throws Error where there is no library that can do this.
const Api& cudnn() {
  static const Api api = [] {
    const std::string path = library_path();
    if (is_off()) refuse("STFLOW_CUDNN is off");
    void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);  // stays until the process ends
    if (!library) {
      const char* why = dlerror();
      refuse(why ? why : path + ": not loaded");
    }
    Api a{};
    const auto find = [&](const char* name, auto& function) {
      void* found = dlsym(library, name);
      if (!found) refuse(fmt::format("{}: no {}", path, name));
      function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(found);
    };
    find("cudnnGetVersion", a.version);
    if (a.version() < kOldest) refuse(fmt::format("{}: version {}, expected 9.13.1 or later", path, a.version_text()));
    find("cudnnCreate", a.create), find("cudnnSetStream", a.set_stream), find("cudnnGetLastErrorString", a.last_error);
    find("cudnnBackendCreateDescriptor", a.make), find("cudnnBackendDestroyDescriptor", a.destroy);
    find("cudnnBackendSetAttribute", a.set), find("cudnnBackendGetAttribute", a.get), find("cudnnBackendFinalize", a.finalize);
    find("cudnnBackendExecute", a.execute);
    return a;
  }();
  return api;
}

void cudnn_check(int status, const char* what) {
  if (status == 0) return;
  char why[256] = "";
  cudnn().last_error(why, sizeof why);
  refuse(fmt::format("cuDNN {}: {}: status {} {}", cudnn().version_text(), what, status, why));
}

class Descriptor {
 public:
  explicit Descriptor(int kind) { cudnn_check(cudnn().make(kind, &d_), "descriptor"); }
  Descriptor(Descriptor&& o) noexcept : d_(std::exchange(o.d_, nullptr)) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (d_) (void)cudnn().destroy(d_);
  }
  [[nodiscard]] void* get() const { return d_; }
  void set(int name, int type, int64_t count, const void* values) { cudnn_check(cudnn().set(d_, name, type, count, values), "attribute"); }
  void set(int name, const Descriptor& value) { set(name, kIsDescriptor, 1, &value.d_); }
  void finalize(const char* what) { cudnn_check(cudnn().finalize(d_), what); }

 private:
  void* d_ = nullptr;
};

enum Id : int64_t { kQ = 1, kK, kV, kOut, kScale };

Descriptor tensor(int64_t id, int type, const std::vector<int64_t>& sizes, const std::vector<int64_t>& strides, bool by_value = false) {
  const int64_t alignment = 16;
  Descriptor d(kTensor);
  d.set(kTensorType, kIsDataType, 1, &type);
  d.set(kTensorSizes, kIsInt64, int64_t(sizes.size()), sizes.data());
  d.set(kTensorStrides, kIsInt64, int64_t(strides.size()), strides.data());
  d.set(kTensorId, kIsInt64, 1, &id);
  d.set(kTensorAlignment, kIsInt64, 1, &alignment);
  if (by_value) d.set(kTensorByValue, kIsBoolean, 1, &by_value);
  d.finalize("tensor");
  return d;
}

using Key = std::array<int64_t, 4>;  // images, tokens, heads, numbers of a head
Key key_of(const Tensor& qkv, int heads) { return {qkv.shape[0], qkv.shape[1], heads, qkv.shape[2] / 3 / heads}; }

// Attention of one shape, compiled.
struct Plan {
  Descriptor plan;
  Storage workspace;
};

Plan plan_of(void* handle, const Key& key) {
  const auto [images, tokens, heads, n] = key;
  const int64_t d = heads * n;
  const std::vector<int64_t> sizes{images, heads, tokens, n}, in{tokens * 3 * d, n, 3 * d, 1}, out{tokens * d, n, d, 1};
  const int half = kBfloat16;
  const Descriptor q = tensor(kQ, half, sizes, in), k = tensor(kK, half, sizes, in), v = tensor(kV, half, sizes, in);
  const Descriptor o = tensor(kOut, half, sizes, out), scale = tensor(kScale, kFloat, {1}, {1}, true);
  Descriptor attention(kAttention), graph(kGraph), choice(kHeuristic);
  attention.set(kAttentionQ, q), attention.set(kAttentionK, k), attention.set(kAttentionV, v);
  attention.set(kAttentionOut, o), attention.set(kAttentionScale, scale);
  attention.finalize("attention");
  graph.set(kGraphOperations, attention);
  graph.set(kGraphHandle, kIsHandle, 1, &handle);
  graph.finalize("graph");
  const int mode = kModeA;
  choice.set(kHeuristicGraph, graph);
  choice.set(kHeuristicMode, kIsMode, 1, &mode);
  choice.finalize("heuristic");
  constexpr int64_t kMost = 8;
  std::vector<Descriptor> engines;
  std::vector<void*> pointers;
  for (int64_t i = 0; i < kMost; i++) pointers.push_back(engines.emplace_back(kEngine).get());
  int64_t found = 0;  // best first
  cudnn_check(cudnn().get(choice.get(), kHeuristicResults, kIsDescriptor, kMost, &found, pointers.data()), "engines");
  for (int64_t i = 0; i < min(found, kMost); i++) {
    Descriptor plan(kPlan);
    plan.set(kPlanEngine, engines[size_t(i)]);
    if (cudnn().finalize(plan.get()) != 0) continue;
    int64_t bytes = 0, count = 0;
    cudnn_check(cudnn().get(plan.get(), kPlanWorkspace, kIsInt64, 1, &count, &bytes), "workspace");
    return {std::move(plan), Storage(size_t(bytes), Device::cuda)};
  }
  refuse(fmt::format("cuDNN {}: no engine for {} images of {} tokens, {} heads of {}", cudnn().version_text(), images, tokens, heads, n));
}

// Throws Error where cuDNN cannot.
void run(Cuda on, const Tensor& qkv, int heads, const Tensor& out) {
  struct OfThread {
    void* handle = nullptr;
    std::map<Key, Plan> plans;
  };
  static thread_local std::map<int, OfThread*> devices;  // they live as long as the process: CUDA may be gone when a thread ends
  const Key key = key_of(qkv, heads);
  const int64_t d = qkv.shape[2] / 3, n = key[3];
  if (n % 8 != 0 || (reinterpret_cast<uintptr_t>(qkv.data) | reinterpret_cast<uintptr_t>(out.data)) % 16 != 0)
    refuse(fmt::format("heads of {} numbers, expected a multiple of 8, 16-byte aligned", n));
  int device = 0;
  cuda_check(cudaGetDevice(&device), "cudaGetDevice");
  OfThread*& mine = devices[device];
  if (!mine) mine = new OfThread;
  if (!mine->handle) cudnn_check(cudnn().create(&mine->handle), "handle");
  cudnn_check(cudnn().set_stream(mine->handle, stream_of(on)), "stream");
  auto at = mine->plans.find(key);
  if (at == mine->plans.end()) at = mine->plans.emplace(key, plan_of(mine->handle, key)).first;
  auto* q = qkv.as<Bfloat>();
  float scale = float(1 / std::sqrt(double(n)));
  const int64_t ids[] = {kQ, kK, kV, kOut, kScale};
  void *const pointers[] = {q, q + d, q + 2 * d, out.data, &scale}, *const workspace = at->second.workspace.data();
  Descriptor pack(kPack);
  pack.set(kPackIds, kIsInt64, 5, ids);
  pack.set(kPackPointers, kIsPointer, 5, pointers);
  pack.set(kPackWorkspace, kIsPointer, 1, &workspace);
  pack.finalize("pointers");
  cudnn_check(cudnn().execute(mine->handle, at->second.plan.get(), pack.get()), "attention");
}

}  // namespace

bool cudnn_attention(Cuda on, Tensor qkv, int heads, Tensor out) {
  static thread_local std::set<Key> refused;
  if (refused.contains(key_of(qkv, heads))) return false;
  try {
    run(on, qkv, heads, out);
    return true;
  } catch (const Error& e) {
    if (refused.empty() && !is_off())
      fmt::print(stderr, "stflow: warning: attention: {}, expected cuDNN; the own kernel computes, several times slower\n", e.what());
    refused.insert(key_of(qkv, heads));
    return false;
  }
}

std::string half_attention_by() {
  try {
    const Array qkv({1, 197, 3 * 1024}, DType::bf16, Device::cuda), out({1, 197, 1024}, DType::bf16, Device::cuda);
    run({}, qkv, 16, out);
    cuda_check(cudaDeviceSynchronize(), "attention");
    return "cuDNN " + cudnn().version_text();
  } catch (const Error& e) {
    return fmt::format("own kernel ({})", e.what());
  }
}

}  // namespace stflow
#else

namespace stflow {

bool cudnn_attention(Cuda, Tensor, int, Tensor) { return false; }
std::string half_attention_by() { return "own kernel (emulated)"; }

}  // namespace stflow
#endif
