// stflow convert: weights of any container as one safetensors file that says where it comes from.
#include <algorithm>
#include <cmath>
#include <filesystem>

#include "data/weights/open.h"
#include "data/weights/torch_file.h"
#include "engine/safetensors.h"
#include "engine/text.h"
#include "model/key_maps.h"
#include "tools/commands.h"
#include "tools/encoder/network_names.h"
#include "tools/encoder/source.h"
#include "tools/json_out.h"

namespace stflow {
namespace {

constexpr int64_t kPiece = 1 << 16;

/// Half numbers end at 65504: weights beyond are refused, not stored as infinities.
void check_half(const Weights& w, const StoredTensor& t) {
  std::vector<float> piece(size_t(std::min(kPiece, t.size)));
  for (int64_t i = 0; i < t.size; i += kPiece) {
    const int64_t end = std::min(i + kPiece, t.size);
    convert(t, i, end, Stored::f32, piece.data(), w.path());
    for (int64_t k = 0; k < end - i; k++)
      if (const float x = piece[size_t(k)]; std::isfinite(x) && std::fabs(x) >= 65520.0f)
        fail(Exit::data, "{}: tensor {}: element {} is {}, expected at most 65504 for f16: choose bf16", w.path(), shown(t.name, 160),
             i + k, x);
  }
}

Stored target_of(const Weights& w, const StoredTensor& t, const std::string& dtype) {
  if (t.type == Stored::f8_e4m3 || t.type == Stored::f8_e5m2)
    fail(Exit::data, "{}: tensor {}: numbers of type {}, expected floats of at least 16 bits", w.path(), shown(t.name, 160),
         name_of(t.type));
  if (!is_float(t.type) || dtype == "keep") return t.type;
  if (dtype == "f16" && t.type != Stored::f16) check_half(w, t);
  return dtype == "f32" ? Stored::f32 : dtype == "f16" ? Stored::f16 : Stored::bf16;
}

/// The file's network under canonical names, which has proved that it is whole: the Encoder that would take it can be made of it.
Weights encoder_of(const Weights& w, const Preset* preset, const std::string& recipe, int64_t heads) {
  std::map<std::string, std::string> settings;
  if (preset) settings = preset_metadata(*preset, recipe_of(recipe));
  if (heads > 0) settings["num_heads"] = std::to_string(heads);
  Weights network = canonical(w, settings);
  check_network(network);
  return network;
}

}  // namespace

int convert(const Args& args) {
  std::string in, out, dtype = "keep", preset, recipe = "card", part;
  bool overwrite = false, as_is = false;
  int64_t heads = 0;
  Options o("convert", "Writes an image encoder's weights of any known container and naming as one safetensors file for --encoder.",
            "stflow convert pytorch_model.bin uni.safetensors --preset uni_v1 --dtype bf16");
  o.argument("in", &in, "file or folder of weights, or the name of a downloaded encoder");
  o.argument("out", &out, "safetensors file to write");
  o.flag("dtype", &dtype, "floats as: keep (as they are), f32, f16 or bf16").choices({"keep", "f32", "f16", "bf16"});
  o.flag("preset", &preset, "the published encoder that these weights are: settles what they leave open").placeholder("NAME");
  o.flag("preprocess", &recipe, "whose pixels and pooling for the preset: card, hest, trident or stpath")
      .choices({"card", "hest", "trident", "stpath"});
  o.flag("heads", &heads, "attention heads, where neither the file nor a preset tells").at_least(0);
  o.flag("as-is", &as_is, "only the container changes: names and metadata stay, whatever they are");
  o.flag("part", &part, "which of several state dicts (teacher, student...)").placeholder("NAME");
  o.flag("overwrite", &overwrite, "replace an earlier file");
  if (!o.parse(args)) return 0;
  if (std::filesystem::exists(out) && !overwrite) fail(Exit::create, "{}: exists, expected a new file; pass --overwrite", out);

  const EncoderSource source = find_encoder(in);
  const Preset* chosen = preset.empty() ? source.preset : &preset_named(preset);
  const Weights file = open_weights(source.path, part);
  if (file.container() == "PyTorch zip") verify_torch_zip(file.path());
  const Weights w = as_is ? file : encoder_of(file, chosen, recipe, heads);
  std::map<std::string, std::string> metadata = w.metadata();
  metadata.erase("sha256");
  metadata["source"] = std::filesystem::path(w.path()).filename().string();
  metadata["source_container"] = w.container();
  metadata["source_sha256"] = w.sha256();
  std::vector<OutTensor> tensors;
  for (const StoredTensor& t : w.tensors()) tensors.emplace_back(t, target_of(w, t, dtype));
  for (const std::string& n : w.notes()) terminal::info("{}", n);
  write_safetensors(out, std::move(tensors), metadata);
  terminal::info("{}: {} tensors of {}", out, w.tensors().size(), w.path());
  if (terminal::settings().json) {
    JsonOut json{{"in", w.path()}, {"out", out}, {"tensors", w.tensors().size()}, {"dtype", dtype}};
    json["metadata"] = metadata;
    print_json(json);
  }
  return 0;
}

}  // namespace stflow
