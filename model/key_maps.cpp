#include "model/key_maps.h"

#include <algorithm>
#include <span>

#include "model/fold.h"

namespace stflow {
namespace {

/// Names that begin with `from` (its * stands for one number) begin with `to` instead ($1, $2: the numbers).
struct Rule {
  const char *from = nullptr, *to = nullptr;
  int part = 0;                     // 1, 2, 3: one of several tensors that become one, in this order
  int first = 0, last = 1, of = 1;  // rows [first, last) of `of` equal shares
};

constexpr Rule kTimm[] = {
    {"register_tokens", "reg_token"},
    {"blocks.*.*", "blocks.$2"},  // in chunks for FSDP
    {"blocks.*.mlp.w12", "blocks.$1.mlp.fc1"},
    {"blocks.*.mlp.w3", "blocks.$1.mlp.fc2"},
    {"blocks.*.*.mlp.w12", "blocks.$2.mlp.fc1"},
    {"blocks.*.*.mlp.w3", "blocks.$2.mlp.fc2"},
};

constexpr Rule kHugging[] = {
    {"embeddings.cls_token", "cls_token"},
    {"embeddings.register_tokens", "reg_token"},
    {"embeddings.position_embeddings", "pos_embed"},
    {"embeddings.patch_embeddings.projection", "patch_embed.proj"},
    {"encoder.layer.*.attention.attention.query", "blocks.$1.attn.qkv", 1},
    {"encoder.layer.*.attention.attention.key", "blocks.$1.attn.qkv", 2},
    {"encoder.layer.*.attention.attention.value", "blocks.$1.attn.qkv", 3},
    {"encoder.layer.*.attention.output.dense", "blocks.$1.attn.proj"},
    {"encoder.layer.*.norm1", "blocks.$1.norm1"},
    {"encoder.layer.*.norm2", "blocks.$1.norm2"},
    {"encoder.layer.*.layernorm_before", "blocks.$1.norm1"},
    {"encoder.layer.*.layernorm_after", "blocks.$1.norm2"},
    {"encoder.layer.*.layer_scale1.lambda1", "blocks.$1.ls1.gamma"},
    {"encoder.layer.*.layer_scale2.lambda1", "blocks.$1.ls2.gamma"},
    {"encoder.layer.*.mlp.fc1", "blocks.$1.mlp.fc1"},
    {"encoder.layer.*.mlp.fc2", "blocks.$1.mlp.fc2"},
    {"encoder.layer.*.mlp.weights_in", "blocks.$1.mlp.fc1"},
    {"encoder.layer.*.mlp.weights_out", "blocks.$1.mlp.fc2"},
    {"encoder.layer.*.intermediate.dense", "blocks.$1.mlp.fc1"},
    {"encoder.layer.*.output.dense", "blocks.$1.mlp.fc2"},
    {"layernorm", "norm"},
};

// torch's MultiheadAttention keeps the biases of query, key and value in one; where key and query are of one width, the weights too.
constexpr Rule kPooler[] = {
    {"attn_pool_contrast.query", "attn_pool.query"},
    {"attn_pool_contrast.ln_q", "attn_pool.norm_q"},
    {"attn_pool_contrast.ln_k", "attn_pool.norm_k"},
    {"attn_pool_contrast.attn.q_proj_weight", "attn_pool.q.weight"},
    {"attn_pool_contrast.attn.k_proj_weight", "attn_pool.kv.weight", 1},
    {"attn_pool_contrast.attn.v_proj_weight", "attn_pool.kv.weight", 2},
    {"attn_pool_contrast.attn.in_proj_weight", "attn_pool.q.weight", 0, 0, 1, 3},
    {"attn_pool_contrast.attn.in_proj_weight", "attn_pool.kv.weight", 0, 1, 3, 3},
    {"attn_pool_contrast.attn.in_proj_bias", "attn_pool.q.bias", 0, 0, 1, 3},
    {"attn_pool_contrast.attn.in_proj_bias", "attn_pool.kv.bias", 0, 1, 3, 3},
    {"attn_pool_contrast.attn.out_proj", "attn_pool.proj"},
    {"attn_pool_contrast.to_q", "attn_pool.q"},
    {"attn_pool_contrast.to_kv", "attn_pool.kv"},
    {"attn_pool_contrast.to_out", "attn_pool.proj"},
    {"ln_contrast", "attn_pool.norm"},
};

constexpr Rule kSwin[] = {{"layers.*", "layers.$1"}};
// Before timm 0.9 a stage ended with the merging of patches that now begins the next one.
constexpr Rule kOldSwin[] = {
    {"layers.*.blocks", "layers.$1.blocks"},
    {"layers.0.downsample", "layers.1.downsample"},
    {"layers.1.downsample", "layers.2.downsample"},
    {"layers.2.downsample", "layers.3.downsample"},
};

/// Of training and classification: no part of an encoder. A name ends with one of the second kind.
constexpr const char* kLeftOut[] = {"mask_token", "masked_embed", "embeddings.mask_token", "head", "fc", "classifier", "pooler"};
constexpr std::string_view kLeftOutEnds[] = {".num_batches_tracked", ".attn_mask", ".relative_position_index"};

/// A style is recognised by two names; a prefix before both is stripped.
struct Style {
  const char *name, *family, *anchor, *also;
  std::span<const Rule> rules;
  const char *trunk, *positions, *eps;  // eps: fixed by the architecture's code; empty: a configuration must say
};
constexpr Style kStyles[] = {
    {"Hugging Face ViT", "vit", "embeddings.cls_token", "encoder.layer.0.layernorm_before.weight", kHugging, "", "hf_bicubic", ""},
    {"Hugging Face Dinov2 with registers", "vit", "embeddings.cls_token", "embeddings.register_tokens", kHugging, "", "antialias", ""},
    {"Hugging Face Dinov2", "vit", "embeddings.cls_token", "encoder.layer.0.norm1.weight", kHugging, "", "hf_bicubic", ""},
    {"CONCH", "conch", "trunk.patch_embed.proj.weight", "attn_pool_contrast.ln_q.weight", kTimm, "trunk.", "antialias", "1e-06"},
    {"CTransPath", "swin", "patch_embed.proj.0.weight", "layers.0.downsample.norm.weight", kOldSwin, "", "", "1e-05"},
    {"Swin with a convolutional stem", "swin", "patch_embed.proj.0.weight", "layers.0.blocks.0.norm1.weight", kSwin, "", "", "1e-05"},
    {"torchvision ResNet", "resnet", "layer1.0.conv1.weight", "bn1.running_var", {}, "", "", "1e-05"},
    {"DINOv2 with registers", "vit", "patch_embed.proj.weight", "register_tokens", kTimm, "", "antialias", "1e-06"},
    {"DINOv2", "vit", "patch_embed.proj.weight", "mask_token", kTimm, "", "offset", "1e-06"},
    {"timm", "vit", "patch_embed.proj.weight", "cls_token", kTimm, "", "antialias", "1e-06"},
};

/// Heads of timm's architectures, for its config.json that names one: by the beginning of the name, the longest first.
constexpr struct {
  std::string_view begin;
  const char* heads;
} kTimmHeads[] = {{"vit_giant_patch14_reg4_dinov2", "24"},
                  {"vit_giant_patch14_dinov2", "24"},
                  {"vit_tiny_", "3"},
                  {"vit_small_", "6"},
                  {"vit_base_", "12"},
                  {"vit_large_", "16"},
                  {"vit_huge_", "16"}};

/// Where else a setting may stand, the nearest first; "image_mean" is Hugging Face's, the others timm's.
constexpr struct {
  const char *key, *elsewhere;
} kElsewhere[] = {{"num_heads", "config.num_attention_heads"},
                  {"num_heads", "config.model_args.num_heads"},
                  {"no_embed_class", "config.model_args.no_embed_class"},
                  {"eps", "config.layer_norm_eps"},
                  {"mean", "config.pretrained_cfg.mean"},
                  {"std", "config.pretrained_cfg.std"},
                  {"mean", "config.image_mean"},
                  {"std", "config.image_std"}};

/// Whether `name` is `pattern`, or `pattern` and a '.': the numbers its stars stand for, and what is left of the name.
bool matches(std::string_view pattern, std::string_view name, std::vector<std::string>& numbers, std::string_view& rest) {
  numbers.clear();
  while (!pattern.empty()) {
    if (name.empty()) return false;
    if (pattern[0] != '*') {
      if (pattern[0] != name[0]) return false;
      pattern.remove_prefix(1), name.remove_prefix(1);
      continue;
    }
    const size_t digits = std::min(name.find_first_not_of("0123456789"), name.size());
    if (digits == 0) return false;
    numbers.emplace_back(name.substr(0, digits));
    pattern.remove_prefix(1), name.remove_prefix(digits);
  }
  rest = name;
  return rest.empty() || rest[0] == '.';
}

std::string filled_in(std::string_view to, const std::vector<std::string>& numbers, std::string_view rest) {
  std::string s;
  for (size_t i = 0; i < to.size(); i++)
    if (to[i] == '$') s += numbers[size_t(to[++i] - '1')];
    else s += to[i];
  return s.append(rest);
}

bool left_out(std::string_view name) {
  std::vector<std::string> numbers;
  std::string_view rest;
  return std::any_of(std::begin(kLeftOut), std::end(kLeftOut), [&](const char* p) { return matches(p, name, numbers, rest); }) ||
         std::any_of(std::begin(kLeftOutEnds), std::end(kLeftOutEnds), [&](std::string_view end) { return name.ends_with(end); });
}

/// A share of a tensor's rows: a view.
StoredTensor rows_of(StoredTensor t, const Rule& r, const std::string& file) {
  if (r.of == 1) return t;
  if (t.shape.empty() || t.shape[0] % r.of || t.shape[0] == 0)
    fail(Exit::data, "{}: {}: shape {}, expected a multiple of {} rows", file, t.name, t.shape_text(), r.of);
  const int64_t rows = t.shape[0] / r.of, row = t.strides.empty() ? t.size / t.shape[0] : t.strides[0];
  t.data += r.first * rows * row * bytes_of(t.type);
  t.size = t.size / r.of * (r.last - r.first);
  t.shape[0] = rows * (r.last - r.first);
  return t;
}

/// What becomes one tensor: parts by their place; a tensor that stays whole has place 0.
struct Target {
  std::string name;
  size_t parts = 0;  // that the rules know of
  std::map<int, StoredTensor> found;
};

/// Adds the tensors under `prefix` to `to` by the rules. Other names are kept, or with `only_known` left out. Returns how many were used.
size_t rename(const Weights& file, const std::string& prefix, std::span<const Rule> rules, bool only_known, Weights& to) {
  std::vector<Target> targets;
  std::map<std::string, size_t> index;
  auto put = [&](const std::string& name, int part, size_t parts, StoredTensor t) {
    auto [at, fresh] = index.emplace(name, targets.size());
    if (fresh) targets.push_back({name, parts, {}});
    if (const auto other = targets[at->second].found.emplace(part, t); !other.second)
      fail(Exit::data, "{}: {} and {} are both {}, expected one", file.path(), other.first->second.name, t.name, name);
  };
  std::vector<std::string> numbers;
  std::string_view rest;
  size_t used = 0;
  for (const StoredTensor& t : file.tensors()) {
    if (!t.name.starts_with(prefix)) continue;
    const std::string_view name = std::string_view(t.name).substr(prefix.size());
    if (left_out(name)) continue;
    const Rule* best = nullptr;  // the longest pattern wins; several of its kind take shares of one tensor
    for (const Rule& r : rules)
      if (matches(r.from, name, numbers, rest) && (!best || std::string_view(r.from).size() > std::string_view(best->from).size()))
        best = &r;
    used += best || !only_known;
    if (!best && !only_known) put(std::string(name), 0, 1, t);
    for (const Rule* r = best; r && r < rules.data() + rules.size(); r++) {
      if (std::string_view(r->from) != best->from) continue;
      matches(r->from, name, numbers, rest);
      const auto parts = size_t(
          std::count_if(rules.begin(), rules.end(), [&](const Rule& o) { return o.part && r->part && std::string_view(o.to) == r->to; }));
      put(filled_in(r->to, numbers, rest), r->part, std::max<size_t>(parts, 1), rows_of(t, *r, file.path()));
    }
  }
  for (Target& target : targets) {
    if (target.found.size() != target.parts)
      fail(Exit::data, "{}: {}: {} of the {} tensors that become {}, expected all", file.path(), target.found.begin()->second.name,
           target.found.size(), target.parts, target.name);
    if (target.parts == 1) {
      StoredTensor t = target.found.begin()->second;
      t.name = target.name;
      to.add(std::move(t));
      continue;
    }
    std::vector<const StoredTensor*> parts;
    for (const auto& [place, t] : target.found) parts.push_back(&t);
    to.add_concatenated(target.name, parts);
  }
  return used;
}

/// The prefixes under which a file holds both names of a style.
std::vector<std::string> prefixes_of(const Weights& file, const Style& style) {
  std::vector<std::string> all;
  for (const StoredTensor& t : file.tensors()) {
    if (!t.name.ends_with(style.anchor)) continue;
    const std::string prefix = t.name.substr(0, t.name.size() - std::string_view(style.anchor).size());
    if ((prefix.empty() || prefix.back() == '.') && file.find(prefix + style.also)) all.push_back(prefix);
  }
  return all;
}

const Style& style_of(const Weights& file, std::string& prefix) {
  for (const Style& style : kStyles) {
    auto all = prefixes_of(file, style);
    if (all.empty()) continue;
    if (all.size() > 1) {  // what self-supervised training leaves behind: the teacher is the encoder
      auto teachers = all;
      std::erase_if(teachers,
                    [](const std::string& p) { return p.find("teacher") == std::string::npos && p.find("ema") == std::string::npos; });
      if (teachers.size() != 1)
        fail(Exit::data, "{}: networks under '{}' and '{}', expected one, or one teacher", file.path(), all[0], all[1]);
      all = teachers;
    }
    prefix = all[0];
    return style;
  }
  fail(Exit::data, "{}: {} tensors{}, expected the names of timm, DINOv2, Hugging Face's ViT or Dinov2, CONCH, CTransPath or a ResNet",
       file.path(), file.tensors().size(), file.tensors().empty() ? "" : fmt::format(", the first named '{}'", file.tensors()[0].name));
}

void refuse_other(const Weights& w, const char* style, const std::string& family, const std::string& wanted) {
  if (family != wanted) fail(Exit::data, "{}: tensors named as in {} ({}), expected a {}", w.path(), style, family, wanted);
}

/// Writes beside the tensors what shapes do not tell.
void settle(Weights& w, const Style& style, const std::map<std::string, std::string>& settings) {
  const bool ours = w.metadata().contains("num_heads");  // written for this program: what it leaves out has its documented default
  for (const auto& [key, value] : settings) w.set_metadata(key, value);
  auto has = [&](const std::string& key) { return w.metadata().contains(key); };
  if (has("family")) refuse_other(w, style.name, style.family, w.meta("family"));
  w.set_metadata("family", style.family);
  for (const auto& [key, elsewhere] : kElsewhere)
    if (!has(key) && has(elsewhere)) w.set_metadata(key, w.meta(elsewhere));
  if (!has("num_heads") && has("config.architecture"))
    for (const auto& known : kTimmHeads)
      if (w.meta("config.architecture").starts_with(known.begin) && !has("num_heads")) w.set_metadata("num_heads", known.heads);
  if (!has("pooling") && has("config.global_pool") && w.meta("config.global_pool") == "token") w.set_metadata("pooling", "cls");
  if (!has("eps") && *style.eps) w.set_metadata("eps", style.eps);
  if (!has("positions") && *style.positions)
    w.set_metadata("positions", w.find("attn_pool.q.weight") && !w.find("attn_pool.q.bias") ? "bilinear" : style.positions);
  if (has("config.hidden_act") && w.meta("config.hidden_act") != "gelu" &&
      !(has("config.use_swiglu_ffn") && w.meta("config.use_swiglu_ffn") == "true"))
    fail(Exit::data, "{}: config.json: hidden_act is '{}', expected gelu", w.path(), w.meta("config.hidden_act"));
  if (ours) return;
  const std::string_view family = style.family;
  std::vector<std::string> needed = {"mean", "std"};
  if (family == "vit" || family == "conch") needed.insert(needed.begin(), {"num_heads", "eps"});
  if (family == "vit") needed.emplace_back("pooling");
  if (family == "conch") needed.emplace_back("pool_heads");
  if (family == "swin" || family == "resnet") needed.emplace_back("image_size");
  for (const std::string& key : needed)
    if (!has(key))
      fail(Exit::data,
           "{}: {}: neither the file nor a config.json beside it tells, expected the name of a published encoder (--encoder-preset; "
           "convert --preset)",
           w.path(), key);
}

bool is_canonical(const Weights& file) { return file.metadata().contains("canonical"); }

}  // namespace

KeyStyle key_style(const Weights& file) {
  if (is_canonical(file)) return {"canonical", file.meta("family"), ""};
  std::string prefix;
  const Style& style = style_of(file, prefix);
  return {style.name, style.family, prefix};
}

Weights canonical(const Weights& file, const std::map<std::string, std::string>& settings) {
  if (is_canonical(file)) {
    Weights same = file;
    if (const auto wanted = settings.find("family"); wanted != settings.end())
      refuse_other(file, "a canonical file", file.meta("family"), wanted->second);
    for (const auto& [key, value] : settings) same.set_metadata(key, value);
    return same;
  }
  std::string prefix;
  const Style& style = style_of(file, prefix);
  Weights to = file.without_tensors();
  size_t used = rename(file, prefix + style.trunk, style.rules, false, to);
  if (style.family == std::string_view("conch")) used += rename(file, prefix, kPooler, true, to);
  if (const size_t rest = file.tensors().size() - used)
    to.note(fmt::format("{} tensors that are no part of the encoder are left out", rest));
  settle(to, style, settings);
  if (style.family == std::string_view("swin")) to = folded_swin(to);
  if (style.family == std::string_view("resnet")) to = folded_resnet(to);
  to.set_metadata("canonical", "1");
  return to;
}

}  // namespace stflow
