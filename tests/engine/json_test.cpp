#include "engine/json.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "tests/files.h"

using namespace stflow;

TEST_CASE("json: reads what is right") {
  Json j = parse_json(R"({"a": [1, -2, 2.5e3], "b": {"c": null, "d": true}, "e": "\u00e9\ud83d\ude00"})", "x.json");
  CHECK(j["a"][1].get<int>() == -2);
  CHECK(j["a"][2].get<double>() == 2500);
  CHECK(j["b"]["d"].get<bool>());
  CHECK(j["e"].get<std::string>() == "\xc3\xa9\xf0\x9f\x98\x80");
  std::map<std::string, int64_t> places;
  JsonRules rules;
  rules.first_byte = 100;
  parse_json(R"({"a": {"x": 1}, "b": 2})", "x.json", rules, &places);
  CHECK(places == std::map<std::string, int64_t>{{"a", 101}, {"b", 116}});
}

TEST_CASE("bad input: JSON names the line and column") {
  auto refuse = [](const std::string& text, const std::string& line) {
    test::refuses(Exit::data, "x.json: " + line, "", [&] { parse_json(text, "x.json"); });
  };
  refuse("{\n  \"a\": 1,\n  \"b\": {\"c\": 1, \"c\": 2}\n}", "3:17: key 'c' a second time, expected each key once");
  refuse("[1,\n 1e400]", "2:6: number overflow parsing '1e400', expected JSON");
  refuse("[123456789012345678901234567890]", "1:3: an integer beyond 64 bits, expected a smaller one");
  refuse("[1, NaN]", "1:5: syntax error while parsing value - invalid literal; last read: '1, N', expected JSON");
  refuse(R"(["\ud800"])",
         "1:9: syntax error while parsing value - invalid string: surrogate U+D800..U+DBFF must be followed by "
         "U+DC00..U+DFFF; last read: '\"\\ud800\"', expected JSON");
  refuse(std::string(100, '['), "1:65: more than 64 levels, expected fewer");
  refuse(std::string(1'000'000, '['), "1:65: more than 64 levels, expected fewer");
  refuse("", "1:1: nothing, expected JSON");
  refuse(" ", "1:2: syntax error while parsing value - unexpected end of input; expected '[', '{', or a literal, expected JSON");
  refuse("[] x", "1:4: syntax error while parsing value - invalid literal; last read: '[] x'; expected end of input, expected JSON");
  refuse("[\"\xff\"]", "1:3: syntax error while parsing value - invalid string: ill-formed UTF-8 byte; last read: '\"\xff', expected JSON");
  JsonRules few;
  few.values = 3;
  test::refuses(Exit::data, "x.json: 1:8: more than 3 values, expected fewer", "", [&] { parse_json("[1,2,3,4]", "x.json", few); });
}
