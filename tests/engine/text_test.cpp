#include "engine/text.h"

#include <doctest/doctest.h>

#include <limits>
#include <vector>

#include "engine/random.h"

using namespace stflow;

TEST_CASE("text: numbers survive the way through text") {
  CHECK(shortest(0.1f) == "0.1");
  CHECK(shortest(0.1) == "0.1");
  CHECK(shortest(-0.0f) == "-0");
  CHECK(shortest(1e30f) == "1e+30");
  CHECK(shortest(std::numeric_limits<float>::quiet_NaN()) == "nan");
  CHECK(shortest(-std::numeric_limits<double>::infinity()) == "-inf");
  RandomKey key(1, Stream::test);
  for (uint64_t i = 0; i < 1000; i++) {
    double x = (open01(key.draw(i).v[0], key.draw(i).v[1]) - 0.5) * 1e3;
    REQUIRE(*parse_number(shortest(x)) == x);
    REQUIRE(float(*parse_number(shortest(float(x)))) == float(x));
  }
  for (const char* bad : {"", "+", "++1", "1,5", "1.5 ", " 1", "0x10", "1e", "--1", "1e400"}) CHECK_FALSE(parse_number(bad).has_value());
  CHECK(parse_integer("-12") == -12);
  for (const char* bad : {"", "1.0", "9223372036854775808", "1 "}) CHECK_FALSE(parse_integer(bad).has_value());
}

TEST_CASE("text: what a file says is shown on one line") {
  CHECK(shown("a b") == "'a b'");
  CHECK(shown("a\nb\x1b[31m") == "'a\\x0ab\\x1b[31m'");
  CHECK(shown("\xc3\xa9\xff") == "'\xc3\xa9\\xff'");
  CHECK(shown("abcdef", 4) == "'abcd...'");
  CHECK(listed(std::vector<std::string>{"a", "b", "c"}) == "a, b, c");
  CHECK(listed(std::vector<std::string>{"a", "b", "c"}, 2) == "a, b and 1 more");
}
