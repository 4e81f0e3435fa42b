// What --encoder names: a file, a folder, or a published encoder whose weights were downloaded before.
#pragma once
#include <optional>
#include <string>

#include "engine/weights.h"
#include "model/presets.h"

namespace stflow {

struct EncoderSource {
  std::string path;                // a file, or a folder with one
  const Preset* preset = nullptr;  // if a name was given
};

/// A path that exists is taken as it is; anything else is a preset's name or alias, looked for in Hugging Face's cache. Throws
/// Exit::missing in one line that says where it looked and what to download; Exit::usage for a word that is neither.
EncoderSource find_encoder(const std::string& text);

/// What --encoder names, ready for Encoder: opened, under canonical names, with what its preset settles (the name's, or that of the file's
/// metadata) as `recipe` has it: card, hest, trident or stpath; without one as the file says, else as the card. Throws as open_weights()
/// and canonical(), and Exit::usage for a recipe where no preset is known.
Weights encoder_weights(const std::string& text, const std::optional<std::string>& recipe = {});

}  // namespace stflow
