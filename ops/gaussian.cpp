#include "ops/gaussian.h"

#include <algorithm>

#include "engine/threads.h"

namespace stflow {

void sample_gaussian(const Context& context, const Tensor& rank, const RandomKey& key, const Tensor& out, const KeyPlace* now) {
  const int64_t n = out.shape[0], columns = out.cols();
  check(out.shape.rank == 2 && rank.shape == Shape{n} && columns < (1 << 24), "gaussian: ranks {}, output {}", rank.shape.text(),
        out.shape.text());
  if (context.device == Device::cuda) return gaussian_draws(Cuda{context.stream}, rank, key, out, now);
  by_type(out.type, [&](auto zero) {
    using T = decltype(zero);
    parallel_for(n, 1 + 4096 / std::max<int64_t>(columns, 1), [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; i++)
        for (int64_t g = 0; g < columns; g++)
          out.as<T>()[i * columns + g] = T(draw_gaussian(key, uint32_t(rank.as<int32_t>()[i]), uint32_t(g)));
    });
  });
}

}  // namespace stflow
