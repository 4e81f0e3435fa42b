// Weights in several files with an index: *.safetensors.index.json, pytorch_model.bin.index.json.
#pragma once
#include <memory>

#include "engine/weights.h"

namespace stflow {

/// {"metadata": {...}, "weight_map": {"<tensor>": "<file>"}}: opens the files, which lie beside the index, and gives the tensors that it
/// names. Throws Exit::data for an index of another form, a file name with a folder in it, a tensor that its file lacks or has as well.
Weights read_sharded(const std::shared_ptr<const FileView>& index);

}  // namespace stflow
