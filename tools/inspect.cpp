// stflow inspect: what a file of weights is.
#include <map>

#include "data/weights/open.h"
#include "engine/text.h"
#include "tools/commands.h"
#include "tools/encoder_source.h"
#include "tools/json_out.h"

namespace stflow {

int inspect(const Args& args) {
  std::string in, part;
  bool list = false, hash = false;
  Options o("inspect", "Says what a file of weights is; no tensor is read.", "stflow inspect pytorch_model.bin --tensors");
  o.argument("file", &in, "file or folder of weights, or the name of a downloaded encoder");
  o.flag("part", &part, "which of several state dicts (teacher, student...)").placeholder("NAME");
  o.flag("tensors", &list, "list every tensor");
  o.flag("sha256", &hash, "the hash of the file, too: reads all of it");
  if (!o.parse(args)) return 0;

  const Weights w = open_weights(find_encoder(in).path, part);
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
  if (hash) json["sha256"] = w.sha256();
  json["metadata"] = w.metadata();
  json["notes"] = w.notes();
  if (list)
    for (const StoredTensor& t : w.tensors()) json["tensor"][t.name] = {{"dtype", name_of(t.type)}, {"shape", t.shape}};
  if (terminal::settings().json) return print_json(json), 0;

  std::string text = fmt::format("{}\n  container   {}, {} bytes\n  tensors     {}, {} parameters\n", w.path(), w.container(),
                                 w.file_bytes(), w.tensors().size(), parameters);
  std::string elements;
  for (const auto& [type, n] : types) elements += fmt::format("{}{} {}", elements.empty() ? "" : ", ", n, type);
  text += fmt::format("  elements    {}\n", elements);
  if (hash) text += fmt::format("  sha256      {}\n", json["sha256"].get<std::string>());
  for (const auto& [key, value] : w.metadata()) text += fmt::format("  metadata    {} = {}\n", shown(key), shown(value, 100));
  for (const std::string& n : w.notes()) text += fmt::format("  note        {}\n", n);
  if (list)
    for (const StoredTensor& t : w.tensors()) text += fmt::format("  {:<5} {:<20} {}\n", name_of(t.type), t.shape_text(), t.name);
  terminal::result(text);
  return 0;
}

}  // namespace stflow
