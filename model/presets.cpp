#include "model/presets.h"

#include <algorithm>

#include "engine/error.h"
#include "engine/nearest.h"

namespace stflow {
namespace {

std::string plain(std::string_view name) {
  std::string s(name);
  for (char& c : s) c = c >= 'A' && c <= 'Z' ? char(c + 32) : c == '-' ? '_' : c;
  return s;
}

std::vector<std::string> names_of(const Preset& p) {
  std::vector<std::string> all{plain(p.name)};
  for (std::string_view alias : p.aliases) all.push_back(plain(alias));
  if (!p.hub.empty()) all.push_back(plain(p.hub));
  return all;
}

}  // namespace

const char* name_of(Recipe r) {
  constexpr const char* kNames[] = {"card", "hest", "trident", "stpath"};
  return kNames[size_t(r)];
}

Recipe recipe_of(std::string_view word) {
  for (Recipe r : kRecipes)
    if (word == name_of(r)) return r;
  fail(Exit::usage, "--preprocess: found '{}', expected card, hest, trident or stpath", word);
}

const char* name_of(PositionRule r) {
  constexpr const char* kNames[] = {"antialias", "hf_bicubic", "offset", "bilinear"};
  return kNames[size_t(r)];
}

std::string Preprocess::text() const {
  std::string s = resize > 0 ? fmt::format("{} {}", bicubic ? "bicubic" : "bilinear", resize) : "";
  if (crop > 0) s += fmt::format("{}crop {}", s.empty() ? "" : ", ", crop);
  return s.empty() ? "none" : s;
}

const Preset* find_preset(std::string_view name) {
  const std::string wanted = plain(name);
  for (const Preset& p : presets()) {
    const auto all = names_of(p);
    if (std::find(all.begin(), all.end(), wanted) != all.end()) return &p;
  }
  return nullptr;
}

std::string nearest_preset(std::string_view name) {
  std::vector<std::string> all;
  for (const Preset& p : presets())
    for (std::string& n : names_of(p)) all.push_back(std::move(n));
  return nearest(plain(name), all);
}

const Preset& preset_named(std::string_view name) {
  if (const Preset* p = find_preset(name)) return *p;
  fail(Exit::usage, "--encoder: found '{}', expected a file or the name of an encoder; the nearest is {}", name, nearest_preset(name));
}

std::map<std::string, std::string> preset_metadata(const Preset& p, Recipe recipe) {
  constexpr const char* kFamilies[] = {"vit", "conch", "swin", "resnet"};
  auto three = [](const std::array<float, 3>& a) { return fmt::format("{},{},{}", a[0], a[1], a[2]); };
  std::map<std::string, std::string> m = {{"preset", std::string(p.name)},
                                          {"preprocess", name_of(recipe)},
                                          {"family", kFamilies[size_t(p.family)]},
                                          {"image_size", std::to_string(p.image)},
                                          {"microns", fmt::format("{}", p.microns)},
                                          {"mean", three(p.mean)},
                                          {"std", three(p.std)},
                                          {"positions", name_of(p.positions)}};
  if (p.heads) m["num_heads"] = std::to_string(*p.heads);
  if (p.eps) m["eps"] = fmt::format("{}", *p.eps);
  if (p.family == Family::conch) m["pool_heads"] = "8";  // of both versions, as published
  if (p.stages) m["stages"] = std::to_string(p.stages);
  if (p.use(recipe).pooling) m["pooling"] = name_of(*p.use(recipe).pooling);
  return m;
}

}  // namespace stflow
