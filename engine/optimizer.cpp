#include "engine/optimizer.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace stflow {

double Schedule::factor(int64_t step) const {
  if (step < warmup) return double(step + 1) / double(warmup);
  if (kind == constant) return 1;
  const double x = total > warmup ? std::clamp(double(step - warmup) / double(total - warmup), 0.0, 1.0) : 1.0;
  return floor + (1 - floor) * 0.5 * (1 + std::cos(M_PI * x));
}

double ema_decay_at(double decay, int64_t step) { return std::min(decay, double(step) / double(step + 10)); }

void OptimizerState::allocate(const ParameterSet& params, bool with_ema) {
  const Device device = params.device();
  m = Array({params.size()}, params.type(), device);
  v = Array({params.size()}, params.type(), device);
  ema = Array(), decays = Array();
  step = 0, started = false;
  sums = Storage(0, device), told = Storage::beside(device);
  if (device != Device::cpu) {
    Array runs({params.size() / ParameterSet::kAlignment}, DType::i32);
    for (const Parameter& p : params.all())
      for (int64_t i = p.offset; p.decays && i < p.offset + p.shape.size(); i += ParameterSet::kAlignment)
        runs.as<int32_t>()[i / ParameterSet::kAlignment] = 1;
    decays = Array(runs.tensor().shape, DType::i32, device);
    copy(device, decays.tensor().data, Device::cpu, runs.tensor().data, runs.tensor().bytes());
  }
  if (!with_ema) return;
  ema = Array({params.size()}, params.type(), device);
  copy(device, ema.tensor().data, device, params.values().data, params.values().bytes());
}

}  // namespace stflow
