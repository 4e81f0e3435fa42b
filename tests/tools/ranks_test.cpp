// stflow train on several processes: the bytes of one, and what the others do when one is lost.
#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "data/embedding_writer.h"
#include "data/embeddings.h"
#include "engine/cuda/memory.h"
#include "engine/distributed/sockets.h"
#include "tests/ranks.h"
#include "tests/tools/tiny_run.h"

using namespace stflow;
namespace fs = std::filesystem;

namespace {

using Words = std::vector<std::string>;

// A run whose steps have five slots: unequal shares at most numbers of ranks.
Words run_of(const test::TinyRun& data, const std::string& run, const Words& more = {}) {
  Words w = data.words(run, {"--batch-size", "5", "--epochs", "20", "--members", "1", "--init-timeout", "30", "--threads", "1"});
  w.insert(w.end(), more.begin(), more.end());
  return w;
}

// Steps that take long enough to be met in the middle of the run.
Words long_run(const test::TinyRun& data, const std::string& run, const Words& more = {}) {
  Words w = run_of(data, run, {"--epochs", "100000", "--save-every", "10"});
  w.insert(w.end(), more.begin(), more.end());
  return w;
}

void wait_for_checkpoint(const std::string& run) {
  const auto end = after(60);
  while (!test::has_checkpoint(run) && Clock::now() < end) ::usleep(5000);
  REQUIRE(test::has_checkpoint(run));
}

std::string name_of(const test::Ranks& ranks, int r) {
  char host[256] = "";
  gethostname(host, sizeof host - 1);
  return fmt::format("rank {} (host {}, pid {})", r, host, ranks.process(r));
}

int lines(const std::string& text) { return int(std::count(text.begin(), text.end(), '\n')); }
bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("slow: ranks: 1, 2, 3, 4 and 7 of them give the same bytes, and continue each other's runs") {
  const test::TinyRun data;
  REQUIRE(test::run_stflow(run_of(data, "one")).code == 0);
  const auto want = test::results(data.path("one"));
  for (int size : {2, 3, 4, 7}) {
    const std::string run = "ranks" + std::to_string(size);
    const auto ended = test::run_ranks(size, run_of(data, run, {"--json"}));
    for (const test::Ran& r : ended) CHECK_MESSAGE(r.code == 0, r.err);
    CHECK(test::results(data.path(run)) == want);
    CHECK(nlohmann::json::accept(ended[0].out));  // one rank tells
    CHECK(ended[1].out.empty());
    CHECK(ended[1].err.empty());
    const bool idle = has(ended[0].err, "2 of 7 ranks have nothing to train on: a step has 5 items");
    CHECK(idle == (size == 7));
  }
  // Stopped on some ranks, continued on others: from 3 to 1 to 4 to 2.
  const Words words = run_of(data, "moved", {"--save-every", "1"});
  for (int size : {3, 1, 4}) {
    Words part = words;
    if (size != 3) part.emplace_back("--resume");
    test::Ranks ranks(size, [&](int) { return part; });
    wait_for_checkpoint(data.path("moved"));
    ::usleep(200000);
    ranks.signal(size - 1, SIGTERM);  // one rank is told, all stop
    for (const test::Ran& r : ranks.all_ended()) CHECK_MESSAGE((r.code == 75 || r.code == 0), r.err);
    if (fs::exists(data.path("moved/model.safetensors"))) break;
  }
  if (!fs::exists(data.path("moved/model.safetensors"))) {
    Words part = words;
    part.emplace_back("--resume");
    for (const test::Ran& r : test::run_ranks(2, part)) CHECK_MESSAGE(r.code == 0, r.err);
  }
  CHECK(test::results(data.path("moved")) == want);
}

TEST_CASE("slow: ranks: kill -9 of any of three ends the others with 76 within 10 s, naming it, and leaves whole files") {
  const test::TinyRun data;
  for (int killed : {0, 1, 2}) {
    const std::string run = "killed" + std::to_string(killed);
    test::Ranks ranks(3, [&](int) { return long_run(data, run); });
    wait_for_checkpoint(data.path(run));
    const std::string name = name_of(ranks, killed);
    const auto at = Clock::now();
    ranks.signal(killed, SIGKILL);
    for (int r = 0; r < 3; r++) {
      const test::Ran end = ranks.ended(r, 15);
      CAPTURE(end.err);
      if (r == killed) continue;
      CHECK(end.code == 76);
      CHECK(has(end.err, name + " died"));
      CHECK(lines(end.err) == 1);
    }
    CHECK(std::chrono::duration<double>(Clock::now() - at).count() < 10);
    test::check_whole(data.path(run));
  }
}

TEST_CASE("slow: ranks: a frozen one is named after --collective-timeout") {
  const test::TinyRun data;
  for (int frozen : {0, 2}) {
    const std::string run = "frozen" + std::to_string(frozen);
    test::Ranks ranks(3, [&](int) { return long_run(data, run, {"--collective-timeout", "2"}); });
    wait_for_checkpoint(data.path(run));
    const std::string name = name_of(ranks, frozen);
    ranks.signal(frozen, SIGSTOP);
    for (int r = 0; r < 3; r++) {
      if (r == frozen) continue;
      const test::Ran end = ranks.ended(r, 20);
      CAPTURE(end.err);
      CHECK(end.code == 76);
      CHECK(has(end.err, name));
      const std::string how = frozen == 0 ? "does not answer" : has(end.err, "is frozen") ? "is frozen" : "did not come to collective ";
      CHECK(has(end.err, name + " " + how));
      CHECK(has(end.err, "for gradients, step "));
    }
    ranks.signal(frozen, SIGCONT);  // and once it wakes, it ends too
    CHECK(ranks.ended(frozen, 15).code == 76);
  }
}

TEST_CASE("slow: ranks: a stop signal to any rank stops all at the same step with one checkpoint") {
  const test::TinyRun data;
  int number = 0;
  for (int told : {0, 1, 2}) {
    const std::string run = "stopped" + std::to_string(number++);
    test::Ranks ranks(3, [&](int) { return long_run(data, run, {"--save-every", "1000000"}); });
    const auto end = after(60);
    while (!fs::exists(data.path(run + "/config.json")) && Clock::now() < end) ::usleep(5000);
    ::usleep(100000);
    ranks.signal(told, told == 1 ? SIGUSR1 : SIGTERM);
    for (const test::Ran& r : ranks.all_ended(20)) {
      CHECK_MESSAGE(r.code == 75, r.err);
      CHECK(r.err.empty());
    }
    int checkpoints = 0;
    for (const auto& entry : fs::directory_iterator(data.path(run + "/checkpoints"))) checkpoints += entry.is_regular_file();
    CHECK(checkpoints == 1);
    test::check_whole(data.path(run));
  }
}

TEST_CASE("bad input: ranks with another configuration, other data, another program or an error of their own are named by all") {
  const test::TinyRun data;
  data.folder.file("other.csv",
                   "sample,image,counts,spots,mpp,patient,split\nA,A.png,A.tsv,A_spots.tsv,,p,train\n"
                   "B,B.png,B.tsv,B_spots.tsv,,q,train\nC,C.png,C.tsv,C_spots.tsv,,r,test\n");
  fs::copy(data.path("A.tsv"), data.path("A2.tsv"));
  data.folder.file("changed.csv",
                   "sample,image,counts,spots,mpp,patient,split\nA,A.png,B.tsv,A_spots.tsv,,p,train\n"
                   "B,B.png,B.tsv,B_spots.tsv,,q,train\nC,C.png,C.tsv,C_spots.tsv,,r,test\n");
  struct Case {
    Words odd;
    int code;
    std::string line;
  };
  for (const Case& c :
       std::vector<Case>{{{"--lr", "0.5"}, 76, ": configuration: \"lr\": 0.5,, expected \"lr\": 0.002, as on ranks 0 and 2"},
                         {{"--save-every", "7"}, 76, ": configuration: save-every: 7, expected save-every: 5 as on ranks 0 and 2"},
                         {{"--data", data.path("changed.csv")}, 76, ": data: A: train, 48 spots of 10 genes, counts "},
                         {{"--data", data.path("none.csv")}, 66, " failed: " + data.path("none.csv")}}) {
    test::Ranks ranks(3, [&](int r) { return run_of(data, "odd", r == 1 ? c.odd : Words{}); });
    const std::string name = name_of(ranks, 1);
    for (int r = 0; r < 3; r++) {
      const test::Ran end = ranks.ended(r, 20);
      CAPTURE(end.err);
      CHECK(end.code == (r == 1 ? c.code : 76));
      if (r != 1 || c.code == 76) CHECK(has(end.err, name + c.line));
      CHECK(lines(end.err) == 1);
    }
    CHECK(!fs::exists(data.path("odd")));
  }
  // One that is alone on its port.
  test::Ranks one(
      2,
      [&](int) {
        return run_of(data, "odd", {"--init-timeout", "1"});
      },
      {}, 1);
  const test::Ran end = one.ended(0, 20);
  CHECK(end.code == 76);
  CHECK_MESSAGE(has(end.err, "rank 1 not there after 1 s, expected 2 ranks"), end.err);
}

TEST_CASE("bad input: ranks of another build of the program are named by all before anything is read") {
  const test::TinyRun data;
  // The same program with a byte behind its end.
  const test::Ran r = test::run_shell("cp \"$STFLOW\" " + data.path("other") + " && echo >> " + data.path("other") +
                                      " && export WORLD_SIZE=3 MASTER_ADDR=127.0.0.1 MASTER_PORT=" + std::to_string(test::free_port()) +
                                      "; for r in 0 1 2; do program=\"$STFLOW\"; [ $r != 1 ] || program=" + data.path("other") +
                                      "; RANK=$r \"$program\" train --data " + data.path("none.csv") + " > /dev/null 2> " +
                                      data.path("err") + "$r & pids=\"$pids $!\"; done; for p in $pids; do wait $p; echo $?; done");
  CHECK(r.out == "76\n76\n76\n");
  for (const char* rank : {"0", "1", "2"}) {
    const std::string line = test::read_file(data.path("err") + rank);
    CAPTURE(line);
    CHECK(lines(line) == 1);
    CHECK(has(line, "rank 1 (host "));
    CHECK(has(line, ": program: binary "));
    CHECK(has(line, " as on ranks 0 and 2"));
  }
}

TEST_CASE("ranks: a stop signal while they wait for each other ends them at once, and who waits with them hears whom it hit") {
  const test::TinyRun data;
  const Words words = run_of(data, "run", {"--init-timeout", "60"});
  const auto at = Clock::now();
  {
    // Two of three have come; the one that is told says so to the other.
    test::Ranks two(
        3, [&](int) { return words; }, {}, 2);
    ::usleep(700000);
    const std::string name = name_of(two, 1);
    two.signal(1, SIGTERM);
    const test::Ran other = two.ended(0, 20), told = two.ended(1, 20);
    CHECK(told.code == 75);
    CHECK_MESSAGE(has(told.err, "rank 1: stopped by a signal"), told.err);
    CHECK(other.code == 75);
    CHECK_MESSAGE(has(other.err, name + " failed: rank 1: stopped by a signal"), other.err);
  }
  {
    // Rank 0 is not there, so nobody can be told.
    test::Ranks two(3, [&](int r) { return r == 0 ? Words{"--version"} : words; });
    ::usleep(700000);
    for (int r : {1, 2}) two.signal(r, SIGUSR1);
    for (int r : {1, 2}) CHECK(two.ended(r, 20).code == 75);
  }
  CHECK(std::chrono::duration<double>(Clock::now() - at).count() < 20);
  CHECK(!fs::exists(data.path("run")));
}

TEST_CASE("ranks: numbers that are not finite end all ranks alike, with one line that says where they began") {
  const test::TinyRun data;
  REQUIRE(test::run_stflow(
              {"embed", data.path("manifest.csv"), "--encoder", data.path("encoder.safetensors"), "-o", data.path("out"), "--quiet"})
              .code == 0);
  // Section B's features are finite, their products are not.
  const std::string file = data.path("out/B.h5");
  Embeddings e = load_embeddings(file);
  EmbeddingHeader h;
  h.sample = "B", h.names = e.barcodes, h.xy = e.coords, h.dim = e.dim, h.origin = e.origin;
  EmbeddingWriter writer(file, EmbeddingLayout::hest, h);
  for (float& x : e.values) x *= 1e20f;
  for (int64_t i = 0; i < int64_t(e.barcodes.size()); i++) writer.put(i, e.values.data() + i * e.dim);
  writer.commit();
  const std::vector<test::Ran> ended =
      test::run_ranks(3, run_of(data, "run", {"--embeddings", data.path("out"), "--standardize", "none", "--preset", "reference"}));
  for (int r = 0; r < 3; r++) {
    const std::string& line = ended[size_t(r)].err;
    CAPTURE(line);
    CHECK(ended[size_t(r)].code == 65);
    CHECK(lines(line) == 1);
    const size_t words = line.find("train: step ");
    REQUIRE(words != line.npos);
    CHECK(line.substr(words) == ended[0].err.substr(ended[0].err.find("train: step ")));
    CHECK(has(line, fmt::format("rank {}: train: step ", r)));
  }
}

// The same on GPUs: kernels are emulated, NCCL is a stand-in that moves real data (tests/nccl/stub.cpp).
namespace {

Words on_gpu(const test::TinyRun& data, const std::string& run, const Words& more = {}) {
  Words w = data.words(
      run, {"--batch-size", "3", "--epochs", "2", "--samples", "1", "--members", "1", "--threads", "1", "--device", "cuda", "--emulate"});
  w.insert(w.end(), more.begin(), more.end());
  return w;
}

// The encoder is not what is tested: its features are there.
void embed(const test::TinyRun& data) { REQUIRE(test::run_stflow(run_of(data, "embedded", {"--epochs", "1"})).code == 0); }

Words with_stub(const std::string& trouble = "") {
  return {"STFLOW_NCCL=" + (fs::read_symlink("/proc/self/exe").parent_path() / "libnccl_stub.so").string(), "STFLOW_STUB_NCCL=" + trouble};
}

}  // namespace

TEST_CASE("slow: ranks: NCCL's code path gives one rank's bytes in order, its own the same from run to run") {
  if (!cuda_is_emulated()) return;
  const test::TinyRun data;
  embed(data);
  REQUIRE(test::run_stflow(on_gpu(data, "one")).code == 0);
  const auto want = test::results(data.path("one"));
  for (int size : {2, 4}) {
    const std::string run = "ordered" + std::to_string(size);
    for (const test::Ran& r : test::run_ranks(size, on_gpu(data, run, {"--reduce", "ordered"}), with_stub()))
      CHECK_MESSAGE(r.code == 0, r.err);
    CHECK(test::results(data.path(run)) == want);
  }
  for (const char* run : {"fast", "again"})
    for (const test::Ran& r : test::run_ranks(2, on_gpu(data, run), with_stub())) CHECK_MESSAGE(r.code == 0, r.err);
  CHECK(test::results(data.path("fast")) == test::results(data.path("again")));
  // Each part of the gradients exchanged while the others are computed, or all at the end; with four ranks one has no slot.
  for (int size : {2, 4}) {
    const std::string beside = "beside" + std::to_string(size), after = "after" + std::to_string(size);
    for (const test::Ran& r : test::run_ranks(size, on_gpu(data, beside, {"--reduce", "fast", "--check-collectives"}), with_stub()))
      CHECK_MESSAGE(r.code == 0, r.err);
    for (const test::Ran& r : test::run_ranks(size, on_gpu(data, after, {"--reduce", "fast", "--no-overlap"}), with_stub()))
      CHECK_MESSAGE(r.code == 0, r.err);
    CHECK(test::results(data.path(beside)) == test::results(data.path(after)));
  }
  // A graph for each part, or kernel by kernel: by the twelfth epoch each section has come to each slot.
  for (const char* run : {"parts", "parts without"}) {
    Words words = on_gpu(data, run, {"--reduce", "fast", "--epochs", "12"});
    if (std::string(run) != "parts") words.push_back("--no-graph");
    for (const test::Ran& r : test::run_ranks(2, words, with_stub())) CHECK_MESSAGE(r.code == 0, r.err);
  }
  CHECK(test::results(data.path("parts")) == test::results(data.path("parts without")));
  const auto predicted = [&](const std::string& run) { return test::read_file(data.path(run) + "/predictions/C.csv"); };
  CHECK(predicted("fast").size() == predicted("one").size());
}

TEST_CASE("slow: ranks: a hang, an error and a death under NCCL end every rank, and the communicator is aborted") {
  if (!cuda_is_emulated()) return;
  const test::TinyRun data;
  embed(data);
  struct Case {
    std::string trouble, timeout;
    int killed;
    std::string line;
  };
  int number = 0;
  // The fourteenth of NCCL's is the second of the four parts of the second step.
  for (const Case& c : std::vector<Case>{{"hang 1 14", "2", -1, "no end after the time of --collective-timeout"},
                                         {"fail 1 14", "30", -1, " failed: rank 1 in collective "},
                                         {"", "30", 1, " died"}}) {
    const std::string run = "trouble" + std::to_string(number++);
    test::Ranks ranks(
        2,
        [&](int) {
          return on_gpu(data, run, {"--epochs", "100000", "--save-every", "1", "--collective-timeout", c.timeout});
        },
        [&](int) { return with_stub(c.trouble); });
    const std::string name = name_of(ranks, 1);
    if (c.killed >= 0) {
      wait_for_checkpoint(data.path(run));
      ranks.signal(c.killed, SIGKILL);
    }
    const test::Ran lead = ranks.ended(0, 30), other = ranks.ended(1, 30);
    CAPTURE(lead.err);
    CAPTURE(other.err);
    CHECK(lead.code == 76);
    CHECK(has(lead.err, c.line));
    if (c.killed < 0) CHECK(has(other.err, "for gradients 2 of 4, step 2"));
    if (c.killed < 0) CHECK(other.code == 76);
    else CHECK(has(lead.err, name));
    if (c.trouble.starts_with("fail")) CHECK(has(other.err, "NCCL: remote process exited or there was a network error"));
  }
}

TEST_CASE("bad input: ranks on GPUs without NCCL, or with a library that is not NCCL, say so in one line") {
  if (!cuda_is_emulated()) return;
  const test::TinyRun data;
  for (const auto& [library, line] : std::vector<std::pair<std::string, std::string>>{
           {data.path("none.so"), "NCCL: " + data.path("none.so") + ": cannot open shared object file"},
           {"libz.so.1", "NCCL: libz.so.1: no ncclGetVersion, expected version 2.14 or later"}}) {
    for (const test::Ran& r : test::run_ranks(2, on_gpu(data, "run"), {"STFLOW_NCCL=" + library})) {
      CHECK((r.code == 69 || r.code == 76));
      CHECK_MESSAGE(has(r.err, line), r.err);
      CHECK(lines(r.err) == 1);
    }
  }
}
