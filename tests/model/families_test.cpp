// Every family of encoders in the names and containers of the library that wrote it: tests/fixtures/make_encoder_families.py.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <tuple>

#include "data/weights/open.h"
#include "engine/safetensors.h"
#include "model/encoder.h"
#include "model/key_maps.h"
#include "tests/files.h"

using namespace stflow;

namespace {

using Settings = std::map<std::string, std::string>;
const std::string kFolder = "tests/fixtures/families/";
// What stands for a preset here.
const Settings kScale = {{"mean", "0.7,0.6,0.65"}, {"std", "0.2,0.25,0.3"}};

Settings with(Settings more) {
  more.insert(kScale.begin(), kScale.end());
  return more;
}

/// The two images of images() in the script.
std::vector<uint8_t> images(int64_t size) {
  std::vector<uint8_t> rgb;
  for (int64_t b = 0; b < 2; b++)
    for (int64_t y = 0; y < size; y++)
      for (int64_t x = 0; x < size; x++)
        for (int64_t c = 0; c < 3; c++)
          rgb.push_back(uint8_t((37 * x + 91 * y + 53 * c + 11 * x * y + 7 * x * x + 3 * y * y + 131 * b) % 256));
  return rgb;
}

/// The relative error, in norm, of an encoder's features of the two images.
double error_of(Encoder& encoder, const std::vector<double>& want) {
  std::vector<float> got(size_t(2 * encoder.dim()));
  REQUIRE(got.size() == want.size());
  encoder.embed(images(encoder.size()).data(), 2, got.data());
  double apart = 0, norm = 0;
  for (size_t i = 0; i < want.size(); i++) apart += std::pow(double(got[i]) - want[i], 2), norm += want[i] * want[i];
  return std::sqrt(apart / norm);
}

struct Case {
  const char *name, *file, *style, *family;
  Settings settings;  // beside the pixel scale
};
const std::vector<Case> kCases = {
    {"timm_plain", "timm_plain.bin", "timm", "vit", {{"num_heads", "2"}, {"pooling", "cls"}}},
    {"virchow2", "virchow2.safetensors", "timm", "vit", {{"num_heads", "2"}, {"pooling", "cls_mean"}}},
    {"uni2", "uni2.bin", "timm", "vit", {{"num_heads", "2"}, {"pooling", "cls"}, {"image_size", "16"}, {"no_embed_class", "true"}}},
    {"dinov2_chunked", "dinov2_chunked.pth", "DINOv2 with registers", "vit", {{"num_heads", "2"}, {"pooling", "cls"}}},
    {"hf_dinov2", "hf_dinov2", "Hugging Face Dinov2", "vit", {{"pooling", "cls_mean"}, {"image_size", "24"}}},
    {"hf_dinov2_registers", "hf_dinov2_registers", "Hugging Face Dinov2 with registers", "vit", {{"pooling", "cls"}, {"image_size", "16"}}},
    {"hf_vit", "hf_vit", "Hugging Face ViT", "vit", {{"pooling", "cls"}}},
    {"conch", "conch.bin", "CONCH", "conch", {{"num_heads", "2"}, {"pool_heads", "8"}}},
    {"conch15", "conch15.bin", "CONCH", "conch", {{"num_heads", "2"}, {"pool_heads", "8"}, {"image_size", "16"}}},
    {"ciga", "ciga.ckpt", "torchvision ResNet", "resnet", {{"image_size", "40"}}},
    {"resnet50", "resnet50.safetensors", "torchvision ResNet", "resnet", {{"image_size", "40"}, {"stages", "3"}}},
    {"ctranspath", "ctranspath.pth", "CTransPath", "swin", {{"image_size", "64"}}},
};

}  // namespace

TEST_CASE("families: features of every original library, from its own file") {
  const SafeTensors golden(kFolder + "golden.safetensors");
  for (const Case& c : kCases) {
    CAPTURE(std::string(c.name));
    const Weights file = open_weights(kFolder + c.file);
    CHECK(key_style(file).name == c.style);
    CHECK(key_style(file).family == c.family);
    const Weights ours = canonical(file, with(c.settings));
    Encoder encoder(ours);
    CHECK(error_of(encoder, golden.read<double>(c.name)) <= 1e-5);
    CHECK(encoder.identity().at("weights") == file.sha256());
  }
}

TEST_CASE("families: a canonical file, written and read again, is the same encoder") {
  const SafeTensors golden(kFolder + "golden.safetensors");
  test::TempFolder folder;
  for (const Case& c : kCases) {
    CAPTURE(std::string(c.name));
    const Weights ours = canonical(open_weights(kFolder + c.file), with(c.settings));
    std::vector<OutTensor> tensors;
    for (const StoredTensor& t : ours.tensors()) tensors.emplace_back(t, t.type);
    const std::string path = folder.path(std::string(c.name) + ".safetensors");
    write_safetensors(path, std::move(tensors), ours.metadata());
    CHECK(key_style(SafeTensors(path)).name == "canonical");
    Encoder again(path);
    CHECK(error_of(again, golden.read<double>(c.name)) <= 1e-5);
  }
}

TEST_CASE("slow: families: the networks that are no plain ViT give their features on the device") {
  const SafeTensors golden(kFolder + "golden.safetensors");
  for (const Case& c : kCases) {
    if (c.family == std::string("vit")) continue;
    CAPTURE(std::string(c.name));
    const Weights ours = canonical(open_weights(kFolder + c.file), with(c.settings));
    Encoder encoder(ours, Context{Isa::plain, Device::cuda}), half(ours, Context{Isa::plain, Device::cuda}, Precision::bf16);
    CHECK(error_of(encoder, golden.read<double>(c.name)) <= 1e-5);
    CHECK(error_of(half, golden.read<double>(c.name)) <= 2e-2);
  }
}

TEST_CASE("families: what is left out of a file is said") {
  const auto& conch = *std::find_if(kCases.begin(), kCases.end(), [](const Case& c) { return c.name == std::string("conch"); });
  const Weights file = open_weights(kFolder + conch.file), ours = canonical(file, with(conch.settings));
  CHECK(ours.notes().size() == file.notes().size() + 1);
  CHECK(ours.notes().back() == "4 tensors that are no part of the encoder are left out");
}

TEST_CASE("families: 16-bit copies of the weights stay within their rounding") {
  const SafeTensors golden(kFolder + "golden.safetensors");
  test::TempFolder folder;
  for (const Case& c : kCases)
    for (auto [type, tolerance] : {std::pair{Stored::f16, 2e-3}, {Stored::bf16, 2e-2}}) {
      CAPTURE(std::string(c.name));
      const Weights ours = canonical(open_weights(kFolder + c.file), with(c.settings));
      std::vector<OutTensor> tensors;
      for (const StoredTensor& t : ours.tensors()) tensors.emplace_back(t, type);
      write_safetensors(folder.path("half.safetensors"), std::move(tensors), ours.metadata());
      Encoder half(folder.path("half.safetensors"));
      CHECK(error_of(half, golden.read<double>(c.name)) <= tolerance);
    }
}

TEST_CASE("families: position embeddings are resampled as torch does it for each library") {
  const SafeTensors golden(kFolder + "golden.safetensors");
  std::vector<float> grid;
  for (int y = 0; y < 5; y++)
    for (int x = 0; x < 5; x++)
      for (int c = 0; c < 3; c++) grid.push_back(float((37 * x + 91 * y + 53 * c + 11 * x * y) % 256) / 255);
  for (PositionRule rule : kPositionRules)
    for (int side : {3, 8}) {
      CAPTURE(name_of(rule));
      CAPTURE(side);
      const auto want = golden.read<double>(fmt::format("positions.{}.{}", name_of(rule), side));
      const auto got = resample_position(grid, 0, 5, side, 3, rule);
      REQUIRE(got.size() == want.size());
      double worst = 0;
      for (size_t i = 0; i < want.size(); i++) worst = std::max(worst, std::fabs(double(got[i]) - want[i]));
      CHECK(worst < 1e-6);
    }
}

namespace {

/// Tensors of ones, named, with their shapes.
Weights made(const std::vector<std::pair<std::string, std::vector<int64_t>>>& tensors, const Settings& metadata = {}) {
  Weights w("made.bin", "test");
  for (const auto& [name, shape] : tensors) {
    int64_t n = 1;
    for (int64_t d : shape) n *= d;
    w.add_values(name, shape, std::vector<float>(size_t(n), 1.0f));
  }
  for (const auto& [key, value] : metadata) w.set_metadata(key, value);
  return w;
}

const std::vector<std::pair<std::string, std::vector<int64_t>>> kTiny = {{"cls_token", {1, 1, 4}},
                                                                         {"patch_embed.proj.weight", {4, 3, 2, 2}}};

}  // namespace

TEST_CASE("bad input: names of no encoder, networks without a teacher, parts that are missing") {
  auto refused = [](const std::string& line, const Weights& w, const Settings& settings = {}) {
    test::refuses(Exit::data, line, w.path(), [&] { (void)canonical(w, settings); });
  };
  const std::string known = "expected the names of timm, DINOv2, Hugging Face's ViT or Dinov2, CONCH, CTransPath or a ResNet";
  refused("{}: 1 tensors, the first named 'a', " + known, made({{"a", {1}}}));
  refused("{}: 0 tensors, " + known, made({}));
  auto both = kTiny;
  for (const auto& [name, shape] : kTiny) both.emplace_back("student." + name, shape);
  refused("{}: networks under '' and 'student.', expected one, or one teacher", made(both));
  refused(
      "{}: num_heads: neither the file nor a config.json beside it tells, expected the name of a published encoder (--encoder-preset; "
      "convert --preset)",
      made(kTiny));
  refused(
      "{}: pooling: neither the file nor a config.json beside it tells, expected the name of a published encoder (--encoder-preset; "
      "convert --preset)",
      made(kTiny), with({{"num_heads", "2"}}));
  refused(
      "{}: mean: neither the file nor a config.json beside it tells, expected the name of a published encoder (--encoder-preset; convert "
      "--preset)",
      made(kTiny), {{"num_heads", "2"}, {"pooling", "cls"}});
  refused("{}: tensors named as in timm (vit), expected a resnet", made(kTiny), with({{"family", "resnet"}}));
  refused("{}: tensors named as in a canonical file (vit), expected a resnet", made(kTiny, {{"canonical", "1"}, {"family", "vit"}}),
          {{"family", "resnet"}});
  refused("{}: config.json: hidden_act is 'quick_gelu', expected gelu", made(kTiny, {{"config.hidden_act", "quick_gelu"}}), with({}));
  refused("{}: encoder.layer.0.attention.attention.query.weight: 1 of the 3 tensors that become blocks.0.attn.qkv.weight, expected all",
          made({{"embeddings.cls_token", {1, 1, 4}},
                {"encoder.layer.0.norm1.weight", {4}},
                {"encoder.layer.0.attention.attention.query.weight", {4, 4}}}));
  auto twice = kTiny;
  twice.emplace_back("blocks.0.norm1.weight", std::vector<int64_t>{4}),
      twice.emplace_back("blocks.0.0.norm1.weight", std::vector<int64_t>{4});
  refused("{}: blocks.0.norm1.weight and blocks.0.0.norm1.weight are both blocks.0.norm1.weight, expected one", made(twice));
  refused("{}: attn_pool_contrast.attn.in_proj_bias: shape (4), expected a multiple of 3 rows",
          made({{"trunk.patch_embed.proj.weight", {4, 3, 2, 2}},
                {"attn_pool_contrast.ln_q.weight", {4}},
                {"attn_pool_contrast.attn.in_proj_bias", {4}}}));
}

TEST_CASE("bad input: convolutional checkpoints whose shapes do not fit") {
  auto refused = [](const std::string& line, const Weights& w, const Settings& settings) {
    test::refuses(Exit::data, line, w.path(), [&] { Encoder encoder(canonical(w, with(settings))); });
  };
  const Settings image = {{"image_size", "32"}};
  const std::vector<std::pair<std::string, std::vector<int64_t>>> norm = {
      {"bn1.weight", {2}}, {"bn1.bias", {2}}, {"bn1.running_mean", {2}}, {"bn1.running_var", {2}}};
  auto resnet = [&](std::vector<std::pair<std::string, std::vector<int64_t>>> more) {
    more.insert(more.end(), norm.begin(), norm.end());
    return made(more);
  };
  refused("{}: conv1.weight: shape (2, 3, 7, 5), expected (out, in, k, k)",
          resnet({{"conv1.weight", {2, 3, 7, 5}}, {"layer1.0.conv1.weight", {2, 2, 3, 3}}}), image);
  refused("{}: bn1.weight: shape (2), expected (3)", resnet({{"conv1.weight", {3, 3, 7, 7}}, {"layer1.0.conv1.weight", {2, 2, 3, 3}}}),
          image);
  refused("{}: no tensor 'layer1.0.bn1.weight', expected one among its 6",
          resnet({{"conv1.weight", {2, 3, 7, 7}}, {"layer1.0.conv1.weight", {2, 2, 3, 3}}}), image);
  refused("{}: extra.weight: expected convolutions and batch norms with torchvision's names",
          resnet({{"extra.weight", {2}}, {"layer1.0.conv1.weight", {2, 2, 3, 3}}}), image);
  refused(
      "{}: image_size: neither the file nor a config.json beside it tells, expected the name of a published encoder (--encoder-preset; "
      "convert --preset)",
      resnet({{"conv1.weight", {2, 3, 7, 7}}, {"layer1.0.conv1.weight", {2, 2, 3, 3}}}), {});
  refused("{}: metadata: eps is 'small', expected a number >= 0",
          resnet({{"conv1.weight", {2, 3, 7, 7}}, {"layer1.0.conv1.weight", {2, 2, 3, 3}}}), {{"image_size", "32"}, {"eps", "small"}});

  auto swin = [&](const Settings& settings) { return canonical(open_weights(kFolder + "ctranspath.pth"), with(settings)); };
  test::refuses(Exit::data, "{}: stage 0: windows of 4 and 1 heads for images of 40 and a width of 8, expected divisors",
                kFolder + "ctranspath.pth", [&] {
                  Encoder encoder(swin({{"image_size", "40"}}));
                });
  test::refuses(Exit::data, "{}: metadata: pool_heads is 5, expected a divisor of 24", kFolder + "conch.bin", [&] {
    Encoder encoder(canonical(open_weights(kFolder + "conch.bin"), with({{"num_heads", "2"}, {"pool_heads", "5"}})));
  });
  test::refuses(
      Exit::data, "{}: metadata: positions is 'near', expected antialias, hf_bicubic, offset or bilinear", kFolder + "timm_plain.bin", [&] {
        Encoder encoder(
            canonical(open_weights(kFolder + "timm_plain.bin"), with({{"num_heads", "2"}, {"pooling", "cls"}, {"positions", "near"}})));
      });
  test::refuses(Exit::data, "{}: metadata: family is 'cnn', expected vit, conch, resnet or swin", "made.bin", [&] {
    Encoder encoder(made(kTiny, {{"canonical", "1"}, {"family", "cnn"}}));
  });
}

// Gigabytes and minutes: not part of the tests. python tests/fixtures/make_encoder_families.py --real FOLDER, then
// STFLOW_REAL_SIZES=FOLDER build/release/tests/all --no-skip -tc="families: real sizes*"
TEST_CASE("families: real sizes, ViT-B in timm's names and ViT-L in Hugging Face's" * doctest::skip()) {
  const char* given = std::getenv("STFLOW_REAL_SIZES");
  REQUIRE(given != nullptr);
  const std::string folder = std::string(given) + "/";
  const SafeTensors golden(folder + "golden.safetensors");
  const Settings base = {{"num_heads", "12"}, {"pooling", "cls"}}, large = {{"pooling", "cls"}, {"image_size", "224"}};
  for (const auto& [file, name, settings, tolerance] : {std::tuple{"timm_base.bin", "timm_base", base, 1e-5},
                                                        {"timm_base_f16.safetensors", "timm_base_f16", base, 1e-5},
                                                        {"timm_base_bf16.safetensors", "timm_base_bf16", base, 1e-5},
                                                        {"timm_base_f16.safetensors", "timm_base", base, 2e-3},
                                                        {"hf_large", "hf_large", large, 1e-5}}) {
    Encoder encoder(canonical(open_weights(folder + file), with(settings)));
    const double error = error_of(encoder, golden.read<double>(name));
    MESSAGE(std::string(file), " against ", std::string(name), ": ", error);
    CHECK(error <= tolerance);
  }
}
