// What is in a folder.
#pragma once
#include <filesystem>
#include <initializer_list>
#include <string>
#include <vector>

namespace stflow {

/// Names of the entries of a folder, sorted: no order of the file system shows. None if it cannot be read.
std::vector<std::string> entries(const std::filesystem::path& folder);
/// The first of these files that is there; "" if none is.
std::string existing(std::initializer_list<std::filesystem::path> paths);

}  // namespace stflow
