// The one JSON object of a command under --json.
#pragma once
#include <nlohmann/json.hpp>

namespace stflow {

/// Keeps keys in the order they were put in.
using JsonOut = nlohmann::ordered_json;

/// Writes `object` and a newline to stdout and flushes. NaN and infinities become null. Call once, at the end: then a
/// failed run leaves stdout empty. Throws Exit::io when it cannot be written.
void print_json(const JsonOut& object);

}  // namespace stflow
