// JSON in: one strict parser for configurations, gene panels and safetensors headers.
#pragma once
#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace stflow {

using Json = nlohmann::json;

/// How far a document may go, and how its errors name a place.
struct JsonRules {
  int depth = 64;            // nested objects and arrays
  int64_t values = 300'000;  // numbers, strings, literals, objects and arrays together
  int64_t first_byte = -1;   // >= 0: errors say "byte <first_byte + offset>" instead of "line:column"
};

/// Parses strict UTF-8 JSON (no comments, no NaN). Throws Exit::data "<file>: <line>:<column>: ..." for a syntax error, a key
/// that an object has twice, more depth or values than `rules` allow, an integer beyond 64 bits, a number beyond double, a
/// lone surrogate. `top_keys` (optional) receives the place of each key of the outermost object: its byte in the file.
Json parse_json(std::string_view text, const std::string& file, const JsonRules& rules = {},
                std::map<std::string, int64_t>* top_keys = nullptr);

/// read_text + parse_json.
Json read_json(const std::string& path);

}  // namespace stflow
