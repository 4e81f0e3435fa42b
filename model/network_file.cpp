#include "model/network_file.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace stflow {

void read_image_input(const Weights& file, ImageInput& c) {
  auto has = [&](const char* key) { return file.metadata().contains(key); };
  if (has("image_size")) c.image = meta_positive(file, "image_size");
  for (auto [key, target] : {std::pair{"mean", &c.mean}, {"std", &c.std}})
    if (has(key)) {
      const auto list = meta_numbers(file, key, 3);
      std::transform(list.begin(), list.end(), target->begin(), [](double x) { return float(x); });
    }
  for (float s : c.std)
    if (!(s > 0)) fail(Exit::data, "{}: metadata: std is '{}', expected positive numbers", file.path(), file.meta("std"));
}

std::map<std::string, std::string> metadata_of(const ImageInput& c) {
  auto three = [](const std::array<float, 3>& a) { return fmt::format("{},{},{}", a[0], a[1], a[2]); };
  return {{"image_size", std::to_string(c.image)}, {"mean", three(c.mean)}, {"std", three(c.std)}};
}

std::vector<double> meta_numbers(const Weights& file, const std::string& key, size_t count) {
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

int64_t meta_positive(const Weights& file, const std::string& key) {
  const double x = meta_numbers(file, key, 1)[0];
  if (x < 1 || x > 1e6 || x != std::floor(x))
    fail(Exit::data, "{}: metadata: {} is {}, expected a whole number from 1 to 1000000", file.path(), key, x);
  return int64_t(x);
}

void read_eps(const Weights& file, float& eps) {
  if (file.metadata().contains("eps")) eps = float(meta_numbers(file, "eps", 1)[0]);
  if (!(eps >= 0)) fail(Exit::data, "{}: metadata: eps is {}, expected a number >= 0", file.path(), eps);
}

std::vector<int64_t> shape_of(const Weights& file, const std::string& name, size_t rank) {
  const StoredTensor& t = file.at(name);
  if (t.shape.size() != rank || std::any_of(t.shape.begin(), t.shape.end(), [](int64_t n) { return n < 1 || n > (1 << 24); }))
    fail(Exit::data, "{}: {}: shape {}, expected {} positive dimensions", file.path(), name, t.shape_text(), rank);
  return t.shape;
}

int64_t square_root(int64_t n) {
  const auto r = int64_t(std::lround(std::sqrt(double(n))));
  return r * r == n ? r : -1;
}

void load_parameters(const Weights& file, const ParameterSet& set, const char* network,
                     const std::function<bool(const Parameter&)>& other) {
  std::string missing, surplus;
  auto note = [](std::string& list, const std::string& name) { list += (list.empty() ? "" : ", ") + name; };
  for (const auto& p : set.all())
    if (!file.find(p.name)) note(missing, p.name);
  for (const auto& t : file.tensors())
    if (!set.find(t.name)) note(surplus, t.name);
  if (!missing.empty() || !surplus.empty())
    fail(Exit::data, "{}: {}{}{}{}{}, expected exactly the tensors of this {}", file.path(), missing.empty() ? "" : "missing ", missing,
         missing.empty() || surplus.empty() ? "" : "; ", surplus.empty() ? "" : "surplus ", surplus, network);
  for (const auto& p : set.all())
    if (!p.packed && (!other || !other(p))) file.read_into(p.name, set.value(p), set.device());
}

}  // namespace stflow
