#include "ops/slot_sum.h"

#include <doctest/doctest.h>

#include <cstring>

#include "engine/threads.h"
#include "tests/check.h"

using namespace stflow;

namespace {

constexpr int64_t kSize = 70001;

std::vector<float> slot(int i) {
  std::vector<float> v;
  for (double x : test::normal(kSize, uint64_t(900 + i))) v.push_back(float(x * (1 + i % 3 * 100)));
  return v;
}

/// The tree by its definition.
std::vector<float> node(const std::vector<std::vector<float>>& slots, int level, size_t i) {
  if (level == 0) return slots[i];
  auto left = node(slots, level - 1, 2 * i);
  if ((2 * i + 1) << (level - 1) >= slots.size()) return left;
  const auto right = node(slots, level - 1, 2 * i + 1);
  for (size_t e = 0; e < left.size(); e++) left[e] += right[e];
  return left;
}

}  // namespace

TEST_CASE("slot sum: one tree, whether slots come together, one by one, or from several ranks") {
  SlotSum sum(kSize, DType::f32);
  for (int count : {1, 2, 3, 5, 7, 8, 13, 16}) {
    CAPTURE(count);
    std::vector<std::vector<float>> slots;
    for (int i = 0; i < count; i++) slots.push_back(slot(i));
    int level = 0;
    while ((1 << level) < count) level++;
    const auto want = node(slots, level, 0);
    auto same = [&](const Tensor& t) { return std::memcmp(t.data, want.data(), kSize * 4) == 0; };

    for (int threads : {1, 2, 3}) {
      set_thread_count(threads);
      for (auto& s : slots) {
        const Tensor t = sum.next();
        for (int64_t e = 0; e < kSize; e++) REQUIRE(t.as<float>()[e] == 0);
        std::memcpy(t.data, s.data(), t.bytes());
        sum.add();
      }
      CHECK(same(sum.total()));
    }
    // In parts, the last slot being finished from its end.
    for (size_t i = 0; i < slots.size(); i++) {
      std::memcpy(sum.next().data, slots[i].data(), kSize * 4);
      if (i + 1 < slots.size()) sum.add();
    }
    for (const auto& [begin, end] : {std::pair{60000, 70001}, {17, 60000}, {0, 17}}) {
      const Tensor part = sum.part(begin, end);
      CHECK(std::memcmp(part.data, want.data() + begin, size_t(end - begin) * 4) == 0);
    }
    CHECK(same(sum.whole()));
    for (size_t own : {1u, 2u, 4u, 8u}) {  // slots per rank
      auto copy = slots;
      std::vector<Tensor> ranks;
      for (size_t first = 0; first < copy.size(); first += own) {
        std::vector<Tensor> mine;
        for (size_t i = first; i < std::min(first + own, copy.size()); i++) mine.push_back(view(copy[i].data(), {kSize}));
        add_tree(mine);
        ranks.push_back(mine[0]);
      }
      add_tree(ranks);
      CHECK(same(ranks[0]));
    }
  }
  set_thread_count(0);
  CHECK_THROWS_AS(sum.total(), Error);
}
