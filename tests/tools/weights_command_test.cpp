// stflow inspect and stflow convert: what they say and write, and that a hostile file gets nothing done.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "data/weights/open.h"
#include "engine/file.h"
#include "engine/safetensors.h"
#include "model/encoder.h"
#include "model/key_maps.h"
#include "tests/data/weights/builders.h"
#include "tests/files.h"
#include "tests/mutants.h"
#include "tests/run.h"
#include "tools/commands.h"

using namespace stflow;
using namespace stflow::test;

TEST_CASE("inspect: says what a file of weights is") {
  const Ran text = run_stflow({"inspect", "tests/fixtures/torch_lightning.ckpt", "--tensors"});
  CHECK(text.code == 0);
  for (const char* line : {"container      PyTorch zip, 2989 bytes\n", "tensors        2, 8 parameters\n", "elements       4 F16, 4 F32\n",
                           "note           left aside 'optimizer_states': 2 tensors\n", "F16   (4)                  model.norm.bias\n"})
    CHECK(text.out.find(line) != std::string::npos);
  CHECK(text.out.find("problem") != std::string::npos);
  const Ran json = run_stflow({"inspect", "tests/fixtures/vit_plain.safetensors", "--json", "--sha256", "--tensors"});
  CHECK(json.code == 0);
  const auto j = nlohmann::json::parse(json.out);
  CHECK(j["container"] == "safetensors");
  CHECK(j["parameters"] == 48144);
  CHECK(j["metadata"]["num_heads"] == "3");
  CHECK(j["names"] == "timm");
  CHECK(j["family"] == "vit");
  CHECK(j["features"] == 48);
  CHECK(j["network"]["dim"] == 48);
  CHECK(j["network"]["tokens"] == 17);
  CHECK(j["missing"].empty());
  CHECK(j["surplus"].empty());
  CHECK(j["tensor"]["cls_token"]["dtype"] == "F32");
  CHECK(j["sha256"] == SafeTensors("tests/fixtures/vit_plain.safetensors").sha256());
}

TEST_CASE("convert: any container becomes a safetensors file with the same numbers, in the type that was asked for") {
  const Folder folder;
  const std::string in = "tests/fixtures/torch_types.pth", out = folder.path() + "/out.safetensors";
  const Weights from = open_weights(in);
  for (const std::string dtype : {"keep", "f32", "f16", "bf16"}) {
    CAPTURE(dtype);
    const Ran r = run_stflow({"convert", in, out, "--dtype", dtype, "--as-is", "--overwrite", "--json"});
    REQUIRE(r.code == 0);
    const SafeTensors to(out);
    to.verify();
    CHECK(to.meta("source") == "torch_types.pth");
    CHECK(to.meta("source_container") == "PyTorch zip");
    CHECK(to.meta("source_sha256") == from.sha256());
    CHECK(nlohmann::json::parse(r.out)["metadata"]["source_sha256"] == from.sha256());
    REQUIRE(to.tensors().size() == from.tensors().size());
    for (const StoredTensor& t : from.tensors()) {
      CHECK(to.at(t.name).shape == t.shape);
      CHECK(to.at(t.name).type == (is_float(t.type) && dtype != "keep" ? dtype == "f32"   ? Stored::f32
                                                                         : dtype == "f16" ? Stored::f16
                                                                                          : Stored::bf16
                                                                       : t.type));
      CHECK(to.read<double>(t.name) == from.read<double>(t.name));  // small numbers: exact in every type
    }
  }
  const Ran again = run_stflow({"convert", in, out, "--as-is"});
  CHECK(again.code == 73);
  CHECK(again.err == "stflow: error: " + out + ": exists, expected a new file; pass --overwrite\n");
  const Ran part = run_stflow({"convert", "tests/fixtures/torch_teacher.pth", out, "--part", "teacher", "--as-is", "--overwrite"});
  CHECK(part.code == 0);
  CHECK(SafeTensors(out).read<float>("backbone.w")[0] == -6);
}

TEST_CASE("convert: a checkpoint with foreign names becomes an encoder's file with the same features") {
  const Folder folder;
  const std::string in = folder.path() + "/in", out = folder.path() + "/out.safetensors";
  std::filesystem::create_directory(in);
  std::filesystem::copy_file("tests/fixtures/families/timm_plain.bin", in + "/pytorch_model.bin");
  write_atomic(in + "/config.json", R"({"model_args": {"num_heads": 2}, "global_pool": "token",
    "pretrained_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}})");
  const Ran made = run_stflow({"convert", in, out});
  CHECK(made.err.find("error") == std::string::npos);
  REQUIRE(made.code == 0);
  const SafeTensors to(out);
  CHECK(to.meta("family") == "vit");
  CHECK(to.meta("num_heads") == "2");
  CHECK(to.meta("source_sha256") == open_weights(in).sha256());
  CHECK(key_style(to).name == "canonical");
  Encoder of_file(canonical(to)), of_folder(canonical(open_weights(in)));
  std::vector<uint8_t> rgb(size_t(of_file.size() * of_file.size() * 3));
  for (size_t i = 0; i < rgb.size(); i++) rgb[i] = uint8_t(i * 37 % 251);
  std::vector<float> a(size_t(of_file.dim())), b(size_t(of_folder.dim()));
  of_file.embed(rgb.data(), 1, a.data()), of_folder.embed(rgb.data(), 1, b.data());
  CHECK(a == b);
  const auto j = nlohmann::json::parse(run_stflow({"inspect", in, "--json"}).out);
  CHECK(j["names"] == "timm");
  CHECK(j["features"] == of_folder.dim());
  CHECK(j["missing"].empty());
  const Ran unknown = run_stflow({"convert", "tests/fixtures/torch_types.pth", out, "--overwrite"});
  CHECK(unknown.code == 65);
  const Ran open = run_stflow({"convert", "tests/fixtures/families/timm_plain.bin", out, "--overwrite"});
  CHECK(open.code == 65);
  CHECK(open.err.find("convert --preset") != std::string::npos);
}

TEST_CASE("bad input: weights that a half cannot hold, a damaged record, a type that cannot be read") {
  const TempFolder folder;
  std::vector<float> big{1, 70000};
  write_safetensors(folder.path("big"), {{"w", view(big.data(), {2})}});
  auto refused = [&](const std::string& file, const std::vector<std::string>& more, const std::string& line) {
    std::vector<std::string> words{"convert", folder.path(file), folder.path("out"), "--as-is"};
    words.insert(words.end(), more.begin(), more.end());
    const Ran r = run_stflow(words);
    CHECK(r.code == 65);
    CHECK(r.err == "stflow: error: " + folder.path(file) + ": " + line + "\n");
    CHECK_FALSE(std::filesystem::exists(folder.path("out")));
  };
  refused("big", {"--dtype", "f16"}, "tensor 'w': element 1 is 70000, expected at most 65504 for f16: choose bf16");
  std::string damaged = torch_zip(pickled(dict({{"w", tensor(storage("0", "Float", 2), 0, {2}, {1})}})), {"abcdefgh"});
  damaged[damaged.find("abcdefgh")] ^= 1;
  folder.file("damaged", damaged);
  refused("damaged", {}, "'a/data/0': CRC 62452ace, expected aeef2a50: the file is damaged");
  const std::string header = R"({"w":{"dtype":"F8_E5M2","shape":[2],"data_offsets":[0,2]}})";
  folder.file("f8", little(header.size(), 8) + header + "ab");
  refused("f8", {}, "tensor 'w': numbers of type F8_E5M2, expected floats of at least 16 bits");
}

namespace {

/// The largest resident set of this process, in bytes.
int64_t peak() {
  rusage use{};
  getrusage(RUSAGE_SELF, &use);
  return int64_t(use.ru_maxrss) * 1024;
}

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kMeasured = false;  // the sanitizer's own memory
#else
constexpr bool kMeasured = true;
#endif

/// Runs `stflow inspect` on each file in one child: 0 if all ended with 0, 65 or 66, one line of error each, in bounded time and memory.
int inspect_all(size_t files, const std::function<std::string(size_t)>& file, int64_t size) {
  return in_child([&] {
    dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDOUT_FILENO);
    const int64_t before = peak();
    for (size_t i = 0; i < files; i++) {
      const itimerval limit{{0, 0}, {kMeasured ? 5 : 60, 0}};  // of its own time, on a machine that may do other things
      setitimer(ITIMER_PROF, &limit, nullptr);
      try {
        if (inspect({file(i), "--tensors"}) != 0) return 1;
      } catch (const Error& e) {
        const std::string line = e.what();
        if (e.code() != Exit::data && e.code() != Exit::missing) return 2;
        if (line.empty() || line.find('\n') != std::string::npos) return 3;
      }
    }
    return kMeasured && peak() - before > (int64_t{64} << 20) + 2 * size ? 4 : 0;
  });
}

}  // namespace

TEST_CASE("fuzz: stflow inspect on 10,000 mutants") {
  const TempFolder folder;
  const std::string index = R"({"weight_map": {"w": "w.safetensors", "v": "w.safetensors"}, "metadata": {"total_size": 8}})";
  std::vector<float> w{1, 2};
  write_safetensors(folder.path("w.safetensors"), {{"w", view(w.data(), {2})}, {"v", view(w.data(), {1})}});
  for (const std::string& whole : {read_text("tests/fixtures/torch_types.pth"), read_text("tests/fixtures/torch_legacy.pth"),
                                   read_text(folder.path("w.safetensors")), index}) {
    CHECK(inspect_all(
              1, [&](size_t) { return folder.file("file", whole); }, int64_t(whole.size())) == 0);
    CHECK(inspect_all(
              2500, [&](size_t i) { return folder.file("file", mutant(whole, uint32_t(i))); }, int64_t(whole.size())) == 0);
  }
}

TEST_CASE("bad input: small files that would unfold to much memory are refused in little") {
  const TempFolder folder;
  const std::string w = tensor(storage("0", "Float", 6), 0, {6}, {1});
  std::string laughs = "]Na";
  for (int i = 0; i < 60; i++) laughs = "](" + laughs + "2e";
  std::string keys = "{";
  for (int i = 0; i < 400'000; i++) keys += fmt::format("{}\"{:06}\":{{}}", i ? "," : "", i);
  const std::string name(900, 'x');
  for (const std::string& bomb :
       {torch_zip(pickled(std::string(3'000'000, '}'))), torch_zip(pickled(laughs)),
        torch_zip(pickled("(N" + std::string(5'000'000, '2') + "l")),
        torch_zip(pickled("}(" + text(name) + "](" + w + "q\x01" + std::string(30'000, '2') + "eu"), {std::string(24, 'x')}),
        torch_zip(pickled(text(name) + "q\x01" + text(name) + "q\x02" +
                          [] {
                            std::string s;
                            for (int i = 0; i < 300'000; i++) s += "h\x01h\x02\x93)R0";
                            return s;
                          }() +
                          "N")),
        keys + "}", "{\"weight_map\": " + keys + "}}", little(keys.size() + 1, 8) + keys + "}", std::string(2'000'000, '['),
        little(99'999'999, 8) + "{\"a\":"}) {
    CAPTURE(bomb.substr(0, 40));
    CHECK(inspect_all(
              1, [&](size_t) { return folder.file("file", bomb); }, int64_t(bomb.size())) == 0);
  }
}

TEST_CASE("weights: a hostile pickle runs nothing and opens nothing, as strace sees it") {
  const TempFolder folder;
  const std::string mark = folder.path("mark"), tool = "strace -f -e trace=file,process,network -o " + folder.path("log") + " ";
  if (run_shell(tool + "true").code != 0) {
    MESSAGE("strace cannot run here: nothing shown");
    return;
  }
  const std::string command = text("touch " + mark), w = tensor(storage("0", "Float", 2), 0, {2}, {1});
  auto with = [&](const std::string& hostile) { return pickled("}(" + text("x") + hostile + text("w") + w + "u"); };
  const std::string legacy_file =
      legacy("}(" + text("x") + call(global("os", "system"), {command}) + text("w") + w + "u", {"0"}, little(2, 8) + "abcdefgh");
  const std::string storages = "abcdefgh";
  for (const std::string& bytes :
       {torch_zip(with(call(global("os", "system"), {command})), {storages}),
        torch_zip(with(call(text("os") + text("system") + "\x93", {command})), {storages}),
        torch_zip(with(call(global("builtins", "exec"), {text("open('" + mark + "', 'w')")})), {storages}),
        torch_zip(with("(ios\nsystem\n" + std::string("0N")), {storages}),
        torch_zip(with("(" + global("os", "system") + command + "o"), {storages}),
        torch_zip(with(global("os", "system") + tuple({command}) + "\x81" + command + "b"), {storages}),
        zip({{"../../x/data.pkl", with("N")}, {"../../x/data/0", storages}, {"../" + mark, "x"}, {mark, "x"}}), legacy_file}) {
    const std::string file = folder.file("hostile.pth", bytes);
    const Ran r = run_shell(tool + "$STFLOW inspect " + file);
    CAPTURE(r.err);
    CAPTURE(r.code);
    CHECK(r.code <= 65);
    CHECK_FALSE(std::filesystem::exists(mark));
    const std::string log = read_file(folder.path("log"));
    size_t opened = log.find("\"" + file + "\", O_RDONLY|O_CLOEXEC) =");
    REQUIRE(opened != std::string::npos);
    // What is written, run, made, removed or sent anywhere; and what else is opened once the file is.
    for (const char* never :
         {"O_WRONLY", "O_RDWR", "O_CREAT", "fork(", "unlink", "rename", "mkdir", "symlink", "chmod", "socket(", "connect("})
      CHECK(log.find(never) == std::string::npos);
    CHECK(log.find("execve(") == log.rfind("execve("));
    const std::string again = "\"" + file + "\", O_RDONLY";
    for (size_t at = log.find(", O_RDONLY", opened); at != std::string::npos; at = log.find(", O_RDONLY", at + 1))
      CHECK(log.substr(at + 10 - again.size(), again.size()) == again);
  }
}
