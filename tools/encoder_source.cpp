#include "tools/encoder_source.h"

#include <filesystem>

#include "data/weights/hub_cache.h"
#include "data/weights/open.h"
#include "engine/error.h"
#include "model/key_maps.h"

namespace stflow {

EncoderSource find_encoder(const std::string& text) {
  std::error_code error;
  if (std::filesystem::exists(text, error)) return {text, nullptr};
  const Preset* preset = find_preset(text);
  // What looks like a path is a missing file; a bare word may be a name with a typing error.
  if (!preset && (text.find('/') != std::string::npos || text.find('.') != std::string::npos))
    fail(Exit::missing, "{}: no such file, expected a file or folder of weights or the name of an encoder", text);
  if (!preset) preset = &preset_named(text);
  if (preset->hub.empty())
    fail(Exit::missing, "{}: not in Hugging Face's hub, expected the path of {}", text, preset->files.empty() ? "its weights" : preset->files[0]);
  return {hub_file(preset->hub, preset->files), preset};
}

Weights encoder_weights(const std::string& text, const std::optional<std::string>& recipe) {
  const EncoderSource source = find_encoder(text);
  const Weights file = open_weights(source.path);
  const Preset* preset = source.preset;
  if (recipe && !preset) {
    if (!file.metadata().contains("preset"))
      fail(Exit::usage, "--preprocess: {} does not say which published encoder it is, expected no such flag", file.path());
    preset = &preset_named(file.meta("preset"));
  }
  std::map<std::string, std::string> settings;
  if (preset) settings = preset_metadata(*preset, recipe_of(recipe.value_or("card")));
  return canonical(file, settings);
}

}  // namespace stflow
