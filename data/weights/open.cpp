#include "data/weights/open.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "data/weights/sharded.h"
#include "data/weights/torch_file.h"
#include "engine/json.h"
#include "engine/safetensors.h"
#include "engine/text.h"

namespace stflow {
namespace {

using namespace std::string_view_literals;
constexpr const char* kExpected = "expected weights: safetensors or a file of torch.save()";

/// Old PyTorch (0.1) and other programs: recognised by the magic of POSIX tar, or by the name of its first member.
bool is_tar(std::string_view all) { return all.size() > 512 && (all.substr(257, 5) == "ustar" || all.starts_with("sys_info\0"sv)); }

/// A safetensors file may begin with '{' too, if its header has 123 bytes and a multiple of 256; then zeros follow.
bool is_json(std::string_view all) { return all.starts_with('{') && all.substr(0, 8).find('\0') == std::string_view::npos; }

void add_text(Weights& w, const std::string& key, const Json& value, int depth) {
  auto scalar = [](const Json& x) { return x.is_string() ? x.get<std::string>() : x.dump(); };
  if (value.is_object() && depth < 8) {
    for (const auto& [name, inner] : value.items()) add_text(w, fmt::format("{}.{}", key, name), inner, depth + 1);
  } else if (value.is_array() && std::all_of(value.begin(), value.end(), [](const Json& x) { return x.is_primitive(); })) {
    std::string list;
    for (const Json& x : value) list += (list.empty() ? "" : ",") + scalar(x);
    w.set_metadata(key, list);
  } else if (value.is_primitive() && !value.is_null()) {
    w.set_metadata(key, scalar(value));
  }
}

/// config.json says what no tensor shows: the number of heads, the sizes of a timm model.
void add_config(Weights& w, const std::string& folder) {
  const std::string path = folder + "/config.json";
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return;
  JsonRules rules;
  rules.values = 10'000;
  const Json json = parse_json(read_text(path, size_t(1) << 20), path, rules);
  if (json.is_object()) add_text(w, "config", json, 0);
}

}  // namespace

Weights read_weights(std::shared_ptr<const FileView> file, const std::string& part) {
  const std::string_view all = file->text();
  if (all.starts_with("PK\x03\x04"sv)) return read_torch_zip(std::move(file), part);
  if (is_legacy_torch(all)) return read_torch_legacy(std::move(file), part);
  auto refuse = [&](std::string_view what) { fail(Exit::data, "{}: byte 0: is {}, {}", file->path(), what, kExpected); };
  if (const std::string_view what = sniff(all.substr(0, 512)); !what.empty()) refuse(what);
  if (is_tar(all)) refuse("a tar archive (PyTorch before 0.2?); load it in Python and torch.save() it again");
  if (all.starts_with("\x80\x02"sv) || all.starts_with("\x80\x03"sv) || all.starts_with("\x80\x04"sv) || all.starts_with("\x80\x05"sv))
    refuse("a pickle without the magic number of torch.save()");
  if (!part.empty()) fail(Exit::usage, "--part: found {} for {}, expected it for files of torch.save() only", shown(part), file->path());
  return SafeTensors(file);
}

Weights open_weights(const std::string& path, const std::string& part) {
  std::error_code error;
  const std::string file = std::filesystem::is_directory(path, error) ? weights_in(path) : path;
  auto view = std::make_shared<const FileView>(file);
  Weights w = is_json(view->text()) ? read_sharded(view) : read_weights(view, part);
  add_config(w, folder_of(file));
  return w;
}

std::string weights_in(const std::string& folder) {
  std::error_code error;
  for (const char* name : {"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"})
    if (std::string path = folder + "/" + name; std::filesystem::exists(path, error)) return path;
  std::vector<std::string> found;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string ending = entry.path().extension().string();
    if (ending == ".safetensors" || ending == ".bin" || ending == ".pt" || ending == ".pth" || ending == ".ckpt")
      found.push_back(entry.path().filename().string());
  }
  std::sort(found.begin(), found.end());
  if (found.empty()) fail(Exit::missing, "{}: no file of weights, expected model.safetensors or pytorch_model.bin", folder);
  if (found.size() > 1) fail(Exit::missing, "{}: {} files of weights ({}), expected one: name it", folder, found.size(), listed(found, 4));
  return folder + "/" + found[0];
}

}  // namespace stflow
