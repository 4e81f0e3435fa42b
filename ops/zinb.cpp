#include "ops/zinb.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/threads.h"
#include "ops/special.h"

namespace stflow {
Zinb zinb_of_logits(double total_count, double logits, double zi_logits) {
  return {total_count * std::exp(logits), total_count, 1 / (1 + std::exp(-zi_logits))};
}

double log_likelihood(const Zinb& z, double x) {
  const double share = z.mu / z.theta;
  if (x == 0) return std::log(z.pi + (1 - z.pi) * std::exp(-z.theta * std::log1p(share)));
  if (!(x > 0) || z.mu == 0 || z.pi == 1) return -std::numeric_limits<double>::infinity();
  return std::log1p(-z.pi) + log_gamma(x + z.theta) - log_gamma(z.theta) - log_gamma(x + 1) - (z.theta + x) * std::log1p(share) +
         x * std::log(share);
}

double draw_zinb(const Zinb& z, const RandomKey& key, uint32_t spot, uint32_t gene) { return ZinbDraw(key, spot, gene)(z); }

Tensor zinb_table(const std::vector<Zinb>& genes) {
  static_assert(sizeof(Zinb) == 3 * sizeof(double));
  for (const Zinb& z : genes)
    check(z.mu >= 0 && z.theta > 0 && z.pi >= 0 && z.pi <= 1, "zinb: mu {}, theta {}, pi {}", z.mu, z.theta, z.pi);
  return {const_cast<Zinb*>(genes.data()), {int64_t(genes.size()), 3}, DType::f64};
}

void sample_zinb(const Context& context, const Tensor& genes, const Tensor& rank, const RandomKey& key, bool log1p, const Tensor& mean,
                 const Tensor& sd, const Tensor& out, const KeyPlace* now) {
  const int64_t n = out.shape[0], columns = out.cols(), count = genes.shape[0];
  check(out.shape.rank == 2 && rank.shape == Shape{n} && (count == columns || count == 1) && genes.cols() == 3 && columns < (1 << 24),
        "zinb: genes {}, ranks {}, output {}", genes.shape.text(), rank.shape.text(), out.shape.text());
  check(mean.shape == sd.shape && (!mean.data || mean.shape == Shape{columns}), "zinb: means {}, deviations {}, output {}",
        mean.shape.text(), sd.shape.text(), out.shape.text());
  if (context.device == Device::cuda) return zinb_draws(Cuda{context.stream}, genes, rank, key, log1p, mean, sd, out, now);
  const auto* position = rank.as<int32_t>();
  by_type(out.type, [&](auto zero) {
    using T = decltype(zero);
    parallel_for(n, 1 + 1024 / std::max<int64_t>(columns, 1), [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; i++)
        for (int64_t g = 0; g < columns; g++) {
          const double x = draw_zinb(genes.as<Zinb>()[count == 1 ? 0 : g], key, uint32_t(position[i]), uint32_t(g));
          out.as<T>()[i * columns + g] = stored_draw<T>(x, log1p, mean.as<double>(), sd.as<double>(), g);
        }
    });
  });
}

void sample_zinb(const std::vector<Zinb>& genes, const Tensor& rank, const RandomKey& key, bool log1p, const Tensor& out) {
  sample_zinb({}, zinb_table(genes), rank, key, log1p, {}, {}, out);
}

}  // namespace stflow
