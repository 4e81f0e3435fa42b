// What --encoder names: a file, a folder, or a published encoder whose weights were downloaded before.
#pragma once
#include <string>

#include "model/presets.h"

namespace stflow {

struct EncoderSource {
  std::string path;                // a file, or a folder with one
  const Preset* preset = nullptr;  // if a name was given
};

/// A path that exists is taken as it is; anything else is a preset's name or alias, looked for in Hugging Face's cache. Throws
/// Exit::missing in one line that says where it looked and what to download; Exit::usage for a word that is neither.
EncoderSource find_encoder(const std::string& text);

}  // namespace stflow
