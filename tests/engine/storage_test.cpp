#include "engine/storage.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "tests/check.h"

using namespace stflow;

TEST_CASE("storage: tensors of a pool start at zero, apart from each other, and stay where they are") {
  for (const Device device : {Device::cpu, Device::cuda}) {
    TensorPool pool(device);
    const int64_t sizes[] = {1, 0, 100, 3 << 20, 7, 1 << 20, 2 << 20, 5 << 20, 64, 1 << 20};  // some larger than what a piece has left
    std::vector<Tensor> taken;
    for (const int64_t n : sizes) {
      taken.push_back(pool.take({n}, DType::f32));
      const Tensor& t = taken.back();
      CHECK(t.shape == Shape{n});
      CHECK(reinterpret_cast<uintptr_t>(t.data) % 64 == 0);
      const Array here = copy_of(t, device, Device::cpu);
      CHECK(std::all_of(here.as<float>(), here.as<float>() + n, [](float x) { return x == 0; }));
      fill(device, t.data, int(taken.size()), t.bytes());
    }
    for (size_t i = 0; i < taken.size(); i++) {
      const Array here = copy_of(taken[i], device, Device::cpu);
      const auto* bytes = here.as<uint8_t>();
      CHECK(std::all_of(bytes, bytes + taken[i].bytes(), [&](uint8_t b) { return b == i + 1; }));
    }
  }
}
