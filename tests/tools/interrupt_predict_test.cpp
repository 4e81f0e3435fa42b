// stflow predict as a process that is killed or stopped at any moment: of each file that it writes there is none, the whole one, or the one
// that was there.
#include <doctest/doctest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "engine/random.h"
#include "tests/run.h"
#include "tests/tools/tiny_run.h"

using namespace stflow;
using test::TinyRun;
namespace fs = std::filesystem;

namespace {

using Words = std::vector<std::string>;

/// U(0, 1), the same for the same numbers.
double uniform(uint32_t i, uint32_t j) {
  const Philox4 r = RandomKey(11, Stream::item, i, j).draw(0);
  return open01(r.v[0], r.v[1]);
}

/// A trained tiny model whose features are in the cache.
struct Trained : TinyRun {
  Trained() { REQUIRE(test::run_stflow(words("run", {"--epochs", "1", "--members", "1"})).code == 0); }

  /// The prediction that `end` names, with a map and an overlay beside it; `stem` is what their names begin with.
  [[nodiscard]] Words all(const std::string& stem, const std::string& end) const {
    Words w = predict("run", stem + end);
    w.insert(w.end(), {"--heat-maps", "G5", "--overlay", "G5"});
    return w;
  }
  [[nodiscard]] Words files(const std::string& stem, const std::string& end) const {
    Words paths;
    for (const std::string& e : {end, std::string(".G5.png"), std::string(".G5.ome.tif")}) paths.push_back(path(stem + e));
    return paths;
  }
};

/// Interrupts the prediction `times` times; what is there then must be none, whole, or what was there.
void interrupted(const Trained& data, const std::string& end, uint32_t times, bool at_files,
                 const std::function<int(pid_t, uint32_t)>& interrupt) {
  CAPTURE(end);
  const std::string stem = "whole" + end;
  const double whole = test::seconds_of([&] { REQUIRE(test::run_stflow(data.all(stem, end)).code == 0); });
  Words want;
  for (const std::string& path : data.files(stem, end)) want.push_back(test::read_file(path));
  const Words files = data.files("out", end);
  const std::string earlier = "what was there\n";
  uint32_t died = 0, begun = 0;
  for (uint32_t i = 0; i < times; i++) {
    CAPTURE(i);
    Words words = data.all("out", end);
    const bool replaces = i % 2;
    for (const std::string& path : files) {
      fs::remove(path), fs::remove(path + ".partial");
      if (replaces) data.folder.file(fs::path(path).filename().string(), earlier);
    }
    if (replaces) words.emplace_back("--overwrite");
    const pid_t process = test::start_stflow(words);
    // A quarter at any time, the others as soon as one of the files is begun.
    if (!at_files || i % 4 == 0) usleep(useconds_t(1e6 * whole * uniform(i, 1)));
    else
      for (int polls = 0;
           polls < 100000 && !fs::exists(files[i % 4 - 1] + ".partial") && test::read_file(files[i % 4 - 1]) != want[i % 4 - 1]; polls++)
        usleep(20);
    const int code = interrupt(process, i);
    died += code != 0;
    for (size_t k = 0; k < files.size(); k++) {
      CAPTURE(files[k]);
      const std::string found = test::read_file(files[k]);
      begun += fs::exists(files[k] + ".partial");
      CHECK((found == want[k] || (code != 0 && (replaces ? found == earlier : !fs::exists(files[k])))));
    }
  }
  CHECK(2 * died >= (at_files ? times : 1));  // guards the test
  if (at_files) CHECK(begun > 0);
  // What a killed process left of its own is in nobody's way.
  for (const std::string& path : files) fs::remove(path), data.folder.file(fs::path(path).filename().string() + ".partial", "half");
  CHECK(test::run_stflow(data.all("out", end)).code == 0);
  for (size_t k = 0; k < files.size(); k++) {
    CHECK(test::read_file(files[k]) == want[k]);
    CHECK(!fs::exists(files[k] + ".partial"));
  }
}

}  // namespace

TEST_CASE("predict: killed at any time it leaves no half file of any kind") {
  const Trained data;
  for (const char* end : {".h5ad", ".csv", ".geojson", ".geojson.gz"})
    interrupted(data, end, 12, true, [](pid_t process, uint32_t) {
      kill(process, SIGKILL);
      const int code = test::ended(process);
      CHECK((code == 0 || code == 128 + SIGKILL));
      return code;
    });
}

TEST_CASE("predict: stopped by a signal it ends with 75 and leaves no half file of any kind") {
  const Trained data;
  interrupted(data, ".h5ad", 8, false, [](pid_t process, uint32_t i) {
    test::wait_until_caught(process, SIGTERM);
    kill(process, i % 2 ? SIGTERM : SIGINT);
    const int code = test::ended(process);
    CAPTURE(code);
    CHECK((code == 0 || code == 75));
    return code;
  });
}
