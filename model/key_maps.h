// Checkpoints of other programs under the names of this one: timm's, with what their shapes leave open written beside them.
#pragma once
#include <map>
#include <string>

#include "engine/weights.h"

namespace stflow {

/// How a file names its tensors: one row of the table in model/key_maps.cpp, and where in the file the network lies.
struct KeyStyle {
  std::string name;    // "timm", "DINOv2", "Hugging Face Dinov2"...; "canonical" for a file that canonical() made
  std::string family;  // vit, conch, swin, resnet
  std::string prefix;  // "teacher.backbone.", "visual.", often empty
};

/// Recognises the names. Throws Exit::data if they are of no known kind, or if the file holds several networks and no teacher.
KeyStyle key_style(const Weights& file);

/// The network of a checkpoint, ready for Encoder: its tensors under canonical names (those of other networks and of training heads are
/// left out, with a note), batch norms folded into their convolutions, and in the metadata `family`, and for what shapes do not
/// tell the keys of preset_metadata(): from `settings` (a preset's, and what the user gave), else from the file's own metadata,
/// else from a config.json beside it (Hugging Face's or timm's), else from the conventions of the key style. Tensors are views where they
/// can be. Throws Exit::data for what stays open, naming the flag that settles it, and for what the networks here do not have.
/// A canonical file stays as it is but for `settings`.
Weights canonical(const Weights& file, const std::map<std::string, std::string>& settings = {});

}  // namespace stflow
