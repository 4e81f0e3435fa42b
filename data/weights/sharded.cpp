#include "data/weights/sharded.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "data/weights/open.h"
#include "engine/json.h"
#include "engine/text.h"

namespace stflow {

Weights read_sharded(const std::shared_ptr<const FileView>& index) {
  const std::string& path = index->path();
  const Json json = parse_json(index->text(), path);
  if (!json.is_object() || !json.contains("weight_map") || !json["weight_map"].is_object())
    fail(Exit::data, "{}: JSON without 'weight_map', expected the index of weights in several files", path);
  std::map<std::string, std::set<std::string>> files;
  for (const auto& [name, file] : json["weight_map"].items()) {
    if (!file.is_string()) fail(Exit::data, "{}: weight_map: {} is no text, expected a file's name", path, shown(name));
    const auto& text = file.get_ref<const std::string&>();
    // Its name will stand in error lines: no control bytes.
    const bool odd = std::any_of(text.begin(), text.end(), [](char c) { return (c >= 0 && c < ' ') || c == 127; });
    if (text.empty() || text == "." || text == ".." || odd || text.find_first_of("/\\") != std::string::npos)
      fail(Exit::data, "{}: weight_map: {}, expected the name of a file beside the index", path, shown(text));
    files[text].insert(name);
  }
  Weights out(path, "");
  std::string container;
  out.keep(index);
  for (const auto& [file, names] : files) {
    const Weights part = read_weights(std::make_shared<const FileView>(folder_of(path) + "/" + file));
    container = part.container();
    for (const std::string& name : names)
      if (!part.find(name)) fail(Exit::data, "{}: no tensor {}, expected it as {} says", part.path(), shown(name, 160), path);
    for (const StoredTensor& t : part.tensors())
      if (!names.contains(t.name)) fail(Exit::data, "{}: tensor {}, expected only those of {}", part.path(), shown(t.name, 160), path);
    out.absorb(part);
  }
  out.set_container(fmt::format("{} in {} files", container, files.size()));
  return out;
}

}  // namespace stflow
