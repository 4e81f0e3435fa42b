#include "model/prior.h"

#include <cmath>

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

void Prior::sample(const Tensor& rank, const RandomKey& key, const Standardizer& targets, const Tensor& y, const Context& context) const {
  if (context.device != Device::cpu) {
    const Array here(y.shape, y.type);
    sample(rank, key, targets, here);
    return copy(context.device, y.data, Device::cpu, here.tensor().data, y.bytes(), context.stream);
  }
  const int64_t n = y.rows(), genes_count = y.cols();
  by_type(y.type, [&](auto zero) {
    using T = decltype(zero);
    T* out = y.as<T>();
    if (kind == PriorKind::gaussian) {
      for (int64_t i = 0; i < n; i++)
        for (int64_t g = 0; g < genes_count; g++) {
          const Philox4 r = key.draw((uint64_t(rank.as<int32_t>()[i]) << 24) | uint64_t(g));
          out[i * genes_count + g] =
              T(std::sqrt(-2 * std::log(open01(r.v[0], r.v[1]))) * std::cos(6.283185307179586 * open01(r.v[2], r.v[3])));
        }
      return;
    }
    if (kind == PriorKind::zero)
      for (int64_t i = 0; i < y.size(); i++) out[i] = 0;
    else sample_zinb(genes, rank, key, true, y);
    if (!targets.active()) return;
    for (int64_t i = 0; i < y.size(); i++) {
      const size_t g = size_t(i % genes_count);
      out[i] = T((double(out[i]) - targets.mean[g]) / targets.sd[g]);
    }
  });
}

}  // namespace stflow
