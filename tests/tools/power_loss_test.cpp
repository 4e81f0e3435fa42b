// What is on the disk after a power loss at any moment of writing: the earlier file or the new one, the newest checkpoint or the one
// before it, always whole; and what was said to be written is there.
#include <doctest/doctest.h>

#include <filesystem>

#include "engine/file.h"
#include "tests/disk.h"
#include "tests/files.h"
#include "tests/model/synthetic.h"
#include "tests/run.h"
#include "tools/run_folder.h"

using namespace stflow;
using test::DiskCall;
using test::Files;

namespace {

constexpr uint32_t kSeeds = 20;

/// The states after a loss of power at each moment of `calls`: how many there are, how many of them hold something that is neither
/// `earlier` nor `later` in "file", and how many at the end do not hold `later`.
struct Losses {
  int states = 0, torn = 0, forgotten = 0;
};

Losses losses(const std::string& earlier, const std::string& later, const std::vector<DiskCall>& calls) {
  Losses l;
  for (size_t done = 0; done <= calls.size(); done++)
    for (uint32_t seed = 0; seed < kSeeds; seed++, l.states++) {
      const Files left = test::after_power_loss({{"file", earlier}}, std::span(calls).first(done), seed);
      const auto found = left.find("file");
      l.torn += found == left.end() || (found->second != earlier && found->second != later);
      l.forgotten += done == calls.size() && (found == left.end() || found->second != later);
    }
  return l;
}

}  // namespace

TEST_CASE("power loss: a file is the earlier or the new one, and the new one once commit() has returned") {
  const test::TempFolder folder;
  const std::string earlier(3000, 'a'), later = std::string(2000, 'b') + std::string(2500, 'c');
  for (uint64_t reserved : {uint64_t(0), uint64_t(later.size()), uint64_t(9000)}) {
    folder.file("file", earlier);
    const test::DiskRecord record(folder.path());
    FileWriter file(folder.path("file"), reserved);
    file.write(later.substr(0, 700));
    file.write(later.substr(700));
    file.commit();
    REQUIRE(test::files_of(folder.path()) == Files{{"file", later}});
    const std::vector<DiskCall>& calls = record.calls();
    REQUIRE(test::after_power_loss({{"file", earlier}}, calls, 0) == Files{{"file", later}});  // the record has everything
    const Losses whole = losses(earlier, later, calls);
    CHECK(whole.states == int(kSeeds) * int(calls.size() + 1));
    CHECK(whole.torn == 0);
    CHECK(whole.forgotten == 0);
    // Guards the test: it notices a flush that is not there.
    std::vector<DiskCall> unflushed = calls, folder_unflushed = calls;
    CHECK(std::erase_if(unflushed, [](const DiskCall& c) { return c.kind == DiskCall::sync; }) == 1);
    CHECK(std::erase_if(folder_unflushed, [](const DiskCall& c) { return c.kind == DiskCall::sync_folder; }) == 1);
    CHECK(losses(earlier, later, unflushed).torn > 0);
    CHECK(losses(earlier, later, folder_unflushed).torn == 0);
    CHECK(losses(earlier, later, folder_unflushed).forgotten > 0);
  }
}

TEST_CASE("power loss: the newest checkpoint or the one before it is there, each whole") {
  const std::vector<Slide> train = test::synthetic_slides({12, 13});
  ModelConfig config = test::small_config();
  config.members = 1;
  const std::vector<std::string> genes{"G1", "G2", "G3", "G4"};
  const test::TempFolder folder;
  RunFolder run = RunFolder::create(folder.path("run"), false);
  Fit fit(config, genes, train, {});
  const std::string checkpoints = run.file("checkpoints");
  Files written;                   // every checkpoint
  std::vector<std::string> names;  // in their order
  std::vector<size_t> returned;    // calls when checkpoint() had returned
  std::vector<DiskCall> calls;
  {
    const test::DiskRecord record(checkpoints);
    for (StepReport r; names.size() < 9;) {
      REQUIRE(fit.step(r));
      run.checkpoint(fit);
      returned.push_back(record.calls().size());
      for (const auto& [name, bytes] : test::files_of(checkpoints))
        if (written.emplace(name, bytes).second) names.push_back(name);
      REQUIRE(names.size() == returned.size());
      Fit again(config, genes, train, {});
      again.load(checkpoints + "/" + names.back());
      CHECK(again.stage() == fit.stage());
      CHECK(again.steps_in_stage() == fit.steps_in_stage());
    }
    calls = record.calls();
  }
  CHECK(std::count_if(calls.begin(), calls.end(), [](const DiskCall& c) { return c.kind == DiskCall::remove; }) == 7);  // two are kept
  int states = 0, torn = 0, partial = 0;
  for (size_t done = 0; done <= calls.size(); done++)
    for (uint32_t seed = 0; seed < kSeeds; seed++, states++) {
      CAPTURE(done);
      CAPTURE(seed);
      const Files left = test::after_power_loss({}, std::span(calls).first(done), seed);
      for (const auto& [name, bytes] : left) {
        if (name.ends_with(".partial")) partial++;
        else torn += bytes != written.at(name);
      }
      const auto safe = size_t(std::upper_bound(returned.begin(), returned.end(), done) - returned.begin());
      if (safe > 0) CHECK((left.contains(names[safe - 1]) || left.contains(names[std::min(safe, names.size() - 1)])));
    }
  CHECK(torn == 0);
  CHECK(states >= 2000);
  CHECK(partial > 0);
}
