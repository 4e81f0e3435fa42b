// The command as its users see it: exit codes, one line per error, stdout and stderr kept apart.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "engine/cuda/memory.h"
#include "engine/version.h"
#include "tests/run.h"

using namespace stflow::test;

TEST_CASE("command: overview, help and version go to stdout with code 0") {
  for (const auto& args : std::vector<std::vector<std::string>>{
           {"--help"}, {"-h"}, {"help"}, {"help", "doctor"}, {"doctor", "--help"}, {"doctor", "--nonsense", "-h"}, {"--version"}}) {
    const Ran r = run_stflow(args);
    CHECK(r.code == 0);
    CHECK(r.err.empty());
    CHECK(r.out.size() > 50);
  }
  CHECK(run_stflow({"--version"}).out.starts_with(std::string("stflow ") + stflow::kVersion + "\n"));
  CHECK(run_stflow({"doctor", "--help"}).out.find("Example:\n  stflow doctor --json\n") != std::string::npos);
  const Ran none = run_stflow({});
  CHECK(none.code == 64);
  CHECK(none.out.empty());
}

TEST_CASE("command: each mistake is one line and its exit code") {
  struct Case {
    std::vector<std::string> args;
    int code;
    std::string line;
  };
  for (const auto& c : std::vector<Case>{
           {{"docotr"}, 64, "'docotr': no such command; the nearest is 'doctor' (see 'stflow --help')"},
           {{"doctor", "--theads", "2"},
            64,
            "--theads: no such flag of 'stflow doctor'; the nearest is --threads (see 'stflow doctor --help')"},
           {{"doctor", "--threads", "two"}, 64, "--threads: found 'two', expected a whole number from 0 to 4096"},
           {{"doctor", "--config", "/nonexistent"}, 66, "/nonexistent: No such file or directory, expected a configuration file"},
           {{"doctor", "--log-file", "/nonexistent/log"},
            73,
            "--log-file: /nonexistent/log: No such file or directory, expected a file that can be written"},
           {{"doctor", "--device", "tpu"}, 64, "--device: found 'tpu', expected auto, cpu, cuda or cuda:N"},
           {{"doctor", "--device", "cuda:-1"}, 64, "--device: found 'cuda:-1', expected auto, cpu, cuda or cuda:N"},
           {{"doctor", "a\nb\033[2J"}, 64, "found 'a\\x0ab\\x1b[2J', expected flags only; see 'stflow doctor --help'"},
       }) {
    const Ran r = run_stflow(c.args);
    CHECK(r.code == c.code);
    CHECK(r.err == "stflow: error: " + c.line + "\n");
    CHECK(r.out.empty());
  }
  CHECK(run_stflow({"doctor"}, {"STFLOW_ISA=mmx"}).err == "stflow: error: STFLOW_ISA: found 'mmx', expected plain, avx2 or avx512\n");
}

TEST_CASE("command: a build without CUDA says so when asked for a GPU, and emulates one only when told to") {
  if (!stflow::cuda_is_emulated()) return;
  const std::string golden = "tests/fixtures/denoiser_small.safetensors", no_cuda = "this build has no CUDA; `make CUDA=1` builds it in";
  for (const std::string device : {"cuda", "cuda:0", "cuda:3"}) {
    const Ran r = run_stflow({"verify", "--golden", golden, "--device", device});
    CHECK(r.code == 69);
    CHECK(r.err == "stflow: error: --device: found " + device + ", expected cpu: " + no_cuda + "\n");
    CHECK(r.out.empty());
  }
  const Ran emulated = run_stflow({"verify", "--golden", golden, "--device", "cuda", "--emulate"});
  CHECK(emulated.code == 0);
  CHECK(emulated.out.find("0 beyond 1e-05; worst") != std::string::npos);
  CHECK(emulated.out.ends_with("(float32, cuda, emulated on the CPU)\n"));
  const Ran choice = run_stflow({"doctor", "--json"});
  CHECK(choice.code == 0);
  CHECK(nlohmann::json::parse(choice.out)["device"].get<std::string>().starts_with("cpu (auto: " + no_cuda + "), "));
  CHECK(nlohmann::json::parse(choice.out)["gpus"].empty());
}

TEST_CASE("command: --json is exactly one object on stdout") {
  const Ran r = run_stflow({"doctor", "--json", "--threads", "3"});
  CHECK(r.code == 0);
  CHECK(r.err.empty());
  const auto object = nlohmann::json::parse(r.out);
  CHECK(object["version"] == stflow::kVersion);
  CHECK(object["threads"] == 3);
  CHECK(object["memory_bytes"] > 1000000);
}

TEST_CASE("command: a result that cannot be written is exit 74, not a dead process") {
  const Ran full = run_shell("\"$STFLOW\" doctor > /dev/full");
  CHECK(full.code == 74);
  CHECK(full.err == "stflow: error: stdout: No space left on device, expected to write the result\n");
  CHECK(run_shell("{ sleep 0.2; \"$STFLOW\" doctor; echo code $? >&2; } | true").err.ends_with("code 74\n"));
  CHECK(run_shell("\"$STFLOW\" doctor --json > /dev/full").code == 74);
  CHECK(run_shell("\"$STFLOW\" doctor >&-").code == 74);
}

TEST_CASE("command: colours only where they are wanted") {
  CHECK(run_stflow({"docotr"}, {"FORCE_COLOR=1"}).err.starts_with("\033[31mstflow: error: \033[0m"));
  CHECK(run_stflow({"docotr"}, {"FORCE_COLOR=1", "NO_COLOR=1"}).err.starts_with("stflow: error: "));
}

TEST_CASE("command: --print-config prints a file that --config takes") {
  const Folder folder;
  const Ran r = run_stflow({"doctor", "--threads=2", "--print-config"});
  CHECK(r.code == 0);
  CHECK(r.out.find("threads = 2  # command line\n") != std::string::npos);
  CHECK(run_stflow({"doctor", "--config", folder.write("c.toml", r.out), "--print-config"}).out.find("threads = 2  # " + folder.path()) !=
        std::string::npos);
}
