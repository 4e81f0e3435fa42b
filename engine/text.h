// Text at the borders of the program: numbers that no locale changes, names shown in error lines, hints for typing errors.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace stflow {

/// The whole of `s` as a decimal number ("." only; "nan" and "inf" are numbers), whatever the locale. Empty if it is none.
std::optional<double> parse_number(std::string_view s);
/// The whole of `s` as a whole number. Empty if it is none or beyond 64 bits.
std::optional<int64_t> parse_integer(std::string_view s);

/// The shortest decimal text that reads back as the same float.
std::string shortest(float x);
std::string shortest(double x);

/// Text from a file, fit for an error line: in single quotes, control and non-UTF-8 bytes as \xNN, cut at `limit` characters.
std::string shown(std::string_view s, size_t limit = 60);

/// "a, b, c" of at most `limit` names, then "and n more".
std::string listed(std::span<const std::string> names, size_t limit = 10);

}  // namespace stflow
