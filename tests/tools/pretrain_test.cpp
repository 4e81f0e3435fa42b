// stflow pretrain end to end, on a picture of 160 x 160 pixels.
#include <doctest/doctest.h>

#include "data/png.h"
#include "engine/cuda/memory.h"
#include "engine/safetensors.h"
#include "model/vit.h"
#include "tests/data/tiny.h"
#include "tests/run.h"

using namespace stflow;

namespace {

/// A coloured, textured picture that counts as tissue everywhere.
std::string tissue(const test::Folder& folder) {
  Image image{160, 160, {}};
  for (int64_t y = 0; y < 160; y++)
    for (int64_t x = 0; x < 160; x++) {
      const bool nucleus = (x / 7 + y / 9) % 3 == 0;
      for (int v : {nucleus ? 90 : 210, nucleus ? 60 : 140, nucleus ? 140 : 190}) image.rgb.push_back(uint8_t(v + int(x * y % 23)));
    }
  write_png(folder.path() + "/tissue.png", image);
  return folder.path() + "/tissue.png";
}

std::string command(const test::Folder& folder, const std::string& name, const std::string& more) {
  return "\"$STFLOW\" pretrain " + folder.path() + "/tissue.png --out " + folder.path() + "/" + name + ".safetensors --save-dir " +
         folder.path() + "/" + name + " --image-size 64 --microns 64 --mpp 1 --dim 32 --depth 2 --heads 2 --batch-size 4 --quiet " + more;
}

}  // namespace

TEST_CASE("pretrain: writes an encoder that loads, and learns") {
  test::Folder folder;
  tissue(folder);
  const std::string file = folder.path() + "/a.safetensors";
  auto loss_after = [&](int steps) {
    const test::Ran r = test::run_shell(command(folder, "a", "--json --pooling mean --steps " + std::to_string(steps)));
    REQUIRE(r.code == 0);
    return std::stod(r.out.substr(r.out.find("\"loss\":") + 7));
  };
  const double first = loss_after(1), later = loss_after(60);
  CHECK(later < 0.8 * first);  // a mean over all sixty steps
  SafeTensors encoder(file);
  const VitConfig c = read_vit_config(encoder);
  CHECK(c.image == 64);
  CHECK(c.patch == 16);
  CHECK(c.depth == 2);
  CHECK(c.pooling == Pooling::mean);
  ParameterSet set;
  Vit vit(set, c);
  set.allocate(0);
  load_vit(encoder, vit, set);
  CHECK(encoder.at("blocks.0.attn.qkv.weight").type == Stored::f16);
  CHECK(encoder.meta("trained_on") == "tissue.png");
}

TEST_CASE("pretrain: the same bytes with one thread or two, and after kill -9 and --resume") {
  test::Folder folder;
  tissue(folder);
  const std::string steps = "--steps 60 --checkpoint-every 7 ";
  REQUIRE(test::run_shell(command(folder, "whole", steps + "--threads 1")).code == 0);
  REQUIRE(test::run_shell(command(folder, "two", steps + "--threads 2")).code == 0);
  const std::string whole = test::read_file(folder.path() + "/whole.safetensors");
  CHECK(whole == test::read_file(folder.path() + "/two.safetensors"));

  const std::string checkpoint = folder.path() + "/killed/checkpoint.safetensors";
  for (int kill = 0; kill < 3; kill++)  // each time as soon as there is a new checkpoint
    test::run_shell("touch " + folder.path() + "/before; (exec " + command(folder, "killed", steps + "--resume") +
                    ") & p=$!; while kill -0 $p 2>/dev/null && ! [ " + checkpoint + " -nt " + folder.path() +
                    "/before ]; do sleep 0.002; done; kill -9 $p 2>/dev/null; wait $p");
  REQUIRE(test::run_shell(command(folder, "killed", steps + "--resume")).code == 0);
  CHECK(whole == test::read_file(folder.path() + "/killed.safetensors"));

  const test::Ran other = test::run_shell(command(folder, "killed", steps + "--resume --seed 2"));
  CHECK(other.code == 65);
  CHECK(other.err.find("checkpoint.safetensors: metadata: ") != std::string::npos);
}

TEST_CASE("pretrain: each mistake is one line and its exit code") {
  test::Folder folder;
  tissue(folder);
  struct {
    const char* more;
    int code;
    const char* line;
  } cases[] = {
      {"--patch-size 24", 64, "--patch-size 24: not a multiple of 16 that divides --image-size 64, expected one"},
      {"--dim 30", 64, "--dim 30: expected a multiple of 4 and of --heads 2"},
      {"--microns 160", 65, "expected at least 207 x 207 for a tile"},
      {"--steps 0", 64, "--steps"},
      {"/nonexistent.png", 66, "/nonexistent.png"},
      {"/nonexistent.png@0.5", 66, "/nonexistent.png:"},
      {"/nonexistent.png@fine", 64,
       "/nonexistent.png@fine: microns per pixel: found 'fine', expected a number from 0.01 to 100 after the @"},
      {"/nonexistent.png@0", 64, "/nonexistent.png@0: microns per pixel: found '0', expected a number from 0.01 to 100 after the @"},
  };
  for (const auto& c : cases) {
    const test::Ran r = test::run_shell(command(folder, "bad", c.more));
    CHECK(r.code == c.code);
    CHECK(r.err.find(c.line) != std::string::npos);
    CHECK(std::count(r.err.begin(), r.err.end(), '\n') == 1);
  }
  const test::Ran fine = test::run_shell(command(folder, "bad", folder.path() + "/tissue.png@0.5"));  // 64 um are 128 of its pixels
  CHECK(fine.code == 65);
  CHECK(fine.err.find("/tissue.png: header: 160 x 160 pixels, expected at least 166 x 166 for a tile") != std::string::npos);
}

TEST_CASE("pretrain: steps on the device, emulated, as on the CPU") {
  if (!cuda_is_emulated()) return;
  test::Folder folder;
  tissue(folder);
  auto losses = [&](const std::string& name, const std::string& device) {
    const test::Ran r = test::run_shell(command(folder, name, "--json --steps 3 " + device));
    REQUIRE(r.code == 0);
    return SafeTensors(folder.path() + "/" + name + "/checkpoint.safetensors").read<double>("history");
  };
  const auto cpu = losses("cpu", "--device cpu"), cuda = losses("cuda", "--device cuda --emulate");
  REQUIRE(cpu.size() == 15);
  REQUIRE(cuda.size() == 15);
  for (size_t i = 0; i < 15; i++) CHECK(cuda[i] == doctest::Approx(cpu[i]).epsilon(1e-4));
}
