#include "data/weights/hub_cache.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "engine/error.h"
#include "engine/file.h"
#include "engine/text.h"

namespace stflow {
namespace {

std::string environment(const char* name) {
  const char* text = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): nothing here writes the environment
  return text ? text : "";
}

std::string folder_in_cache(std::string_view repository) {
  std::string name = "models--";
  for (char c : repository) c == '/' ? name += "--" : name += c;
  return hub_cache() + "/" + name;
}

}  // namespace

std::string hub_cache() {
  for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"})
    if (std::string folder = environment(name); !folder.empty()) return folder;
  if (const std::string home = environment("HF_HOME"); !home.empty()) return home + "/hub";
  if (const std::string cache = environment("XDG_CACHE_HOME"); !cache.empty()) return cache + "/huggingface/hub";
  return environment("HOME") + "/.cache/huggingface/hub";
}

std::string find_in_hub(std::string_view repository, const std::vector<std::string_view>& names) {
  const std::string folder = folder_in_cache(repository), reference = folder + "/refs/main";
  std::error_code error;
  std::string hash;
  if (std::filesystem::exists(reference, error)) {
    hash = read_text(reference, 1000);
    while (!hash.empty() && (hash.back() == '\n' || hash.back() == '\r')) hash.pop_back();
    if (hash.empty() || hash.find_first_not_of("0123456789abcdef") != std::string::npos)
      fail(Exit::data, "{}: {}, expected the hash of a snapshot", reference, shown(hash));
  } else {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(folder + "/snapshots", error))
      found.push_back(entry.path().filename().string());
    std::sort(found.begin(), found.end());
    if (found.empty()) return "";
    if (found.size() > 1) fail(Exit::missing, "{}/snapshots: {}, expected one of them or refs/main", folder, listed(found, 3));
    hash = found[0];
  }
  for (std::string_view name : names) {
    std::string path = fmt::format("{}/snapshots/{}/{}", folder, hash, name);
    if (std::filesystem::exists(path, error)) return path;
  }
  return "";
}

std::string hub_file(std::string_view repository, const std::vector<std::string_view>& names) {
  std::string path = find_in_hub(repository, names);
  if (!path.empty()) return path;
  std::vector<std::string> list(names.begin(), names.end());
  std::string all;
  for (size_t i = 0; i < list.size(); i++) all += (i == 0 ? "" : i + 1 == list.size() ? " or " : ", ") + list[i];
  fail(Exit::missing, "{}: no {}, expected a download: 'huggingface-cli download {} {}', or pass the file", folder_in_cache(repository),
       all, repository, list.empty() ? "" : list[0]);
}

}  // namespace stflow
