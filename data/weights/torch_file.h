// PyTorch checkpoints, read without running anything: the zip container of torch.save() since 1.6 and the plain pickles before it.
// https://github.com/pytorch/pytorch/blob/main/torch/serialization.py
#pragma once
#include <memory>
#include <string>

#include "engine/weights.h"

namespace stflow {

/// True if the bytes begin like torch.save()'s format before 1.6: a pickle of the magic number.
bool is_legacy_torch(std::string_view head);

/// The tensors of a checkpoint. Nested dictionaries and lists become names joined by '.'; a dictionary that only wraps another
/// ("state_dict", "model", "teacher", "student", "ema"...) is taken off, what lies beside it is counted in notes(). Of several such
/// (a teacher and a student) all are there, with their names in front, unless `part` chooses one. Names of classes that were not made are
/// in notes(), too. Throws Exit::data for everything that data/weights/{zip,pickle}.h refuse, a tensor outside its storage, more elements
/// than its storage, numbers that are not little-endian, no tensor at all.
Weights read_torch_zip(std::shared_ptr<const FileView> file, const std::string& part = "");
Weights read_torch_legacy(std::shared_ptr<const FileView> file, const std::string& part = "");

/// Compares every record of a zip with its CRC-32: reads the whole file. Throws Exit::data for a damaged one.
void verify_torch_zip(const std::string& path);

}  // namespace stflow
