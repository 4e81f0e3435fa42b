// A ViT's checkpoint: its configuration from shapes and metadata, and its parameters by name.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "model/vit.h"

namespace stflow {
namespace {

const char* text_of(Pooling p) { return p == Pooling::cls ? "cls" : p == Pooling::mean ? "mean" : "cls_mean"; }

/// A metadata value as `count` numbers separated by commas.
std::vector<double> numbers(const SafeTensors& file, const std::string& key, size_t count) {
  const std::string& text = file.meta(key);
  std::vector<double> list;
  const char *at = text.data(), *end = at + text.size();
  for (bool more = true; more;) {
    double x = 0;
    auto [next, error] = std::from_chars(at, end, x);
    more = error == std::errc() && std::isfinite(x) && next < end && *next == ',';
    if (error == std::errc() && std::isfinite(x)) list.push_back(x), at = next + (more ? 1 : 0);
  }
  if (list.size() != count || at != end)
    fail(Exit::data, "{}: metadata: {} is '{}', expected {} number{}", file.path(), key, text, count,
         count == 1 ? "" : "s separated by commas");
  return list;
}

int64_t positive(const SafeTensors& file, const std::string& key) {
  const double x = numbers(file, key, 1)[0];
  if (x < 1 || x > 1e6 || x != std::floor(x))
    fail(Exit::data, "{}: metadata: {} is {}, expected a whole number from 1 to 1000000", file.path(), key, x);
  return int64_t(x);
}

/// A tensor's shape, refused unless it has `rank` dimensions, all positive.
std::vector<int64_t> shape_of(const SafeTensors& file, const std::string& name, size_t rank) {
  const StoredTensor& t = file.at(name);
  if (t.shape.size() != rank || std::any_of(t.shape.begin(), t.shape.end(), [](int64_t n) { return n < 1 || n > (1 << 24); }))
    fail(Exit::data, "{}: {}: shape {}, expected {} positive dimensions", file.path(), name, t.shape_text(), rank);
  return t.shape;
}

int64_t root(int64_t n) {
  const auto r = int64_t(std::lround(std::sqrt(double(n))));
  return r * r == n ? r : -1;
}

/// How many prefix tokens the position embeddings cover: 0, the class token, or all. Sets config.placed; returns the grid's side.
int64_t read_placed(const SafeTensors& file, VitConfig& c) {
  const int64_t rows = shape_of(file, "pos_embed", 3)[1];
  std::vector<int64_t> choices = {0, 1};
  if (c.registers) choices.push_back(1 + c.registers);
  if (file.metadata().contains("no_embed_class")) {
    const std::string& word = file.meta("no_embed_class");
    if (word != "true" && word != "false")
      fail(Exit::data, "{}: metadata: no_embed_class is '{}', expected true or false", file.path(), word);
    choices = {word == "true" ? 0 : 1 + c.registers};
  }
  std::erase_if(choices, [&](int64_t q) { return rows <= q || root(rows - q) < 0; });
  if (choices.size() != 1)
    fail(Exit::data, "{}: pos_embed: {} rows with {} prefix tokens are {}, expected a square grid{}", file.path(), rows, 1 + c.registers,
         choices.empty() ? "no square" : "a square in two ways", choices.empty() ? "" : ": settle it with no_embed_class in the metadata");
  c.placed = choices[0];
  return root(rows - c.placed);
}

}  // namespace

VitConfig read_vit_config(const SafeTensors& file) {
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
  c.heads = positive(file, "num_heads");
  if (c.dim % c.heads) fail(Exit::data, "{}: metadata: num_heads is {}, expected a divisor of {}", file.path(), c.heads, c.dim);
  c.image = has("image_size") ? positive(file, "image_size") : native;
  if (c.image % c.patch)
    fail(Exit::data, "{}: metadata: image_size is {}, expected a multiple of the patch size {}", file.path(), c.image, c.patch);
  if (has("eps")) c.eps = float(numbers(file, "eps", 1)[0]);
  if (!(c.eps >= 0)) fail(Exit::data, "{}: metadata: eps is {}, expected a number >= 0", file.path(), c.eps);
  for (auto [key, target] : {std::pair{"mean", &c.mean}, {"std", &c.std}})
    if (has(key)) {
      const auto list = numbers(file, key, 3);
      std::transform(list.begin(), list.end(), target->begin(), [](double x) { return float(x); });
    }
  for (float s : c.std)
    if (!(s > 0)) fail(Exit::data, "{}: metadata: std is '{}', expected positive numbers", file.path(), file.meta("std"));
  if (has("pooling")) {
    const std::string& word = file.meta("pooling");
    bool known = false;
    for (Pooling p : {Pooling::cls, Pooling::mean, Pooling::cls_mean})
      if (word == text_of(p)) c.pooling = p, known = true;
    if (!known) fail(Exit::data, "{}: metadata: pooling is '{}', expected cls, mean or cls_mean", file.path(), word);
  }
  return c;
}

std::map<std::string, std::string> vit_metadata(const VitConfig& c) {
  auto three = [](const std::array<float, 3>& a) { return fmt::format("{},{},{}", a[0], a[1], a[2]); };
  std::map<std::string, std::string> m = {{"num_heads", std::to_string(c.heads)},
                                          {"image_size", std::to_string(c.image)},
                                          {"eps", fmt::format("{}", c.eps)},
                                          {"pooling", text_of(c.pooling)},
                                          {"mean", three(c.mean)},
                                          {"std", three(c.std)}};
  if (c.placed == 0 || c.placed == c.prefix()) m["no_embed_class"] = c.placed == 0 ? "true" : "false";
  return m;
}

void load_vit(const SafeTensors& file, const Vit& vit, const ParameterSet& set) {
  std::string missing, surplus;
  auto note = [](std::string& list, const std::string& name) { list += (list.empty() ? "" : ", ") + name; };
  for (const auto& p : set.all())
    if (!file.find(p.name)) note(missing, p.name);
  for (const auto& t : file.tensors())
    if (!set.find(t.name)) note(surplus, t.name);
  if (!missing.empty() || !surplus.empty())
    fail(Exit::data, "{}: {}{}{}{}{}, expected exactly the tensors of this ViT", file.path(), missing.empty() ? "" : "missing ", missing,
         missing.empty() || surplus.empty() ? "" : "; ", surplus.empty() ? "" : "surplus ", surplus);
  for (const auto& p : set.all()) {
    if (p.packed) continue;
    if (p.name != "pos_embed") {
      file.read_into(p.name, set.value(p), set.device());
      continue;
    }
    const int64_t prefix = vit.config.placed, rows = shape_of(file, p.name, 3)[1], side = root(rows - prefix);
    if (side == vit.config.side()) {
      file.read_into(p.name, set.value(p), set.device());
      continue;
    }
    if (side < 1 || file.at(p.name).shape[2] != vit.config.dim)
      fail(Exit::data, "{}: pos_embed: shape {}, expected (1, {} + a square, {})", file.path(), file.at(p.name).shape_text(), prefix,
           vit.config.dim);
    const auto moved = resample_position(file.read<float>(p.name), prefix, side, vit.config.side(), vit.config.dim);
    const Array here(p.shape, set.type());
    by_type(set.type(), [&](auto zero) { std::copy(moved.begin(), moved.end(), here.as<decltype(zero)>()); });
    copy(set.device(), set.value(p).data, Device::cpu, here.tensor().data, here.tensor().bytes());
  }
}

std::vector<float> resample_position(const std::vector<float>& from, int64_t prefix, int64_t from_side, int64_t to_side, int64_t dim) {
  // Weights of one axis: the cubic of Keys (1981) with a = -1/2, widened by the reduction so that nothing aliases.
  auto cubic = [](double x) {
    constexpr double a = -0.5;
    x = std::fabs(x);
    if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? ((x - 5) * x + 8) * x * a - 4 * a : 0.0;
  };
  const double ratio = double(from_side) / double(to_side), widen = std::max(ratio, 1.0);
  std::vector<double> weights(size_t(to_side * from_side), 0.0);
  for (int64_t i = 0; i < to_side; i++) {
    const double centre = ratio * (double(i) + 0.5);
    const auto first = std::max<int64_t>(0, int64_t(centre - 2 * widen + 0.5)),
               last = std::min(from_side, int64_t(centre + 2 * widen + 0.5));
    double total = 0;
    for (int64_t j = first; j < last; j++) total += weights[size_t(i * from_side + j)] = cubic((double(j) - centre + 0.5) / widen);
    for (int64_t j = first; j < last; j++) weights[size_t(i * from_side + j)] /= total;
  }
  std::vector<float> to(from.begin(), from.begin() + prefix * dim);
  to.resize(size_t((prefix + to_side * to_side) * dim));
  std::vector<double> sum(static_cast<size_t>(dim));
  for (int64_t y = 0; y < to_side; y++)
    for (int64_t x = 0; x < to_side; x++) {
      std::fill(sum.begin(), sum.end(), 0.0);
      for (int64_t v = 0; v < from_side; v++)
        for (int64_t u = 0; u < from_side; u++) {
          const double w = weights[size_t(y * from_side + v)] * weights[size_t(x * from_side + u)];
          if (w == 0) continue;
          const float* row = from.data() + (prefix + v * from_side + u) * dim;
          for (int64_t c = 0; c < dim; c++) sum[size_t(c)] += w * double(row[c]);
        }
      std::transform(sum.begin(), sum.end(), to.begin() + (prefix + y * to_side + x) * dim, [](double s) { return float(s); });
    }
  return to;
}

}  // namespace stflow
