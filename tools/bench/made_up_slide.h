// What is measured: a slide without tissue, and a preset's sizes for it.
#pragma once
#include "model/config.h"

namespace stflow::benchmark {

inline constexpr int64_t kFeatures = 1024, kGenes = 50;

/// n spots on a hexagonal grid, features ~ U(-1, 1), counts 0 to 9.
Slide made_up_slide(int64_t n, int64_t features);

/// A preset for the inputs that 1024 features become under it; steps of one whole slide.
ModelConfig sized(const std::string& preset);

}  // namespace stflow::benchmark
