#include "model/prior.h"

#include "ops/gaussian.h"

namespace stflow {

PriorKind prior_kind(const std::string& name) {
  for (PriorKind k : {PriorKind::zinb, PriorKind::zinb_fixed, PriorKind::nb_moments, PriorKind::gaussian, PriorKind::zero})
    if (name == name_of(k)) return k;
  fail(Exit::usage, "--prior: found '{}', expected zinb, zinb:fixed, nb:moments, gaussian or zero", name);
}

const char* name_of(PriorKind k) {
  switch (k) {
    case PriorKind::zinb: return "zinb";
    case PriorKind::zinb_fixed: return "zinb:fixed";
    case PriorKind::nb_moments: return "nb:moments";
    case PriorKind::gaussian: return "gaussian";
    case PriorKind::zero: return "zero";
  }
  return "";
}

Prior fit_prior(PriorKind kind, const std::vector<float>& counts, int64_t genes) {
  Prior p;
  p.kind = kind;
  const int64_t n = int64_t(counts.size()) / genes;
  const Tensor table{const_cast<float*>(counts.data()), {n, genes}, DType::f32};
  if (kind == PriorKind::zinb_fixed) p.genes = {zinb_of_logits(1, 0.1, 0)};
  if (kind == PriorKind::nb_moments) p.genes = fit_nb_moments(table);
  if (kind == PriorKind::zinb) {
    std::vector<double> depth(size_t(n), 0.0);
    double total = 0;
    for (size_t i = 0; i < counts.size(); i++) depth[i / size_t(genes)] += double(counts[i]), total += double(counts[i]);
    if (total <= 0) fail(Exit::data, "prior: every count of the panel is 0 in the training spots, expected some expression");
    for (auto& d : depth) d *= double(n) / total;
    p.genes = fit_zinb(table, {depth.data(), {n}, DType::f64});
  }
  return p;
}

void Prior::sample(const Tensor& rank, const RandomKey& key, const Standardizer& targets, const Tensor& y) const {
  PriorSampler(*this, targets, {}).sample(rank, key, y);
}

PriorSampler::PriorSampler(const Prior& prior, const Standardizer& targets, const Context& context) : kind_(prior.kind), context_(context) {
  auto there = [&](const std::vector<double>& v) {
    return copy_of({const_cast<double*>(v.data()), {int64_t(v.size())}, DType::f64}, Device::cpu, context.device, context.stream);
  };
  const Zinb nothing{0, 1, 1};
  if (kind_ != PriorKind::gaussian)
    genes_ = copy_of(zinb_table(kind_ == PriorKind::zero ? std::vector<Zinb>{nothing} : prior.genes), Device::cpu, context.device,
                     context.stream);
  if (targets.active()) mean_ = there(targets.mean), sd_ = there(targets.sd);
}

void PriorSampler::sample(const Tensor& rank, const RandomKey& key, const Tensor& y, const KeyPlace* now) const {
  if (kind_ == PriorKind::gaussian) sample_gaussian(context_, rank, key, y, now);
  else sample_zinb(context_, genes_, rank, key, true, mean_, sd_, y, now);
}

}  // namespace stflow
