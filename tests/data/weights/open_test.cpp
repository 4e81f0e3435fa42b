// What is opened besides one file: folders, weights in several files, Hugging Face's cache, config.json; and how little opening costs.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <optional>

#include "data/weights/hub_cache.h"
#include "data/weights/open.h"
#include "engine/safetensors.h"
#include "tests/data/weights/builders.h"
#include "tests/files.h"
#include "tools/encoder/source.h"

using namespace stflow;
using namespace stflow::test;

namespace {

void write_two(const std::string& path, const std::string& first, const std::string& second) {
  std::vector<float> a{1, 2}, b{3};
  std::vector<OutTensor> tensors{{first, view(a.data(), {2})}};
  if (!second.empty()) tensors.emplace_back(second, view(b.data(), {1}));
  write_safetensors(path, tensors);
}

using Settings = std::vector<std::pair<std::string, std::string>>;

/// Sets environment variables and puts the old ones back.
class Environment {
 public:
  explicit Environment(const Settings& wanted) {
    for (const auto& [name, value] : wanted) {
      const char* old = std::getenv(name.c_str());
      old_.emplace_back(name, old ? std::optional<std::string>(old) : std::nullopt);
      if (value.empty()) unsetenv(name.c_str());
      else setenv(name.c_str(), value.c_str(), 1);
    }
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;
  ~Environment() {
    for (const auto& [name, value] : old_) {
      if (value) setenv(name.c_str(), value->c_str(), 1);
      else unsetenv(name.c_str());
    }
  }

 private:
  std::vector<std::pair<std::string, std::optional<std::string>>> old_;
};

Settings no_hub() {
  return {{"HF_HUB_CACHE", ""}, {"HUGGINGFACE_HUB_CACHE", ""}, {"HF_HOME", ""}, {"XDG_CACHE_HOME", ""}, {"HOME", "/home/someone"}};
}

}  // namespace

TEST_CASE("weights: several files with an index are one") {
  const TempFolder folder;
  write_two(folder.path("1.safetensors"), "a", "b");
  write_two(folder.path("2.safetensors"), "c", "");
  const std::string index = folder.file("model.safetensors.index.json", R"({"metadata": {"total_size": 20},
    "weight_map": {"a": "1.safetensors", "b": "1.safetensors", "c": "2.safetensors"}})");
  folder.file("config.json", R"({"num_attention_heads": 16, "model_type": "dinov2", "use_swiglu_ffn": true, "none": null,
    "pretrained_cfg": {"mean": [0.5, 0.25, 1]}, "layers": [{"x": 1}]})");
  for (const std::string& path : {index, folder.path()}) {
    const Weights w = open_weights(path);
    CHECK(w.container() == "safetensors in 2 files");
    CHECK(w.tensors().size() == 3);
    CHECK(w.read<float>("b") == std::vector<float>{3});
    CHECK(w.read<float>("c") == std::vector<float>{1, 2});
    CHECK(w.meta("config.num_attention_heads") == "16");
    CHECK(w.meta("config.model_type") == "dinov2");
    CHECK(w.meta("config.use_swiglu_ffn") == "true");
    CHECK(w.meta("config.pretrained_cfg.mean") == "0.5,0.25,1");
    CHECK(w.metadata().count("config.none") + w.metadata().count("config.layers") == 0);
    CHECK(w.sha256().size() == 64);
  }
  CHECK(open_weights(folder.path("2.safetensors")).sha256() != open_weights(index).sha256());
}

TEST_CASE("bad input: an index of weights in several files, one file per rule") {
  const TempFolder folder;
  write_two(folder.path("1.safetensors"), "a", "b");
  auto bad = [&](const std::string& json, const std::string& line, Exit code = Exit::data) {
    refuses(code, line, folder.file("index.json", json), [&] { open_weights(folder.path("index.json")); });
  };
  bad("{}", "{}: JSON without 'weight_map', expected the index of weights in several files");
  bad(R"({"weight_map": []})", "{}: JSON without 'weight_map', expected the index of weights in several files");
  bad(R"({"weight_map": {"a": 1}})", "{}: weight_map: 'a' is no text, expected a file's name");
  for (const std::string name : {"../1.safetensors", "/etc/passwd", "..", "x\\\\y"})
    bad(R"({"weight_map": {"a": ")" + name + "\"}}",
        "{}: weight_map: '" + (name == "x\\\\y" ? std::string("x\\y") : name) + "', expected the name of a file beside the index");
  bad(R"({"weight_map": {"a": "1\n.safetensors"}})", "{}: weight_map: '1\\x0a.safetensors', expected the name of a file beside the index");
  bad(R"({"a\n": 1, "a\n": 2})", "{}: 1:13: key 'a\\x0a' a second time, expected each key once");
  bad(R"({"weight_map": {"a": "1.safetensors", "c": "1.safetensors"}})",
      folder.path("1.safetensors") + ": no tensor 'c', expected it as {} says");
  bad(R"({"weight_map": {"a": "1.safetensors"}})", folder.path("1.safetensors") + ": tensor 'b', expected only those of {}");
  bad(R"({"weight_map": {"a": "2.safetensors"}})", folder.path("2.safetensors") + ": No such file or directory, expected a readable file",
      Exit::missing);
  folder.file("config.json", "{");
  CHECK_THROWS_WITH_AS(open_weights(folder.path("1.safetensors")), doctest::Contains("config.json: 1:"), Error);
}

TEST_CASE("weights: in a folder the file is found, or one is asked for") {
  const TempFolder folder;
  refuses(Exit::missing, "{}: no file of weights, expected model.safetensors or pytorch_model.bin", folder.path(),
          [&] { open_weights(folder.path()); });
  write_two(folder.path("x.pth"), "a", "b");
  CHECK(open_weights(folder.path()).container() == "safetensors");  // told from its content
  write_two(folder.path("y.bin"), "a", "b");
  refuses(Exit::missing, "{}: 2 files of weights (x.pth, y.bin), expected one: name it", folder.path(),
          [&] { open_weights(folder.path()); });
  write_two(folder.path("model.safetensors"), "c", "d");
  CHECK(open_weights(folder.path()).find("c"));
  refuses(Exit::usage, "--part: found 'ema' for {}, expected it for files of torch.save() only", folder.path("y.bin"),
          [&] { open_weights(folder.path("y.bin"), "ema"); });
}

TEST_CASE("weights: Hugging Face's cache is where its own programs look for it") {
  const Environment none(no_hub());
  CHECK(hub_cache() == "/home/someone/.cache/huggingface/hub");
  const Environment cache(Settings{{"XDG_CACHE_HOME", "/c"}});
  CHECK(hub_cache() == "/c/huggingface/hub");
  const Environment home(Settings{{"HF_HOME", "/h"}});
  CHECK(hub_cache() == "/h/hub");
  const Environment old(Settings{{"HUGGINGFACE_HUB_CACHE", "/o"}});
  CHECK(hub_cache() == "/o");
  const Environment hub(Settings{{"HF_HUB_CACHE", "/u"}});
  CHECK(hub_cache() == "/u");
}

TEST_CASE("weights: --encoder NAME finds what was downloaded, or says what to download") {
  const TempFolder folder;
  const Environment hub(Settings{{"HF_HUB_CACHE", folder.path()}});
  const std::string repository = folder.path("models--MahmoodLab--UNI");
  refuses(Exit::missing,
          "{}: no pytorch_model.bin, expected a download: 'huggingface-cli download MahmoodLab/UNI pytorch_model.bin', or pass the file",
          repository, [&] { hub_file("MahmoodLab/UNI", {"pytorch_model.bin"}); });
  CHECK_THROWS_WITH_AS(find_encoder("uni_v1"), doctest::Contains("'huggingface-cli download MahmoodLab/UNI "), Error);
  std::filesystem::create_directories(repository + "/snapshots/abc");
  std::filesystem::create_directories(repository + "/blobs");
  write_two(repository + "/blobs/0", "a", "b");
  std::filesystem::create_symlink("../../blobs/0", repository + "/snapshots/abc/pytorch_model.bin");
  CHECK(find_encoder("uni_v1").path == repository + "/snapshots/abc/pytorch_model.bin");  // the only snapshot
  std::filesystem::create_directories(repository + "/snapshots/def");
  refuses(Exit::missing, "{}/snapshots: abc, def, expected one of them or refs/main", repository, [&] { find_encoder("uni_v1"); });
  std::filesystem::create_directories(repository + "/refs");
  folder.file("models--MahmoodLab--UNI/refs/main", "abc");
  const EncoderSource found = find_encoder("UNI-v1");
  CHECK(found.path == repository + "/snapshots/abc/pytorch_model.bin");
  REQUIRE(found.preset);
  CHECK(found.preset->name == "uni_v1");
  CHECK(open_weights(found.path).find("a"));
  folder.file("models--MahmoodLab--UNI/refs/main", "../../x");
  refuses(Exit::data, "{}/refs/main: '../../x', expected the hash of a snapshot", repository, [&] { find_encoder("uni_v1"); });

  CHECK(find_encoder(folder.path()).preset == nullptr);
  refuses(Exit::missing, "/none/model.bin: no such file, expected a file or folder of weights or the name of an encoder", "",
          [&] { find_encoder("/none/model.bin"); });
  CHECK_THROWS_WITH_AS(find_encoder("uni_v11"), doctest::Contains("uni_v1"), Error);
}

TEST_CASE("weights: a file of 2 GB opens in milliseconds") {
  const TempFolder folder;
  const int64_t elements = int64_t{1} << 29;
  const std::string header = R"({"w":{"dtype":"F32","shape":[536870912],"data_offsets":[0,2147483648]}})";
  const std::string safetensors = folder.file("model.safetensors", little(header.size(), 8) + header);
  std::filesystem::resize_file(safetensors, 8 + header.size() + uint64_t(elements) * 4);
  // A zip with one huge record: its end is written behind a hole.
  const std::string pickle = pickled(dict({{"w", tensor(storage("0", "Float", elements), 0, {elements}, {1})}}));
  const std::string small = zip({{"a/data.pkl", pickle}, {"a/data/0", "data"}}), torch = folder.path("model.pth");
  const size_t data = small.find("data", small.find("a/data/0") + 8), directory = small.find("PK\x01\x02");
  const uint64_t hole = uint64_t(elements) * 4, moved = hole - 4;
  std::string head = small.substr(0, data), tail = small.substr(directory);
  auto resize = [&](std::string& s, size_t at) { s.replace(at, 8, little(hole, 4) + little(hole, 4)); };
  resize(head, data - 8 - 12);               // sizes in the local header, before the name
  resize(tail, tail.find("a/data/0") - 26);  // and in the directory
  tail.replace(tail.size() - 6, 4, little(directory + moved, 4));
  folder.file("model.pth", head);
  std::filesystem::resize_file(torch, data + hole);
  const int fd = ::open(torch.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  REQUIRE(::write(fd, tail.data(), tail.size()) == int64_t(tail.size()));
  ::close(fd);
  for (const std::string& path : {safetensors, torch}) {
    CAPTURE(path);
    const auto start = std::chrono::steady_clock::now();
    const Weights w = open_weights(path);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    CHECK(w.at("w").size == elements);
    CHECK(took.count() < 0.25);  // milliseconds, on a machine that does other things as well
    MESSAGE(path << ": " << took.count() * 1e3 << " ms");
  }
}
