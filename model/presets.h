// The published pathology encoders by name: what their files leave open and their users must agree on. Plain data, no weights.
#pragma once
#include <array>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ops/pool_tokens.h"

namespace stflow {

/// Which network a checkpoint of this name holds.
enum class Family : uint8_t { vit, conch, swin, resnet };

/// Whose instructions for pixels and pooling: the model's own card, or what the benchmark and tool of that name do.
enum class Recipe : uint8_t { card, hest, trident, stpath };
constexpr std::array<Recipe, 4> kRecipes = {Recipe::card, Recipe::hest, Recipe::trident, Recipe::stpath};
const char* name_of(Recipe);
/// Throws Exit::usage naming --preprocess for another word.
Recipe recipe_of(std::string_view word);

/// How position embeddings of another grid are resampled.
enum class PositionRule : uint8_t {
  antialias,   // bicubic a = -1/2, antialiased: timm, HF Dinov2 with registers, DINOv2 with registers
  hf_bicubic,  // bicubic a = -3/4 to the wanted size: HF ViT and Dinov2
  offset,      // bicubic a = -3/4 by a factor with 0.1 cells too much: DINO, iBOT, DINOv2 without registers
  bilinear,    // CONCH 1.5 when it loads
};
const char* name_of(PositionRule);
constexpr std::array<PositionRule, 4> kPositionRules = {PositionRule::antialias, PositionRule::hf_bicubic, PositionRule::offset,
                                                        PositionRule::bilinear};

/// What happens to a patch's pixels before they are scaled: the shorter side to `resize` pixels, then the `crop` x `crop` in the middle.
struct Preprocess {
  int resize = 0;        // 0: not resized
  bool bicubic = false;  // else bilinear; both as Pillow filters 8-bit pixels
  int crop = 0;          // 0: not cropped

  bool operator==(const Preprocess&) const = default;
  /// "bicubic 256, crop 224", "none".
  [[nodiscard]] std::string text() const;
};

/// What a recipe chooses.
struct Use {
  std::optional<Pooling> pooling;  // of a ViT's tokens; empty: the family has one way only
  Preprocess preprocess;
};

struct Preset {
  std::string_view name;                  // HEST's where it has one
  std::vector<std::string_view> aliases;  // TRIDENT's, STFlow's and STPath's
  std::string_view hub;                   // Hugging Face repository; "" where there is none
  std::vector<std::string_view> files;    // names in it, the best first
  Family family = Family::vit;
  int image = 224;           // pixels of a side that it is used with
  std::optional<int> heads;  // empty: the checkpoint or its config.json must say
  std::optional<float> eps;  // of the trunk's layer norms; empty: as heads
  PositionRule positions = PositionRule::antialias;
  std::array<float, 3> mean, std;  // of pixels scaled to [0, 1]
  std::array<Use, 4> uses;         // by Recipe
  double microns = 112;            // side of a patch in tissue: 224 pixels of 0.5 um, as HEST cuts them
  int stages = 0;                  // of a ResNet, beyond which it is cut off; 0: all

  [[nodiscard]] const Use& use(Recipe r) const { return uses[size_t(r)]; }
};

/// All of them.
const std::vector<Preset>& presets();

/// By name, alias or hub repository; upper case, '-' and '_' do not matter. Null if there is none.
const Preset* find_preset(std::string_view name);
/// The known name that is nearest to a mistyped one.
std::string nearest_preset(std::string_view name);
/// As find_preset(); throws Exit::usage "--encoder: ..." with the nearest name.
const Preset& preset_named(std::string_view name);

/// What the preset adds to a checkpoint that says nothing itself, in the keys that a canonical encoder file has in its metadata:
/// preset, preprocess (the recipe), family, image_size, microns, mean, std, positions, and where it settles them num_heads, pool_heads,
/// eps, pooling and stages.
std::map<std::string, std::string> preset_metadata(const Preset& preset, Recipe recipe);

}  // namespace stflow
