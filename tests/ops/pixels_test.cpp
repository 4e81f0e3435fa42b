#include "ops/pixels.h"

#include <doctest/doctest.h>

#include <cstring>

#include "engine/storage.h"
#include "tests/orders.h"

using namespace stflow;

TEST_CASE("pixels: each byte becomes its channel's entry of the table, on every back end the same bits") {
  for (const int64_t side : {1, 3, 8}) {
    const Array table({3, 256}, DType::f32), want({2, side, side, 3}, DType::f32);
    for (int i = 0; i < 768; i++) table.as<float>()[i] = 0.37f * float(i) - 100;
    std::vector<uint8_t> rgb(size_t(want.tensor().size()));
    for (size_t i = 0; i < rgb.size(); i++) rgb[i] = uint8_t(i * 89 % 256);
    for (size_t i = 0; i < rgb.size(); i++) want.as<float>()[i] = 0.37f * float(int(i % 3) * 256 + rgb[i]) - 100;
    const auto same = [&](const Array& got) { return std::memcmp(got.tensor().data, want.tensor().data, want.tensor().bytes()) == 0; };
    for (const Isa isa : {Isa::plain, Isa::avx2, Isa::avx512}) {
      if (!supports(isa)) continue;
      const Array got(want.tensor().shape, DType::f32);
      on_cpu(isa, [&](auto b) { look_up_pixels(b, rgb.data(), table, got); });
      CHECK(same(got));
    }
    test::in_every_order([&] {
      const Storage bytes(rgb.size(), Device::cuda);
      copy(Device::cuda, bytes.data(), Device::cpu, rgb.data(), rgb.size());
      const Array there = copy_of(table, Device::cpu, Device::cuda), got(want.tensor().shape, DType::f32, Device::cuda);
      look_up_pixels(Cuda{}, static_cast<const uint8_t*>(bytes.data()), there, got);
      CHECK(same(copy_of(got, Device::cuda, Device::cpu)));
    });
  }
}
