// The machine's multiply-adds, matrix products and a vision transformer.
#include <algorithm>

#include "engine/cuda/devices.h"
#include "engine/cuda/memory.h"
#include "engine/device.h"
#include "engine/half.h"
#include "engine/threads.h"
#include "ops/cuda/gemm.h"
#include "ops/fma_probe.h"
#include "ops/gemm.h"
#include "ops/gemm_strassen.h"
#include "tools/bench/bench.h"
#include "tools/encoder/patch_encoder.h"

namespace stflow::benchmark {
namespace {

void add_rate(JsonOut& row, double flops) {
  row["flops"] = flops;
  row["gflops"] = flops / row["median_seconds"].get<double>() / 1e9;
}

void fill(const Tensor& t) {
  const RandomKey key(1, Stream::test, 0, 0);
  auto* p = t.as<float>();
  for (int64_t i = 0; i < t.size(); i++) {
    const Philox4 r = key.draw(uint64_t(i));
    p[i] = float(open01(r.v[0], r.v[1])) - 0.5f;
  }
}

// 2 x multiply-adds of one image, attention included. Where the features are the class token, it alone leaves the last block.
double vit_flops(const VitConfig& c) {
  const auto tokens = double(c.prefix() + c.grid()), d = double(c.dim), h = double(c.hidden);
  const auto block = [=](double asking) { return tokens * 3 * d * d + asking * (2 * tokens * d + d * d + (c.swiglu ? 3 : 2) * d * h); };
  const double last = block(c.class_token_alone() ? 1 : tokens);
  return 2 * (double(c.grid()) * 3 * double(c.patch * c.patch) * d + double(c.depth - 1) * block(tokens) + last);
}

// As linear() takes it: `images` items by Strassen's algorithm, none by the plain product.
JsonOut gemm_row(const char* name, int64_t images, int64_t m, int64_t n, int64_t k, double seconds) {
  Array a({m, k}, DType::f32), w({n, k}, DType::f32), c({m, n}, DType::f32), packed({packed_elements(n, k)}, DType::f32);
  fill(a), fill(w);
  JsonOut row{{"name", name}, {"shape", {m, n, k}}};
  on_cpu(best_isa(), [&](auto isa) {
    pack_weights(isa, w.as<float>(), k, false, n, k, packed.as<float>());
    const float *left = a.as<float>(), *right = packed.as<float>();
    row.update(time_runs(seconds, [&] {
      if (images) gemm_strassen(isa, left, images, m / images, right, n, k, c.as<float>(), nullptr, Activation::none);
      else gemm(isa, left, k, m, right, n, k, c.as<float>(), n, Epilogue<float>{});
    }));
  });
  add_rate(row, 2.0 * double(m) * double(n) * double(k));
  return row;
}

// FLOP/s of a GPU in products of large square matrices, in the numbers that `on` computes with: what its units give in practice.
double card_rate(const Context& on) {
  const int64_t n = cuda_is_emulated() ? 32 : 8192;
  const DType type = on.products == Products::bf16 ? DType::bf16 : DType::f32;
  const Array some({std::min<int64_t>(n, 128), n}, DType::f32), here({n, n}, type), c({n, n}, type, Device::cuda);
  fill(some);  // not zeros, with which units stay cool and fast
  for (int64_t i = 0; i < n * n; i++) {
    const float x = some.as<float>()[i % some.tensor().size()];
    if (type == DType::bf16) here.as<uint16_t>()[i] = float_to_bfloat(x);
    else here.as<float>()[i] = x;
  }
  const Array a = copy_of(here, Device::cpu, Device::cuda), b = copy_of(here, Device::cpu, Device::cuda);
  const JsonOut times = time_runs(0.5, [&] {
    matmul({on.stream, on.products == Products::tf32}, n, n, n, {a.tensor().data, n, false, type}, {b.tensor().data, n, true, type},
           {c.tensor().data, n, false, nullptr, type});
    cuda_wait();
  });
  return 2.0 * double(n) * double(n) * double(n) / times["best_seconds"].get<double>();
}

}  // namespace

JsonOut measure_peak(double seconds) {
  const int threads = thread_count();
  const int64_t rounds = 1 << 20;
  std::vector<float> sinks(size_t(threads) * 64);
  for (size_t i = 0; i < sinks.size(); i++) sinks[i] = float(i % 16) / 16;
  double flops = 0;
  JsonOut row = time_runs(seconds, [&] {
    flops = 0;
    std::vector<double> each(size_t(threads), 0.0);
    parallel_for(threads, 1, [&](int64_t i, int64_t) {
      on_cpu(best_isa(), [&](auto isa) { each[size_t(i)] = fma_probe(isa, rounds, &sinks[size_t(i) * 64]); });
    });
    for (const double f : each) flops += f;
  });
  row["flops"] = flops;
  row["gflops"] = flops / row["best_seconds"].get<double>() / 1e9;
  return row;
}

std::vector<JsonOut> measure_gemm(double seconds) {
  struct Case {
    const char* name;
    int64_t images, m, n, k;
  };
  constexpr Case kCases[] = {
      {"ViT-B qkv, 1 image", 1, 197, 2304, 768},          {"ViT-B proj, 1 image", 1, 197, 768, 768},
      {"ViT-B fc1, 1 image", 1, 197, 3072, 768},          {"ViT-B fc2, 1 image", 1, 197, 768, 3072},
      {"ViT-B fc2, 1 image, plain", 0, 197, 768, 3072},   {"ViT-B qkv, 8 images", 8, 1576, 2304, 768},
      {"ViT-B fc1, 8 images", 8, 1576, 3072, 768},        {"ViT-B fc2, 8 images", 8, 1576, 768, 3072},
      {"ViT-B fc2, 8 images, plain", 0, 1576, 768, 3072}, {"ViT-L fc1, 8 images", 8, 1576, 4096, 1024},
      {"ViT-L fc2, 8 images", 8, 1576, 1024, 4096},       {"STFlow qkv, 180 spots", 0, 180, 384, 128},
      {"STFlow image, 180 spots", 0, 180, 128, 1024},     {"STFlow qkv, 10000 spots", 0, 10000, 384, 128},
      {"STFlow image, 10000 spots", 0, 10000, 128, 1024}, {"STFlow mlp, 10000 spots", 0, 10000, 512, 128},
  };
  std::vector<JsonOut> rows;
  for (const Case& c : kCases) rows.push_back(gemm_row(c.name, c.images, c.m, c.n, c.k, seconds));
  return rows;
}

const std::vector<std::string> kVitSizes{"S/16", "B/16", "L/16", "g/14"};

JsonOut measure_vit(const std::string& size, Precision precision, int64_t images, double seconds, double limit, const DeviceFlag& flag) {
  VitConfig c;
  if (size == "S/16") c.dim = 384, c.heads = 6, c.hidden = 1536;
  else if (size == "L/16") c.dim = 1024, c.depth = 24, c.heads = 16, c.hidden = 4096;
  else if (size == "g/14") c.patch = 14, c.dim = 1536, c.depth = 40, c.heads = 24, c.hidden = 4096, c.swiglu = c.layer_scale = true;
  const Context context = context_of(precision, choose_device(flag).context);
  Encoder encoder(c, 0, 1, context, precision);
  std::vector<uint8_t> rgb(size_t(images * c.image * c.image * 3));
  const RandomKey key(1, Stream::test, 0, 0);
  for (size_t i = 0; i < rgb.size(); i++) rgb[i] = uint8_t(key.draw(i / 4).v[i % 4]);
  std::vector<float> features(size_t(images * encoder.dim()));
  encoder.embed(rgb.data(), 1, features.data());  // so that a single run is no first one
  const std::string weights = precision == Precision::f32 ? "" : ", " + kPrecisions[size_t(precision)];
  JsonOut row{{"name", "ViT-" + size + weights}, {"images", images}, {"images_together", std::min(images, encoder.batch())}};
  row.update(time_runs(
      seconds, [&] { encoder.embed(rgb.data(), images, features.data()); }, limit));
  add_rate(row, double(images) * vit_flops(c));
  row["images_per_second"] = double(images) / row["median_seconds"].get<double>();
  if (context.device != Device::cpu) {
    row["card_gflops"] = card_rate(context) / 1e9;
    row["percent_of_peak"] = 100 * row["gflops"].get<double>() / row["card_gflops"].get<double>();
  }
  add_device_memory(row, context);
  return row;
}

}  // namespace stflow::benchmark
