#include "model/slide.h"

#include "model/geometry.h"

namespace stflow {

Slide Slide::part(const std::vector<int64_t>& rows) const {
  Slide p;
  p.name = name, p.dim = dim;
  const int64_t genes = size() ? int64_t(counts.size()) / size() : 0;
  for (int64_t r : rows) {
    p.spots.push_back(spots[size_t(r)]);
    p.xy.insert(p.xy.end(), xy.begin() + 2 * r, xy.begin() + 2 * r + 2);
    p.features.insert(p.features.end(), feature_row(r), feature_row(r) + dim);
    p.counts.insert(p.counts.end(), counts.begin() + r * genes, counts.begin() + (r + 1) * genes);
  }
  p.rank = canonical_rank(p.spots);
  return p;
}

std::vector<const Slide*> pointers(const std::vector<Slide>& slides) {
  std::vector<const Slide*> p;
  for (const Slide& s : slides) p.push_back(&s);
  return p;
}

}  // namespace stflow
