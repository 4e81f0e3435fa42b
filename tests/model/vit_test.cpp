#include "model/vit.h"

#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <map>
#include <tuple>

#include "engine/safetensors.h"
#include "ops/patchify.h"
#include "ops/weighted_sum.h"
#include "tests/check.h"
#include "tests/files.h"

using namespace stflow;

namespace {

/// Runs a checkpoint of tests/fixtures on its golden image; returns the relative errors (in norm) of features and tokens.
std::pair<double, double> errors_of(const std::string& name, DType type) {
  SafeTensors file("tests/fixtures/vit_" + name + ".safetensors"), golden("tests/fixtures/vit_" + name + "_golden.safetensors");
  ParameterSet set(type);
  Vit vit(set, read_vit_config(file));
  set.allocate(0);
  load_vit(file, vit, set);
  const auto& shape = golden.at("image").shape;
  Array image({shape[0], shape[1], shape[2], shape[3]}, type);
  golden.read_into("image", image);
  Tape tape;
  const Var pixels = tape.input(image), tokens = vit.tokens(patchify(pixels, int(vit.config.patch))), features = vit(pixels);
  Storage arena;
  tape.plan(false, true);
  tape.bind(arena, set);
  tape.forward();
  auto error = [&](Var v, const char* what) {
    const auto want = golden.read<double>(what);
    const Tensor got = tape.value(v);
    REQUIRE(got.size() == int64_t(want.size()));
    double apart = 0, norm = 0;
    by_type(type, [&](auto zero) {
      for (size_t i = 0; i < want.size(); i++) {
        const double d = double(got.as<decltype(zero)>()[i]) - want[i];
        apart += d * d, norm += want[i] * want[i];
      }
    });
    return std::sqrt(apart / norm);
  };
  return {error(features, "features"), error(tokens, "tokens")};
}

}  // namespace

TEST_CASE("vit: golden numbers of timm") {
  for (const char* name : {"plain", "registers_swiglu", "layer_scale", "placed_registers", "resampled_up", "resampled_down"}) {
    CAPTURE(name);
    for (auto [type, tolerance] : {std::pair{DType::f32, 1e-5}, {DType::f64, 1e-6}}) {
      auto [features, tokens] = errors_of(name, type);
      CHECK(features <= tolerance);
      CHECK(tokens <= tolerance);
    }
  }
}

TEST_CASE("device: in bf16, what lies between products is bf16, the residual stream and the features float32; NaN is found in both") {
  for (auto [swiglu, pooling] : {std::pair{false, Pooling::mean}, {true, Pooling::mean}, {false, Pooling::cls}}) {
    const bool whole = pooling != Pooling::cls;  // the last block gives all tokens
    VitConfig c;
    c.image = 16, c.patch = 8, c.dim = 16, c.depth = 1, c.heads = 2, c.hidden = 24, c.swiglu = swiglu, c.layer_scale = swiglu,
    c.pooling = pooling;
    Context context;
    context.device = Device::cuda, context.products = Products::bf16;
    ParameterSet set(DType::f32, Device::cuda, true, DType::bf16);
    const Vit vit(set, c);
    set.allocate(1);
    for (const Parameter& p : set.all()) {
      if (!p.packed) continue;
      const Array values(p.shape, DType::f32);
      set.initialise(p, 1, values);
      set.hold(p, linear_hold(context, values, p.type, set.pool()));
    }
    const Array image = copy_of(Array({1, 16, 16, 3}, DType::f32), Device::cpu, Device::cuda);
    Tape tape(context);
    std::string types;
    tape.watch([](void* to, const char* op, const Call& call,
                  bool) { *static_cast<std::string*>(to) += fmt::format("{} {}; ", op, name_of(call.out.type)); },
               &types);
    const Var features = vit(tape.input(image));
    Storage arena(0, Device::cuda);
    tape.plan(false);
    tape.bind(arena, set);
    tape.check_finite(true);
    tape.forward();
    CHECK(types == std::string("patchify f32; linear f32; assemble_tokens f32; layernorm bf16; linear bf16; ") +
                       (whole ? "attention bf16; linear bf16; " : "attention f32; pool_tokens f32; pool_tokens f32; linear bf16; ") +
                       (swiglu ? "scale_add f32; layernorm bf16; linear bf16; swiglu bf16; linear bf16; scale_add f32; "
                               : "add f32; layernorm bf16; linear bf16; linear bf16; add f32; ") +
                       "layernorm f32; " + (whole ? "pool_tokens f32; " : ""));
    CHECK(tape.value(features).type == DType::f32);
    for (const auto& [name, op, layer] : {std::tuple{"blocks.0.norm2.bias", "layernorm", "blocks.0"}, {"norm.bias", "layernorm", "norm"}}) {
      const Tensor bias = set.value(*set.find(name));
      fill(Device::cuda, bias.data, 0xff, bias.bytes());
      const auto error = fmt::format("{} forward of layer '{}': NaN at element 0 of {}", op, layer, whole ? "(1, 5, 16)" : "(1, 16)");
      CHECK_THROWS_WITH_AS(tape.forward(), doctest::Contains(error.c_str()), Error);
      fill(Device::cuda, bias.data, 0, bias.bytes());
    }
  }
}

TEST_CASE("vit: gradients of a whole block in float64") {
  for (auto [swiglu, layer_scale, pooler] :
       {std::tuple{false, false, false}, {true, false, false}, {false, true, true}, {true, true, false}}) {
    VitConfig c;
    c.image = 16, c.patch = 4, c.dim = 12, c.depth = 2, c.heads = 3, c.hidden = 20, c.swiglu = swiglu, c.layer_scale = layer_scale,
    c.registers = 2;
    if (pooler) c.pool_dim = 12, c.pool_heads = 3, c.pool_bias = true;
    ParameterSet set(DType::f64);
    Vit vit(set, c);
    set.allocate(3);
    Array image({2, 16, 16, 3}, DType::f64), target({2, 12}, DType::f64);
    const auto x = test::normal(size_t(image.tensor().size()), 5);
    std::copy(x.begin(), x.end(), image.as<double>());
    for (int i = 0; i < 24; i++) target.as<double>()[i] = x[size_t(i)];
    Tape tape;
    Var loss = weighted_sum(vit(tape.input(image)), tape.input(target));
    Storage arena;
    tape.plan(true);
    tape.bind(arena, set, set.grads());
    tape.forward();
    tape.backward(loss);
    double* values = set.values().as<double>();
    const double* grads = set.grads().as<double>();
    auto direction = test::normal(size_t(set.size()), 6);
    std::vector<double> start(values, values + set.size());
    double want = 0, scale = 0;
    for (size_t i = 0; i < direction.size(); i++) want += grads[i] * direction[i], scale += grads[i] * grads[i];
    auto at = [&](double h) {
      for (size_t i = 0; i < start.size(); i++) values[i] = start[i] + h * direction[i];
      tape.forward();
      return *tape.value(loss).as<double>();
    };
    const double h = 1e-4, got = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h);
    CHECK(std::fabs(got - want) <= 1e-6 * std::max(std::fabs(want), std::sqrt(scale)));
  }
}

namespace {

/// The tensors of a fixture, changed by `edit`, in a new file.
std::string changed(const test::TempFolder& folder,
                    const std::function<void(std::map<std::string, std::vector<float>>&, std::map<std::string, std::string>&)>& edit) {
  SafeTensors file("tests/fixtures/vit_registers_swiglu.safetensors");
  std::map<std::string, std::vector<float>> tensors;
  for (const auto& t : file.tensors()) tensors[t.name] = file.read<float>(t.name);
  auto metadata = file.metadata();
  metadata.erase("sha256");
  edit(tensors, metadata);
  std::vector<OutTensor> out;
  for (auto& [name, values] : tensors) {
    Shape shape{int64_t(values.size())};
    if (const StoredTensor* t = file.find(name); t && t->size == int64_t(values.size())) {
      shape.rank = int(t->shape.size());
      std::copy(t->shape.begin(), t->shape.end(), shape.n);
    }
    if (name == "pos_embed") shape = {1, int64_t(values.size()) / 48, 48};
    out.emplace_back(name, view(values.data(), shape));
  }
  write_safetensors(folder.path("changed.safetensors"), std::move(out), metadata);
  return folder.path("changed.safetensors");
}

}  // namespace

TEST_CASE("vit: a checkpoint that does not fit is refused with everything that is wrong") {
  test::TempFolder folder;
  using Tensors = std::map<std::string, std::vector<float>>;
  using Metadata = std::map<std::string, std::string>;
  auto refused = [&](const std::string& line, const std::function<void(Tensors&, Metadata&)>& edit) {
    const std::string path = changed(folder, edit);
    test::refuses(Exit::data, line, path, [&] {
      SafeTensors file(path);
      ParameterSet set;
      Vit vit(set, read_vit_config(file));
      set.allocate(0);
      load_vit(file, vit, set);
    });
  };
  refused("{}: missing blocks.1.ls2.gamma, norm.bias; surplus head.bias, head.weight, expected exactly the tensors of this ViT",
          [](Tensors& t, Metadata&) {
            t.erase("norm.bias"), t.erase("blocks.1.ls2.gamma");
            t["head.weight"] = {1, 2}, t["head.bias"] = {1};
          });
  refused("{}: metadata: num_heads is 5, expected a divisor of 48", [](Tensors&, Metadata& m) { m["num_heads"] = "5"; });
  refused("{}: metadata: num_heads is 'three', expected 1 number", [](Tensors&, Metadata& m) { m["num_heads"] = "three"; });
  refused("{}: metadata: pooling is 'max', expected cls, mean or cls_mean", [](Tensors&, Metadata& m) { m["pooling"] = "max"; });
  refused("{}: metadata: mean is '0.5,0.5', expected 3 numbers separated by commas", [](Tensors&, Metadata& m) { m["mean"] = "0.5,0.5"; });
  refused("{}: metadata: image_size is 30, expected a multiple of the patch size 8", [](Tensors&, Metadata& m) { m["image_size"] = "30"; });
  refused("{}: pos_embed: 18 rows with 5 prefix tokens are no square, expected a square grid",
          [](Tensors& t, Metadata&) { t["pos_embed"].resize(18 * 48); });
  refused(
      "{}: pos_embed: 9 rows with 5 prefix tokens are a square in two ways, expected a square grid: settle it with no_embed_class in the "
      "metadata",
      [](Tensors& t, Metadata&) { t["pos_embed"].resize(9 * 48); });
  refused("{}: no tensor blocks.0.norm1.weight, expected a ViT in timm's names",
          [](Tensors& t, Metadata&) { t.erase("blocks.0.norm1.weight"); });
}
