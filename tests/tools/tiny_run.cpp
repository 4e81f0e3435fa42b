#include "tests/tools/tiny_run.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "data/image.h"
#include "data/png.h"
#include "engine/random.h"
#include "engine/safetensors.h"
#include "engine/storage.h"
#include "tests/run.h"

namespace stflow::test {
namespace {

namespace fs = std::filesystem;
constexpr int kAcross = 8, kDown = 6, kPitch = 24;  // spots, pixels between them

}  // namespace

TinyRun::TinyRun() {
  folder.file("manifest.csv",
              "sample,image,counts,spots,mpp,patient,split\nA,A.png,A.tsv,A_spots.tsv,,p,train\nB,B.png,B.tsv,B_spots.tsv,,q,train\n"
              "C,C.png,C.tsv,C_spots.tsv,,r,test\n");
  for (uint32_t s = 0; s < 3; s++) section(std::string(1, char('A' + int(s))), s);
  const SafeTensors vit("tests/fixtures/vit_plain.safetensors");
  std::vector<OutTensor> tensors;
  std::vector<std::unique_ptr<Array>> values;
  for (const StoredTensor& t : vit.tensors()) {
    Shape shape;
    for (int64_t n : t.shape) shape.n[shape.rank++] = n;
    values.push_back(std::make_unique<Array>(shape, DType::f32));
    vit.read_into(t.name, *values.back());
    tensors.emplace_back(t.name, *values.back());
  }
  auto metadata = vit.metadata();
  metadata.erase("sha256");
  metadata["microns"] = "200";  // from spot to spot: kPitch pixels
  write_safetensors(path("encoder.safetensors"), std::move(tensors), metadata);
}

std::vector<std::string> TinyRun::words(const std::string& run, const std::vector<std::string>& more) const {
  std::vector<std::string> w{"train",
                             "--data",
                             path("manifest.csv"),
                             "--encoder",
                             path("encoder.safetensors"),
                             "--cache-dir",
                             path("cache"),
                             "--save-dir",
                             path(run),
                             "--genes",
                             "6",
                             "--epochs",
                             "12",
                             "--members",
                             "2",
                             "--batch-size",
                             "2",
                             "--n-layers",
                             "1",
                             "--hidden-dim",
                             "8",
                             "--n-heads",
                             "2",
                             "--samples",
                             "4",
                             "--quiet",
                             "--save-every",
                             "5"};
  w.insert(w.end(), more.begin(), more.end());
  return w;
}

std::vector<std::string> TinyRun::predict(const std::string& run, const std::string& out) const {
  folder.file("c.csv", "sample,image,counts,spots,mpp\nC,C.png,C.tsv,C_spots.tsv,\n");
  return {"predict",     path("c.csv"), "--model", path(run), "--encoder", path("encoder.safetensors"),
          "--cache-dir", path("cache"), "--out",   path(out), "--quiet"};
}

void TinyRun::section(const std::string& name, uint32_t s) const {
  Image image{(kAcross + 1) * kPitch, (kDown + 1) * kPitch,
              std::vector<uint8_t>(size_t((kAcross + 1) * (kDown + 1) * kPitch * kPitch * 3))};
  std::string counts, spots = "x\ty\tpixel_x\tpixel_y\tselected\n";
  for (int g = 0; g < 10; g++) counts += "\tG" + std::to_string(g);
  counts += "\n";
  for (int y = 1; y <= kDown; y++)
    for (int x = 1; x <= kAcross; x++) {
      const RandomKey key(s + 1, Stream::item, uint32_t(x), uint32_t(y));
      const Philox4 r = key.draw(0), noise = key.draw(1);
      for (int v = y * kPitch - kPitch / 2; v < y * kPitch + kPitch / 2; v++)
        for (int u = x * kPitch - kPitch / 2; u < x * kPitch + kPitch / 2; u++)
          for (size_t c = 0; c < 3; c++)
            image.rgb[(size_t(v) * size_t(image.width) + size_t(u)) * 3 + c] = uint8_t(r.v[c] % 200 + uint32_t(u * v % 20));
      const std::string id = std::to_string(x) + "x" + std::to_string(y);
      counts += id;
      for (uint32_t g = 0; g < 10; g++)
        counts += "\t" + std::to_string(int(double(r.v[g % 3] % 200) * (0.2 + 0.1 * g)) + int((noise.v[g % 4] >> g) % 8));
      counts += "\n";
      spots +=
          std::to_string(x) + "\t" + std::to_string(y) + "\t" + std::to_string(x * kPitch) + "\t" + std::to_string(y * kPitch) + "\t1\n";
    }
  write_png(path(name + ".png"), image);
  folder.file(name + ".tsv", counts);
  folder.file(name + "_spots.tsv", spots);
}

std::vector<std::string> results(const std::string& run) {
  return {read_file(run + "/model.safetensors"), read_file(run + "/predictions/C.csv"), read_file(run + "/metrics.jsonl"),
          read_file(run + "/config.json")};
}

void check_whole(const std::string& run) {
  std::error_code error;
  for (const auto& entry : fs::recursive_directory_iterator(run, error)) {
    const std::string path = entry.path().string(), kind = entry.path().extension().string();
    CAPTURE(path);
    if (kind == ".safetensors") SafeTensors(path).verify();
    if (kind == ".json") CHECK(nlohmann::json::accept(read_file(path)));
    if (kind == ".csv") {
      const std::string text = read_file(path);
      CHECK(std::count(text.begin(), text.end(), '\n') == kAcross * kDown + 1);
      CHECK(text.ends_with("\n"));
    }
    if (kind == ".png") CHECK(read_file(path).ends_with("IEND\xae\x42\x60\x82"));
  }
}

bool has_checkpoint(const std::string& run) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(run + "/checkpoints", error))
    if (entry.path().extension() == ".safetensors") return true;
  return false;
}

double seconds_of(const std::function<void()>& run) {
  const auto before = std::chrono::steady_clock::now();
  run();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - before).count();
}

}  // namespace stflow::test
