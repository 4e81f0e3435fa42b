// Opens a file of weights whatever it is: told from its content, never from its name.
#pragma once
#include <string>

#include "engine/weights.h"

namespace stflow {

/// The weights in `path`: safetensors, a zip or an older file of torch.save(), the *.index.json of either in several parts, or a folder
/// with one of these as Hugging Face lays them out. Files are mapped; no tensor is read. `part` chooses among the state dicts of a
/// checkpoint with several ("teacher"). A config.json beside the file goes into metadata() as "config.*".
/// Throws Exit::missing, or Exit::data as the readers do and for anything else: a Git LFS pointer, a web page, gzip...
Weights open_weights(const std::string& path, const std::string& part = "");

/// The same of bytes in memory, without what lies beside them: for fuzzers.
Weights read_weights(std::shared_ptr<const FileView> file, const std::string& part = "");

/// The file of weights in a folder; throws Exit::missing if there is none or more than one.
std::string weights_in(const std::string& folder);

}  // namespace stflow
