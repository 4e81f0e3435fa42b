// A ViT's checkpoint: its configuration from shapes and metadata, and its parameters by name.
#include <algorithm>

#include "model/vit.h"

namespace stflow {
namespace {

/// How many prefix tokens the position embeddings cover: 0, the class token, or all. Sets config.placed; returns the grid's side.
int64_t read_placed(const Weights& file, VitConfig& c) {
  const int64_t rows = shape_of(file, "pos_embed", 3)[1];
  std::vector<int64_t> choices = {0, 1};
  if (c.registers) choices.push_back(1 + c.registers);
  if (file.metadata().contains("no_embed_class")) {
    const std::string& word = file.meta("no_embed_class");
    if (word != "true" && word != "false")
      fail(Exit::data, "{}: metadata: no_embed_class is '{}', expected true or false", file.path(), word);
    choices = {word == "true" ? 0 : 1 + c.registers};
  }
  std::erase_if(choices, [&](int64_t q) { return rows <= q || square_root(rows - q) < 0; });
  if (choices.size() != 1)
    fail(Exit::data, "{}: pos_embed: {} rows with {} prefix tokens are {}, expected a square grid{}", file.path(), rows, 1 + c.registers,
         choices.empty() ? "no square" : "a square in two ways", choices.empty() ? "" : ": settle it with no_embed_class in the metadata");
  c.placed = choices[0];
  return square_root(rows - c.placed);
}

/// A metadata value that is one of the words of an enumeration.
template <class Words, class Word> void read_word(const Weights& file, const char* key, const Words& words, Word& word) {
  std::string all;
  for (Word w : words) {
    if (file.meta(key) == name_of(w)) return void(word = w);
    all += (all.empty() ? "" : w == *std::rbegin(words) ? " or " : ", ") + std::string(name_of(w));
  }
  fail(Exit::data, "{}: metadata: {} is '{}', expected {}", file.path(), key, file.meta(key), all);
}

void read_pool(const Weights& file, VitConfig& c) {
  const auto query = shape_of(file, "attn_pool.query", 2);
  if (query[0] != 1) fail(Exit::data, "{}: attn_pool.query: {} queries, expected 1", file.path(), query[0]);
  c.pool_dim = query[1];
  c.pool_bias = file.find("attn_pool.q.bias") != nullptr;
  c.pool_heads = meta_positive(file, "pool_heads");
  if (c.pool_dim % c.pool_heads)
    fail(Exit::data, "{}: metadata: pool_heads is {}, expected a divisor of {}", file.path(), c.pool_heads, c.pool_dim);
}

}  // namespace

VitConfig read_vit_config(const Weights& file) {
  VitConfig c;
  const auto proj = shape_of(file, "patch_embed.proj.weight", 4);
  if (proj[1] != 3 || proj[2] != proj[3])
    fail(Exit::data, "{}: patch_embed.proj.weight: shape {}, expected (dim, 3, patch, patch)", file.path(),
         file.at("patch_embed.proj.weight").shape_text());
  c.dim = proj[0], c.patch = proj[2];
  c.depth = 0;
  while (file.find(fmt::format("blocks.{}.norm1.weight", c.depth))) c.depth++;
  if (c.depth == 0) fail(Exit::data, "{}: no tensor blocks.0.norm1.weight, expected a ViT in timm's names", file.path());
  const auto fc1 = shape_of(file, "blocks.0.mlp.fc1.weight", 2), fc2 = shape_of(file, "blocks.0.mlp.fc2.weight", 2);
  c.hidden = fc2[1];
  c.swiglu = fc1[0] == 2 * c.hidden;
  if (!c.swiglu && fc1[0] != c.hidden)
    fail(Exit::data, "{}: blocks.0.mlp: fc1 gives {} and fc2 takes {}, expected the same or twice as many", file.path(), fc1[0], c.hidden);
  c.layer_scale = file.find("blocks.0.ls1.gamma") != nullptr;
  c.registers = file.find("reg_token") ? shape_of(file, "reg_token", 3)[1] : 0;
  const int64_t native = read_placed(file, c) * c.patch;

  auto has = [&](const char* key) { return file.metadata().contains(key); };
  c.heads = meta_positive(file, "num_heads");
  if (c.dim % c.heads) fail(Exit::data, "{}: metadata: num_heads is {}, expected a divisor of {}", file.path(), c.heads, c.dim);
  c.image = native;
  read_image_input(file, c);
  if (c.image % c.patch)
    fail(Exit::data, "{}: metadata: image_size is {}, expected a multiple of the patch size {}", file.path(), c.image, c.patch);
  read_eps(file, c.eps);
  if (has("pooling")) read_word(file, "pooling", kPoolings, c.pooling);
  if (has("positions")) read_word(file, "positions", kPositionRules, c.positions);
  if (file.find("attn_pool.query")) read_pool(file, c);
  return c;
}

std::map<std::string, std::string> vit_metadata(const VitConfig& c) {
  auto m = metadata_of(static_cast<const ImageInput&>(c));
  m["num_heads"] = std::to_string(c.heads);
  m["eps"] = fmt::format("{}", c.eps);
  if (c.pool_dim) m["pool_heads"] = std::to_string(c.pool_heads);
  else m["pooling"] = name_of(c.pooling);
  if (c.positions != PositionRule::antialias) m["positions"] = name_of(c.positions);
  if (c.placed == 0 || c.placed == c.prefix()) m["no_embed_class"] = c.placed == 0 ? "true" : "false";
  return m;
}

void load_vit(const Weights& file, const Vit& vit, const ParameterSet& set) {
  load_parameters(file, set, "ViT", [&](const Parameter& p) {
    if (p.name != "pos_embed") return false;
    const int64_t prefix = vit.config.placed, side = square_root(shape_of(file, p.name, 3)[1] - prefix);
    if (side == vit.config.side()) return false;
    if (side < 1 || file.at(p.name).shape[2] != vit.config.dim)
      fail(Exit::data, "{}: pos_embed: shape {}, expected (1, {} + a square, {})", file.path(), file.at(p.name).shape_text(), prefix,
           vit.config.dim);
    const auto moved = resample_position(file.read<float>(p.name), prefix, side, vit.config.side(), vit.config.dim, vit.config.positions);
    const Array here(p.shape, set.type());
    by_type(set.type(), [&](auto zero) { std::copy(moved.begin(), moved.end(), here.as<decltype(zero)>()); });
    copy(set.device(), set.value(p).data, Device::cpu, here.tensor().data, here.tensor().bytes());
    return true;
  });
}

}  // namespace stflow
