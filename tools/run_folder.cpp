#include "tools/run_folder.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <vector>

#include "engine/file.h"
#include "engine/json.h"
#include "engine/text.h"
#include "tools/terminal.h"

namespace stflow {
namespace {

namespace fs = std::filesystem;
constexpr const char* kRuns = "runs";
constexpr const char* kOwner = "/job";  // of an unfinished run; a finished one has it in summary.json

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

std::string RunFolder::place_of(const std::string& path, bool resume) {
  if (!path.empty()) return path;
  const int last = last_number();
  if (resume && last == 0) fail(Exit::missing, "{}: no run to resume, expected one; pass --save-dir", kRuns);
  return std::string(kRuns) + "/" + std::to_string(resume ? last : last + 1);
}

void RunFolder::check_place(const std::string& given, bool resume, bool overwrite) {
  const std::string path = place_of(given, resume);
  std::error_code error;
  if (resume) {
    if (!fs::exists(path + "/checkpoints", error) && !fs::exists(path + "/model.safetensors", error))
      fail(Exit::missing, "{}: holds no run, expected one to resume", path);
    if (fs::exists(path + "/model.safetensors", error)) fail(Exit::create, "{}: the run is finished, nothing to resume", path);
  } else if (fs::is_directory(path, error) && !fs::is_empty(path, error) && !overwrite) {
    fail(Exit::create, "{}: exists and is not empty, expected a new folder; pass --overwrite, or --resume to continue it", path);
  }
  fs::path there = fs::absolute(path);  // what there is of it
  while (!fs::exists(there, error) && there.has_relative_path()) there = there.parent_path();
  if (!fs::is_directory(there, error)) fail(Exit::create, "{}: a file, expected an output folder", there.string());
  if (::access(there.c_str(), W_OK | X_OK) != 0)
    fail(Exit::create, "{}: {}, expected a folder to write into", there.string(), std::strerror(errno));
  // Root is let in everywhere, also where nothing can be made, as in /proc.
  std::string trial = (there / ".stflow-XXXXXX").string();
  if (!::mkdtemp(trial.data())) fail(Exit::create, "{}: {}, expected a folder to write into", path, std::strerror(errno));
  fs::remove(trial, error);
}

RunFolder::Left RunFolder::left_in(const std::string& given, const std::string& job, bool overwrite) {
  if (given.empty() && last_number() == 0) return Left::nothing;
  const std::string path = place_of(given, true), summary = path + "/summary.json", owner_file = path + kOwner;
  std::error_code error;
  std::string owner;
  const bool finished = fs::exists(path + "/model.safetensors", error);
  if (finished && fs::exists(summary, error)) owner = read_json(summary).value("job", "");
  if (!finished && fs::exists(owner_file, error)) owner = read_text(owner_file);
  const bool unknown = owner.empty() || job.empty();
  if (!unknown && owner != job) return Left::nothing;
  if (finished) return unknown && overwrite ? Left::nothing : Left::finished;
  if (owner.empty() && !job.empty() && overwrite) return Left::nothing;
  return fs::exists(path + "/checkpoints", error) ? Left::unfinished : Left::nothing;
}

// The folder of checkpoints comes first: one without an owner is taken for this job's own if there was nothing to overwrite.
RunFolder::RunFolder(std::string path, const std::string& job) : path_(std::move(path)) {
  make_output_folder(file("checkpoints"));
  if (!job.empty()) write_atomic(path_ + kOwner, job);
}

RunFolder RunFolder::create(std::string path, bool overwrite, const std::string& job) {
  check_place(path, false, overwrite);
  path = place_of(path, false);
  std::error_code error;
  if (fs::exists(path, error)) {
    for (const char* old :
         {"job", "metrics.jsonl", "model.safetensors", "summary.json", "config.json", "checkpoints", "predictions", "maps"})
      fs::remove_all(path + "/" + old, error);
  }
  make_output_folder(path);
  return {path, job};
}

RunFolder RunFolder::open(const std::string& path, const std::string& job) {
  check_place(path, true, false);
  return {place_of(path, true), job};
}

RunFolder::~RunFolder() {
  if (metrics_) std::fclose(metrics_);
}

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

std::string RunFolder::resume(Fit& fit) {
  std::string from;
  for (const std::string& path : checkpoints(path_)) {
    try {
      fit.load(path);
      terminal::info("resuming from {}", path);
      from = path;
      break;
    } catch (const DamagedFile& e) {
      terminal::warn("{}; using the checkpoint before it", e.what());
    }
  }
  const int64_t seen = int64_t(fit.stage()) * fit.steps_per_stage() + fit.steps_in_stage();
  std::error_code error;
  const std::string path = file("metrics.jsonl");
  if (!fs::exists(path, error)) return from;
  const std::string text = read_text(path);
  std::string kept;
  int64_t steps = 0;
  for (size_t at = 0, end = 0; (end = text.find('\n', at)) != std::string::npos; at = end + 1) {
    const std::string line = text.substr(at, end - at + 1);
    if (line.find("\"step\"") != std::string::npos && ++steps > seen) break;
    kept += line;
  }
  write_atomic(path, kept);
  return from;
}

void RunFolder::clean() {
  std::error_code error;
  fs::remove_all(file("checkpoints"), error);
  fs::remove(path_ + kOwner, error);
}

}  // namespace stflow
