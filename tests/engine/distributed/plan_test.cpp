// Who does what, and that the tree over slots has the same bits whoever adds up which part of it.
#include "engine/distributed/plan.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "ops/slot_sum.h"
#include "tests/check.h"

using namespace stflow;

TEST_CASE("plan: every slot belongs to one rank, in order, as equal as can be; ranks beyond the slots have none") {
  for (int slots : {1, 2, 3, 5, 8, 13, 64})
    for (int size : {1, 2, 3, 4, 7, 8, 100}) {
      int next = 0, most = 0, least = slots;
      for (int r = 0; r < size; r++) {
        const SlotRange own = slots_of(slots, r, size);
        CHECK(own.begin == next);
        next = own.end;
        most = std::max(most, own.end - own.begin), least = std::min(least, own.end - own.begin);
      }
      CHECK(next == slots);
      CHECK(most - least <= 1);
    }
}

TEST_CASE("plan: the nodes of all ranks add up to the bits of one rank, for any number of slots and ranks") {
  constexpr int64_t kSize = 257;
  for (int slots : {1, 2, 3, 4, 5, 6, 7, 8, 11, 13, 16, 17}) {
    std::vector<std::vector<float>> values;
    for (int i = 0; i < slots; i++) {
      values.emplace_back();
      for (double x : test::normal(kSize, uint64_t(70 + i))) values.back().push_back(float(x * (1 + i % 3 * 100)));
    }
    const auto sum_of = [&](int begin, int end) {
      SlotSum sum(kSize, DType::f32);
      for (int i = begin; i < end; i++) {
        std::memcpy(sum.next().data, values[size_t(i)].data(), kSize * 4);
        sum.add();
      }
      const float* total = sum.total().as<float>();
      return std::vector<float>(total, total + kSize);
    };
    const std::vector<float> want = sum_of(0, slots);
    bool other_orders_differ = false;
    for (int size = 1; size <= 20; size++) {
      std::vector<std::vector<float>> parts;
      std::vector<int> levels;
      std::vector<float> by_rank(kSize, 0);
      for (int r = 0; r < size; r++) {
        const SlotRange own = slots_of(slots, r, size);
        const std::vector<TreeNode> nodes = nodes_of(own, slots);
        CHECK(double(nodes.size()) <= 2 * std::log2(slots) + 1);
        int next = own.begin;
        for (const TreeNode& n : nodes) {
          CHECK(n.first == next);
          next = std::min(n.first + (1 << n.level), own.end);
          parts.push_back(sum_of(n.first, next));
          levels.push_back(n.level);
        }
        CHECK(next == own.end);
        if (own.begin == own.end) continue;
        const std::vector<float> own_sum = sum_of(own.begin, own.end);
        for (size_t e = 0; e < by_rank.size(); e++) by_rank[e] += own_sum[e];
      }
      std::vector<Tensor> tensors;
      for (auto& p : parts) tensors.push_back(view(p.data(), {kSize}));
      CHECK(std::memcmp(add_nodes(tensors, levels).data, want.data(), kSize * 4) == 0);
      other_orders_differ = other_orders_differ || by_rank != want;
    }
    if (slots > 4) CHECK(other_orders_differ);  // guards the test: the order of a sum does show
  }
}

TEST_CASE("plan: shares give the largest to the one with least, all by sizes alone") {
  const std::vector<int64_t> sizes{5, 100, 40, 60, 1};
  CHECK(shares_of(sizes, 1) == std::vector<int>{0, 0, 0, 0, 0});
  CHECK(shares_of(sizes, 2) == std::vector<int>{0, 0, 1, 1, 1});
  CHECK(shares_of(sizes, 8) == std::vector<int>{3, 0, 2, 1, 4});
  CHECK(shares_of({}, 3).empty());
}
