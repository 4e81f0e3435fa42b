// stflow doctor: what this machine offers, and whether the model computes on it what it should.
#include <sys/utsname.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "engine/cuda/devices.h"
#include "engine/device.h"
#include "engine/threads.h"
#include "engine/version.h"
#include "model/golden.h"
#include "ops/cuda/cudnn_attention.h"
#include "tools/commands.h"
#include "tools/device_flag.h"
#include "tools/features.h"
#include "tools/json_out.h"

namespace stflow {
namespace {

// The text after "key:" in a /proc file, without leading blanks; empty when there is none.
std::string proc_line(const char* path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(key)) continue;
    const size_t at = line.find_first_not_of(" \t:", key.size());
    return at == std::string::npos ? "" : line.substr(at);
  }
  return "";
}

constexpr double kTolerance = 1e-5;

// The golden file that comes with stflow, recomputed on the device.
struct SelfTest {
  std::string file;
  bool run = false, passed = true;
  GoldenLine worst;  // the largest relative error of all quantities

  explicit SelfTest(const Context& context) : file(shipped("tests/fixtures/denoiser_small.safetensors")) {
    if (!std::filesystem::exists(file)) return;  // a program copied away from its data
    run = true;
    for (const GoldenLine& l : check_golden(SafeTensors(file), DType::f32, context))
      if (!(l.error <= worst.error)) worst = l;
    passed = worst.error <= kTolerance;
  }
  [[nodiscard]] JsonOut json() const {
    if (!run) return nullptr;
    return {{"worst", worst.error}, {"quantity", worst.name}, {"tolerance", kTolerance}, {"passed", passed}};
  }
  [[nodiscard]] std::string text() const {
    if (!run) return "not run: no " + file;
    return fmt::format("{}: worst relative error {:.1e} ({}), expected at most {:g}", passed ? "passed" : "FAILED", worst.error, worst.name,
                       kTolerance);
  }
};

JsonOut json_of(const CudaDevice& d) {
  return {{"name", d.name},
          {"compute_capability", fmt::format("{}.{}", d.major, d.minor)},
          {"multiprocessors", d.multiprocessors},
          {"memory_bytes", d.total},
          {"free_bytes", d.free}};
}

}  // namespace

int doctor(const Args& args) {
  DeviceFlag device_flag;
  Options o("doctor", "Tells what this machine offers to stflow, and tests the model on the device.", "stflow doctor --json");
  declare_device(o, device_flag);
  if (!o.parse(args)) return 0;

  utsname system{};
  uname(&system);
  const auto memory = uint64_t(sysconf(_SC_PHYS_PAGES)) * uint64_t(sysconf(_SC_PAGESIZE));
  std::string cpu = proc_line("/proc/cpuinfo", "model name");
  if (cpu.empty()) cpu = system.machine;
  const ChosenDevice device = choose_device(device_flag);
  std::string why_none;
  const std::vector<CudaDevice> gpus = cuda_devices(why_none);
  const SelfTest self_test(device.context);
  JsonOut out{{"version", kVersion},
              {"system", fmt::format("{} {} {}", system.sysname, system.release, system.machine)},
              {"cpu", cpu},
              {"instruction_set", name_of(best_isa())},
              {"threads", thread_count()},
              {"memory_bytes", memory},
              {"device", device.text},
              {"gpus", JsonOut::array()},
              {"self_test", self_test.json()}};
  for (const CudaDevice& d : gpus) out["gpus"].push_back(json_of(d));
  for (const auto& [library, version] : cuda_versions()) out["versions"][library] = version;
  if (device.context.device == Device::cuda) out["attention_in_bf16"] = half_attention_by();
  if (terminal::settings().json) {
    print_json(out);
    return self_test.passed ? 0 : int(Exit::mismatch);
  }
  std::string text;
  auto row = [&](const std::string& what, const std::string& is) { text += fmt::format("{:<17} {}\n", what, is); };
  row("stflow", kVersion);
  row("system", out["system"]);
  row("cpu", cpu);
  row("instruction set", name_of(best_isa()));
  row("threads", std::to_string(thread_count()));
  row("memory", terminal::bytes(memory));
  for (size_t i = 0; i < gpus.size(); i++) row(fmt::format("GPU {}", i), text_of(gpus[i]));
  if (gpus.empty()) row("GPUs", "none: " + why_none);
  for (const auto& [library, version] : cuda_versions()) row(library, version);
  row("device", device.text);
  if (out.contains("attention_in_bf16")) row("bf16 attention", out["attention_in_bf16"]);
  row("self-test", self_test.text());
  terminal::result(text);
  return self_test.passed ? 0 : int(Exit::mismatch);
}

}  // namespace stflow
