#include "tools/encoder/source.h"

#include <filesystem>

#include "data/weights/hub_cache.h"
#include "engine/error.h"

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
    fail(Exit::missing, "{}: not in Hugging Face's hub, expected the path of {}", text,
         preset->files.empty() ? "its weights" : preset->files[0]);
  return {hub_file(preset->hub, preset->files), preset};
}

}  // namespace stflow
