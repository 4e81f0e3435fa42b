// stflow predict and embed on several processes, which share what there is to do: the files of one.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "tests/ranks.h"
#include "tests/tools/tiny_run.h"

using namespace stflow;
namespace fs = std::filesystem;

namespace {

using Words = std::vector<std::string>;

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("predict: ranks share the sections and give the files and the JSON of one") {
  const test::TinyRun data;
  REQUIRE(test::run_stflow(data.words("run", {"--epochs", "1", "--members", "1"})).code == 0);
  data.folder.file("all.csv",
                   "sample,image,counts,spots,mpp\nA,A.png,A.tsv,A_spots.tsv,\nB,B.png,B.tsv,B_spots.tsv,\nC,C.png,C.tsv,C_spots.tsv,\n");
  const auto words = [&](const std::string& out) {
    return Words{"predict",
                 data.path("all.csv"),
                 "--model",
                 data.path("run"),
                 "--format",
                 "csv",
                 "--encoder",
                 data.path("encoder.safetensors"),
                 "--out",
                 data.path(out),
                 "--json",
                 "--cache-dir",
                 data.path("cache"),
                 "--quiet"};
  };
  const test::Ran one = test::run_stflow(words("one"));
  REQUIRE_MESSAGE(one.code == 0, one.err);
  for (int size : {2, 4}) {
    const std::string out = "out" + std::to_string(size);
    const auto ended = test::run_ranks(size, words(out));
    for (const test::Ran& r : ended) CHECK_MESSAGE(r.code == 0, r.err);
    std::string said = ended[0].out;  // the same but for where the files are
    for (size_t at; (at = said.find(data.path(out))) != std::string::npos;) said.replace(at, data.path(out).size(), data.path("one"));
    CHECK(said == one.out);
    CHECK(ended[1].out.empty());
    for (const char* s : {"/A.csv", "/B.csv", "/C.csv"})
      CHECK(test::read_file(data.path(out) + s) == test::read_file(data.path("one") + s));
    CHECK(has(ended[0].err, "1 of 4 ranks have nothing to predict") == (size == 4));
  }
}

TEST_CASE("embed: ranks share the samples and give the files and the JSON of one; a start that is a restart keeps what is finished") {
  const test::TinyRun data;
  const auto words = [&](const std::string& out, const Words& more = {}) {
    Words w{"embed", data.path("manifest.csv"), "--encoder", data.path("encoder.safetensors"), "-o", data.path(out), "--json", "--quiet"};
    w.insert(w.end(), more.begin(), more.end());
    return w;
  };
  const auto files = [&](const std::string& out) {
    Words all;
    for (const char* s : {"/A.h5", "/B.h5", "/C.h5"}) all.push_back(test::read_file(data.path(out) + s));
    return all;
  };
  // The JSON names the files.
  const auto named = [](std::string json, const std::string& from) {
    for (size_t at = 0; (at = json.find(from, at)) != json.npos;) json.replace(at, from.size(), "OUT");
    return json;
  };
  const test::Ran one = test::run_stflow(words("one"));
  REQUIRE_MESSAGE(one.code == 0, one.err);
  for (int size : {2, 4}) {
    const std::string out = "out" + std::to_string(size);
    const auto ended = test::run_ranks(size, words(out));
    for (const test::Ran& r : ended) CHECK_MESSAGE(r.code == 0, r.err);
    CHECK(named(ended[0].out, data.path(out)) == named(one.out, data.path("one")));
    CHECK(ended[1].out.empty());
    CHECK(files(out) == files("one"));
    CHECK(has(ended[0].err, "1 of 4 ranks have nothing to embed") == (size == 4));
  }
  for (const test::Ran& r : test::run_ranks(2, words("out2"))) CHECK((r.code == 73 || r.code == 76));
  fs::remove(data.path("out2/B.h5"));
  for (const test::Ran& r : test::run_ranks(2, words("out2"), {"TORCHELASTIC_RESTART_COUNT=1"})) CHECK_MESSAGE(r.code == 0, r.err);
  CHECK(files("out2") == files("one"));
  Words launched = words("launched");
  const Words launch{"launch", "--nproc-per-node", "2", "--"};
  launched.insert(launched.begin(), launch.begin(), launch.end());
  CHECK(test::run_stflow(launched).code == 0);
  CHECK(files("launched") == files("one"));
  // Ranks that were given something else.
  test::Ranks odd(2, [&](int r) { return r == 1 ? words("odd", {"--layout", "trident"}) : words("odd"); });
  for (const test::Ran& r : odd.all_ended()) {
    CHECK(r.code == 76);
    CHECK_MESSAGE(has(r.err, ": what is to be done: layout: trident, expected layout: hest as on rank 0"), r.err);
  }
}
