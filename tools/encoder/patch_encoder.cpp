#include "tools/encoder/patch_encoder.h"

#include <algorithm>
#include <filesystem>

#include "data/weights/open.h"
#include "engine/text.h"
#include "model/key_maps.h"
#include "tools/encoder/source.h"

namespace stflow {
namespace {

/// HEST's patches, which the published encoders' recipes start from.
constexpr int kPublishedPatch = 224;

PixelFilter filter_of(const Preprocess& p) { return p.bicubic ? PixelFilter::bicubic : PixelFilter::bilinear; }

}  // namespace

void declare_encoder(Options& o, EncoderFlags& f) {
  o.flag("encoder", &f.encoder,
         "weights of the image encoder (safetensors or PyTorch), or the name of a published one that Hugging Face's cache has; without it "
         "the one that comes with stflow")
      .placeholder("FILE|NAME");
  o.flag("encoder-preset", &f.preset, "the published encoder that the file of --encoder is, if it does not say so itself")
      .placeholder("NAME");
  o.flag("preprocess", &f.preprocess,
         "of a published encoder: pixels and pooling as its card, HEST, TRIDENT or STPath have them; card if not given")
      .choices({"card", "hest", "trident", "stpath"});
  o.flag("resample", &f.resample, "resize patches that are not of the encoder's size, which are refused otherwise");
  o.flag("patch-microns", &f.microns, "side of a patch in tissue; 0: what the encoder's file says").range(0, 100000);
  o.flag(
       "precision", &f.precision,
       "how the encoder's matrices are held: as the file stores them, or f32, f16, bf16, int8; on a GPU f32, bf16 with activations too, or "
       "tf32, which rounds the factors of all products, the denoiser's too")
      .choices(kPrecisions);
}

Precision precision_of(const std::string& word) {
  return Precision(std::find(kPrecisions.begin(), kPrecisions.end(), word) - kPrecisions.begin());
}

Context context_of(const std::string& precision, const Context& context) {
  Context c = context_of(precision_of(precision), context);
  if (c.products == Products::bf16) c.products = Products::f32;
  return c;
}

std::string shipped(const std::string& folder) {
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  const auto beside = program.parent_path() / folder, installed = program.parent_path() / "../share/stflow" / folder;
  return (std::filesystem::exists(installed, error) && !std::filesystem::exists(beside, error) ? installed : beside)
      .lexically_normal()
      .string();
}

std::string default_encoder() {
  const std::string folder = shipped("weights");
  std::error_code error;
  std::vector<std::string> found;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error))
    if (entry.path().filename().string().starts_with("stflow-vit") && entry.path().extension() == ".safetensors")
      found.push_back(entry.path().string());
  if (!found.empty()) return *std::max_element(found.begin(), found.end());
  fail(Exit::missing,
       "{}: no stflow-vit*.safetensors, expected the encoder that comes with stflow; pass --encoder FILE or --embeddings DIR", folder);
}

/// An encoder's weights, ready for Encoder, and the published encoder that they are.
struct PatchEncoder::Source {
  Weights weights;
  const Preset* preset = nullptr;
  Recipe recipe = Recipe::card;

  static Source open(const EncoderFlags& f) {
    const EncoderSource found = find_encoder(f.encoder.empty() ? default_encoder() : f.encoder);
    const Weights file = open_weights(found.path);
    const auto says = [&](const char* key) {
      const auto at = file.metadata().find(key);
      return at == file.metadata().end() ? std::string() : at->second;
    };
    Recipe recipe = Recipe::card;
    for (const Recipe r : kRecipes)
      if (name_of(r) == f.preprocess.value_or(says("preprocess"))) recipe = r;
    if (const Preset* named = f.preset.empty() ? found.preset : &preset_named(f.preset))
      return {canonical(file, preset_metadata(*named, recipe)), named, recipe};
    // A file that names its preset has the rest beside it; only the pooling is the recipe's.
    const Preset* preset = find_preset(says("preset"));
    if (!preset && !says("preset").empty())
      fail(Exit::data, "{}: metadata: preset is {}, expected a published encoder; the nearest is {}", file.path(), shown(says("preset")),
           nearest_preset(says("preset")));
    if (!preset && f.preprocess)
      fail(Exit::usage, "--preprocess: {} does not say which published encoder it is, expected --encoder-preset NAME with it", file.path());
    std::map<std::string, std::string> settings;
    if (preset && preset->use(recipe).pooling) settings["pooling"] = name_of(*preset->use(recipe).pooling);
    return {canonical(file, settings), preset, recipe};
  }
};

PatchEncoder::PatchEncoder(const EncoderFlags& f) : PatchEncoder(f, Source::open(f)) {}

PatchEncoder::PatchEncoder(const EncoderFlags& f, const Source& source)
    : path_(source.weights.path()), encoder_(source.weights, f.context, precision_of(f.precision), f.batch) {
  const int size = encoder_.size();
  spec_ = {f.microns > 0 ? f.microns : encoder_.microns(), size};
  if (source.preset) {
    pixels_ = source.preset->use(source.recipe).preprocess;
    spec_.size = kPublishedPatch;
  }
  if (f.resample && pixels_.resize == 0) pixels_.resize = size;
  if (f.resample && pixels_.crop == 0) pixels_.crop = size;
  origin_ = encoder_.identity();
  origin_["kind"] = "encoder";
  origin_["microns"] = fmt::format("{}", spec_.microns);
  origin_["patch"] = std::to_string(spec_.size);
  origin_["preprocess"] = pixels_.text();
  if (source.preset) origin_["preset"] = source.preset->name;
}

const PatchSpec& PatchEncoder::scaled_spec() const {
  if (!(spec_.microns > 0))
    fail(Exit::data, "{}: metadata: no 'microns', expected the side of a patch in tissue; --patch-microns gives it", path_);
  return spec_;
}

Image PatchEncoder::prepare(Image patch, const std::string& where) const {
  const int64_t width = patch.width, height = patch.height, size = encoder_.size();
  if (std::max(width, height) > 64 * std::min(width, height))
    fail(Exit::data, "{}: {} x {} pixels, expected a patch about as wide as high", where, width, height);
  patch = preprocess(std::move(patch), pixels_.resize, filter_of(pixels_), pixels_.crop);
  if (patch.width != size || patch.height != size)
    fail(Exit::data, "{}: {} x {} pixels{}, expected {} x {} as the encoder takes them; --resample resizes", where, width, height,
         pixels_ == Preprocess{} ? "" : fmt::format(", after {} {} x {}", pixels_.text(), patch.width, patch.height), size, size);
  return patch;
}

std::string text_of(const Origin& origin) {
  if (origin.empty()) return "of unknown origin";
  std::string text;
  for (const char* first : {"kind", "preset", "weights", "pooling", "preprocess", "microns", "dim"})
    if (const auto found = origin.find(first); found != origin.end())
      text += fmt::format("{}{} {}", text.empty() ? "" : ", ", first, found->second.substr(0, found->first == "weights" ? 12 : 60));
  return text;
}

void compare_origin(const Origin& training, const Origin& here, const std::string& path) {
  const auto kind = [](const Origin& o) { return o.contains("kind") ? o.at("kind") : "absent"; };
  if (kind(training) == "encoder" && kind(here) == "precomputed") {
    terminal::warn("{}: features that do not say what made them are taken for those of training ({})", path, text_of(training));
    return;
  }
  for (const auto& [key, value] : training) {
    const auto found = here.find(key);
    const std::string there = found == here.end() ? "absent" : found->second;
    if (there != value)
      fail(Exit::data, "{}: features: '{}' is {}, expected {} as in training (here: {}; in training: {})", path, key, there, value,
           text_of(here), text_of(training));
  }
}

}  // namespace stflow
