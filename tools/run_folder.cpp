#include "tools/run_folder.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <vector>

#include "engine/file.h"
#include "engine/text.h"
#include "tools/terminal.h"

namespace stflow {
namespace {

namespace fs = std::filesystem;
constexpr const char* kRuns = "runs";

int last_number() {
  int last = 0;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(kRuns, error)) {
    const auto number = parse_integer(entry.path().filename().string());
    if (number && *number < 1'000'000'000) last = std::max(last, int(*number));
  }
  return last;
}

// checkpoint-<stage>-<step>.safetensors, the newest first.
std::vector<std::string> checkpoints(const std::string& folder) {
  std::vector<std::string> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder + "/checkpoints", error))
    if (entry.path().extension() == ".safetensors") found.push_back(entry.path().string());
  std::sort(found.rbegin(), found.rend());
  return found;
}

}  // namespace

RunFolder RunFolder::create(std::string path, bool overwrite) {
  if (path.empty()) path = std::string(kRuns) + "/" + std::to_string(last_number() + 1);
  std::error_code error;
  if (fs::exists(path, error) && !fs::is_empty(path, error)) {
    if (!overwrite)
      fail(Exit::create, "{}: exists and is not empty, expected a new folder; pass --overwrite, or --resume to continue it", path);
    for (const char* old : {"metrics.jsonl", "model.safetensors", "summary.json", "config.json", "checkpoints", "predictions", "maps"})
      fs::remove_all(path + "/" + old, error);
  }
  make_output_folder(path);
  make_output_folder(path + "/checkpoints");
  return RunFolder(path);
}

RunFolder RunFolder::open(std::string path) {
  if (path.empty()) {
    if (last_number() == 0) fail(Exit::missing, "{}: no run to resume, expected one; pass --save-dir", kRuns);
    path = std::string(kRuns) + "/" + std::to_string(last_number());
  }
  if (!fs::exists(path + "/checkpoints") && !fs::exists(path + "/model.safetensors"))
    fail(Exit::missing, "{}: holds no run, expected one to resume", path);
  make_output_folder(path + "/checkpoints");
  return RunFolder(path);
}

RunFolder::~RunFolder() {
  if (metrics_) std::fclose(metrics_);
}

bool RunFolder::finished() const { return fs::exists(file("model.safetensors")); }

void RunFolder::metric(const std::string& line) {
  if (!metrics_) metrics_ = std::fopen(file("metrics.jsonl").c_str(), "a");
  if (!metrics_ || std::fprintf(metrics_, "%s\n", line.c_str()) < 0) fail(Exit::io, "{}: {}", file("metrics.jsonl"), std::strerror(errno));
}

void RunFolder::flush() {
  if (metrics_ && (std::fflush(metrics_) != 0 || fsync(fileno(metrics_)) != 0))
    fail(Exit::io, "{}: {}", file("metrics.jsonl"), std::strerror(errno));
}

void RunFolder::checkpoint(const Fit& fit) {
  flush();
  fit.save(fmt::format("{}/checkpoints/checkpoint-{:04}-{:09}.safetensors", path_, fit.stage(), fit.steps_in_stage()));
  const std::vector<std::string> all = checkpoints(path_);
  std::error_code error;
  for (size_t i = 2; i < all.size(); i++) fs::remove(all[i], error);
}

void RunFolder::resume(Fit& fit) {
  for (const std::string& path : checkpoints(path_)) {
    try {
      fit.load(path);
      terminal::info("resuming from {}", path);
      break;
    } catch (const DamagedFile& e) {
      terminal::warn("{}; using the checkpoint before it", e.what());
    }
  }
  const int64_t seen = int64_t(fit.stage()) * fit.steps_per_stage() + fit.steps_in_stage();
  std::error_code error;
  const std::string path = file("metrics.jsonl");
  if (!fs::exists(path, error)) return;
  const std::string text = read_text(path);
  std::string kept;
  int64_t steps = 0;
  for (size_t at = 0, end = 0; (end = text.find('\n', at)) != std::string::npos; at = end + 1) {
    const std::string line = text.substr(at, end - at + 1);
    if (line.find("\"step\"") != std::string::npos && ++steps > seen) break;
    kept += line;
  }
  write_atomic(path, kept);
}

void RunFolder::clean() {
  std::error_code error;
  fs::remove_all(file("checkpoints"), error);
}

}  // namespace stflow
