#include "tools/inspect/weights.h"

#include <map>

#include "data/weights/open.h"
#include "engine/text.h"
#include "model/key_maps.h"
#include "model/network.h"
#include "tools/encoder/network_names.h"
#include "tools/encoder/source.h"
#include "tools/json_out.h"
#include "tools/terminal.h"

namespace stflow {
namespace {

/// What network it is, as `json`'s members; "problem" where that stays open.
void add_network(JsonOut& json, const Weights& file, const std::map<std::string, std::string>& settings) {
  try {
    const KeyStyle style = key_style(file);
    json["names"] = style.name;
    json["family"] = style.family;
    if (!style.prefix.empty()) json["prefix"] = style.prefix;
    const Weights network = canonical(file, settings);
    const NetworkConfig config = read_network_config(network);
    for (const auto& [key, value] : network_metadata(config)) json["network"][key] = value;
    if (const auto* vit = std::get_if<VitConfig>(&config)) {
      json["network"]["patch"] = vit->patch, json["network"]["dim"] = vit->dim, json["network"]["depth"] = vit->depth;
      json["network"]["tokens"] = vit->prefix() + vit->grid();
      json["network"]["registers"] = vit->registers;
    }
    const NetworkNames names = compare_names(network);
    json["features"] = names.features;
    json["missing"] = names.missing;
    json["surplus"] = names.surplus;
    json["of_other_shape"] = names.of_other_shape;
  } catch (const Error& e) {
    if (e.code() != Exit::data) throw;
    json["problem"] = std::string(e.what());
  }
}

std::string text_of(const JsonOut& value) {
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_array()) return value.dump();
  return value.empty() ? "none" : listed(value.get<std::vector<std::string>>());
}

}  // namespace

void inspect_weights(const std::string& in, const WeightsInspection& wish) {
  const EncoderSource source = find_encoder(in);
  const Preset* chosen = wish.preset.empty() ? source.preset : &preset_named(wish.preset);
  const Weights w = open_weights(source.path, wish.part);
  std::map<std::string, int64_t> types;
  int64_t parameters = 0;
  for (const StoredTensor& t : w.tensors()) {
    types[name_of(t.type)] += t.size;
    if (is_float(t.type)) parameters += t.size;
  }
  JsonOut json{{"file", w.path()},
               {"container", w.container()},
               {"bytes", w.file_bytes()},
               {"tensors", w.tensors().size()},
               {"parameters", parameters}};
  json["elements"] = types;
  add_network(json, w, chosen ? preset_metadata(*chosen, Recipe::card) : std::map<std::string, std::string>{});
  if (wish.hash) json["sha256"] = w.sha256();
  json["metadata"] = w.metadata();
  json["notes"] = w.notes();
  if (wish.list)
    for (const StoredTensor& t : w.tensors()) json["tensor"][t.name] = {{"dtype", name_of(t.type)}, {"shape", t.shape}};
  if (terminal::settings().json) return print_json(json);

  std::string text = fmt::format("{}\n  container      {}, {} bytes\n  tensors        {}, {} parameters\n", w.path(), w.container(),
                                 w.file_bytes(), w.tensors().size(), parameters);
  std::string elements;
  for (const auto& [type, n] : types) elements += fmt::format("{}{} {}", elements.empty() ? "" : ", ", n, type);
  text += fmt::format("  elements       {}\n", elements);
  for (const char* key : {"names", "family", "prefix", "features", "missing", "surplus", "of_other_shape", "problem"})
    if (json.contains(key)) text += fmt::format("  {:<14} {}\n", key, text_of(json[key]));
  if (json.contains("network"))
    for (const auto& [key, value] : json["network"].items()) text += fmt::format("  network        {} = {}\n", key, text_of(value));
  if (wish.hash) text += fmt::format("  sha256         {}\n", json["sha256"].get<std::string>());
  for (const auto& [key, value] : w.metadata()) text += fmt::format("  metadata       {} = {}\n", shown(key), shown(value, 100));
  for (const std::string& n : w.notes()) text += fmt::format("  note           {}\n", n);
  if (wish.list)
    for (const StoredTensor& t : w.tensors()) text += fmt::format("  {:<5} {:<20} {}\n", name_of(t.type), t.shape_text(), t.name);
  terminal::result(text);
}

}  // namespace stflow
