// Where the flow starts: the prior over expression (STFLOW.md 6).
#pragma once
#include <string>
#include <vector>

#include "engine/storage.h"
#include "model/scaling.h"
#include "ops/zinb.h"

namespace stflow {

enum class PriorKind { zinb, zinb_fixed, nb_moments, gaussian, zero };

/// A distribution of counts per gene (or of log values), in the units that the backbone works in.
struct Prior {
  PriorKind kind = PriorKind::zinb;
  std::vector<Zinb> genes;  // G entries, or one for all; empty for gaussian and zero

  /// y (n, G) f32 or f64: draws for a slide whose spots have the given canonical ranks. Counts become log(1 + count) and
  /// then what `targets` makes of them; gaussian is N(0, 1) as it stands; zero is zero counts.
  void sample(const Tensor& rank, const RandomKey& key, const Standardizer& targets, const Tensor& y) const;
};

/// A prior and the targets' scale where a context's device reads them.
class PriorSampler {
 public:
  PriorSampler(const Prior& prior, const Standardizer& targets, const Context& context);
  /// As Prior::sample(), with rank and y in the memory of the device, where y is f32. There the key may be at the place `now` of its
  /// memory.
  void sample(const Tensor& rank, const RandomKey& key, const Tensor& y, const KeyPlace* now = nullptr) const;

 private:
  PriorKind kind_;
  Context context_;
  Array genes_, mean_, sd_;
};

/// "zinb" (per gene, maximum likelihood with depth), "zinb:fixed" (the reference's theta 1, logits 0.1, zi_logits 0 for
/// every gene), "nb:moments", "gaussian", "zero". Throws Exit::usage for anything else.
PriorKind prior_kind(const std::string& name);
const char* name_of(PriorKind);

/// Estimates the prior from the counts (n, G) of training spots.
Prior fit_prior(PriorKind kind, const std::vector<float>& counts, int64_t genes);

}  // namespace stflow
