#include "model/buckets.h"

#include <algorithm>

namespace stflow {

std::vector<Bucket> cut_gradients(const Tape& tape, int64_t size, int count) {
  std::vector<Tape::Use> uses = tape.uses();
  std::stable_sort(uses.begin(), uses.end(), [](const auto& a, const auto& b) { return a.offset < b.offset; });
  std::vector<Bucket> buckets{{0, size, tape.size(), ""}};
  for (const Tape::Use& u : uses) {
    // A parameter that is read in several places comes several times.
    const bool border = u.offset > buckets.back().begin && u.offset * count >= size * int64_t(buckets.size());
    if (border) {
      buckets.back().end = u.offset;
      buckets.push_back({u.offset, size, tape.size(), ""});
    }
    buckets.back().first = std::min(buckets.back().first, u.first);
  }
  std::stable_sort(buckets.begin(), buckets.end(), [](const Bucket& a, const Bucket& b) { return a.first > b.first; });
  for (size_t i = 0; i < buckets.size(); i++) buckets[i].name = fmt::format("gradients {} of {}", i + 1, buckets.size());
  return buckets;
}

}  // namespace stflow
