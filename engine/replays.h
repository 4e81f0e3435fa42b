// Work that a GPU is given again and again, with the same shapes at the same addresses. A training step of the default preset is 359
// launches, copies and fills (673 of the reference's), its sampling loop of four evaluations 303 (567): at 2 to 3 us each the host needs
// 0.7 to 1.1 ms and 0.6 to 0.9 ms to put them into the stream one by one, longer than the kernels of a small section run. In graphs a step
// is seven calls and the loop one, some 20 and 10 us. Reckoned, not measured.
#pragma once
#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "engine/cuda/graph.h"
#include "engine/device.h"

namespace stflow {

class Replays {
 public:
  /// All that decides what the work is: sizes, and the addresses that its kernels are given.
  using Key = std::array<uint64_t, 24>;
  explicit Replays(const Context& context) : context_(context) {}

  /// The first time of a key: prepare(), then work(), which puts work into the stream. The second time the same is recorded as a graph,
  /// from then on the graph is started, and neither is called. On a CPU, and with Context::graphs off, as the first time always. The graphs
  /// used least recently are dropped: one takes some megabytes of memory of the host and the device.
  template <class Prepare, class Work> void run(const char* name, const Key& key, Prepare prepare, Work work) {
    run(
        name, key, 1, prepare, [&](size_t) { work(); }, [](size_t) {});
  }
  /// The same in parts, a graph each: work(0), between(0), work(1) ... What between() does is never recorded.
  template <class Prepare, class Work, class Between>
  void run(const char* name, const Key& key, size_t parts, Prepare prepare, Work work, Between between) {
    const auto each = [&](auto part) {
      for (size_t i = 0; i < parts; i++) part(i), between(i);
    };
    if (context_.device != Device::cuda || !context_.graphs) return prepare(), each(work);
    Known& k = find(key);
    if (k.graphs.empty()) {
      prepare();
      if (!std::exchange(k.seen, true)) return each(work);
      std::vector<CudaGraph> recorded;
      for (size_t i = 0; i < parts; i++) recorded.emplace_back(name, context_.stream, [&] { work(i); });
      k.graphs = std::move(recorded);
    }
    each([&](size_t i) { k.graphs[i].replay(context_.stream); });
  }
  /// Graphs there are.
  [[nodiscard]] size_t size() const;

 private:
  struct Known {
    Key key{};
    bool seen = false;
    std::vector<CudaGraph> graphs;  // one a part
  };
  static constexpr size_t kMost = 128;
  Known& find(const Key& key);

  Context context_;
  std::vector<Known> known_;  // the last used in front
};

/// An address as part of a Replays::Key.
inline uint64_t address(const void* p) { return uint64_t(reinterpret_cast<uintptr_t>(p)); }

}  // namespace stflow
