#include "data/table.h"

#include <doctest/doctest.h>

#include <clocale>

#include "tests/data/tiny.h"

using namespace stflow;
using namespace std::string_literals;

namespace {

/// All cells of all rows, joined.
std::string read_all(const std::string& bytes, char separator = '\t') {
  Table t(bytes, "t.tsv", separator);
  std::string all;
  auto add = [&](std::string_view s) { all += std::string(s) + "|"; };
  for (const auto& h : t.header()) add(h);
  while (t.next())
    for (size_t i = 0; i < t.header().size(); i++) add(t.cell(i));
  return all;
}

void refuse(const std::string& bytes, const std::string& line) {
  test::refuses(Exit::data, "t.tsv: " + line, "", [&] { read_all(bytes); });
}

}  // namespace

TEST_CASE("table: line ends, byte order mark, gzip members") {
  const std::string plain = "\ta\tb\nr\t1\t2\ns\t3\t4\n", expected = "|a|b|r|1|2|s|3|4|";
  CHECK(read_all(plain) == expected);
  CHECK(read_all("\ta\tb\r\nr\t1\t2\r\ns\t3\t4\r\n") == expected);
  CHECK(read_all("\xef\xbb\xbf" + plain) == expected);
  CHECK(read_all(plain.substr(0, plain.size() - 1)) == expected);
  CHECK(read_all(plain + "\n\n") == expected);
  CHECK(read_all(test::gzip(plain)) == expected);
  CHECK(read_all(test::gzip(plain.substr(0, 7)) + test::gzip("") + test::gzip(plain.substr(7))) == expected);
  std::string many = "id\n";  // lines that straddle the pieces in which gzip data come
  for (int i = 0; i < 200000; i++) many += std::to_string(i) + "\n";
  CHECK(read_all(test::gzip(many)) == read_all(many));
}

TEST_CASE("table: numbers are read the same under any locale") {
  const char* before = std::setlocale(LC_ALL, nullptr);
  std::string saved = before ? before : "C";
  std::setlocale(LC_ALL, "de_DE.UTF-8");  // may be missing; the C locale then stands
  const std::string text = "a\tb\n1.5\t-2e3\n+7\tnan\n";
  Table t(text, "t.tsv", '\t');
  t.next();
  CHECK(t.number(0) == 1.5);
  CHECK(t.number(1) == -2000);
  t.next();
  CHECK(t.number(0) == 7);
  CHECK(t.integer(0) == 7);
  CHECK(t.number(1) != t.number(1));
  std::setlocale(LC_ALL, saved.c_str());
}

TEST_CASE("bad input: tables") {
  refuse("", "is empty, expected a text table");
  refuse("<html>404</html>", "is an HTML page, expected a text table");
  refuse("version https://git-lfs.github.com/spec/v1\noid", "is a Git LFS pointer, not the data, expected a text table");
  refuse("PK\x03\x04", "is a zip archive (PyTorch .pth?), expected a text table");
  refuse("a\tb\n1\t2\n3\n", "line 3, column 2 ('b'): 1 cells, expected 2 as in the header");
  refuse("a\tb\n1\t2\t3\n", "line 2, column 3: 3 cells, expected 2 as in the header");
  refuse("a\tb\n\n1\t2\n", "line 2: empty, expected 2 cells");
  refuse("a\t\"b\"\n", "line 1, column 2: '\"b\"', expected a cell without quotes");
  refuse("a\tb\n1\t\"2\t3\"\n", "line 2, column 2 ('b'): '\"2', expected a cell without quotes");
  refuse("a\tb\n1\t\0002\n"s, "line 2, column 2 ('b'): a NUL byte, expected text");
  refuse(std::string((size_t(64) << 20) + 1, 'x'), "line 1: longer than 67108864 bytes, expected a shorter line");
  refuse(test::gzip(std::string((size_t(64) << 20) + 1, 'x')), "line 1: longer than 67108864 bytes, expected a shorter line");
  auto cell = [](const std::string& text, auto read, const std::string& line) {
    test::refuses(Exit::data, "t.tsv: " + line, "", [&] {
      std::string bytes = "a\tb\n1\t" + text + "\n";
      Table t(bytes, "t.tsv", '\t');
      t.next();
      read(t);
    });
  };
  auto number = [](const Table& t) { (void)t.number(1); };
  auto integer = [](const Table& t) { (void)t.integer(1); };
  cell("3,5", number, "line 2, column 2 ('b'): '3,5', expected a number with a decimal point");
  cell("", number, "line 2, column 2 ('b'): '', expected a number");
  cell("1.5x", number, "line 2, column 2 ('b'): '1.5x', expected a number");
  cell(" 1", number, "line 2, column 2 ('b'): ' 1', expected a number");
  cell("1e999", number, "line 2, column 2 ('b'): '1e999', expected a number");
  cell("2.0", integer, "line 2, column 2 ('b'): '2.0', expected a whole number");
  cell("99999999999999999999", integer, "line 2, column 2 ('b'): '99999999999999999999', expected a whole number");
  cell("\x01\xff" + std::string(100, 'y'), integer,
       "line 2, column 2 ('b'): '\\x01\\xff" + std::string(52, 'y') + "...', expected a whole number");
  std::string bytes = "x\ty\tpixl_x\n";
  test::refuses(Exit::data, "t.tsv: line 1: no column 'pixel_x', expected one; the nearest is 'pixl_x'", "",
                [&] { (void)Table(bytes, "t.tsv", '\t').column("pixel_x"); });
}

TEST_CASE("bad input: gzip") {
  const std::string good = test::gzip("a\tb\n1\t2\n");
  for (size_t n = 2; n < good.size(); n++) refuse(good.substr(0, n), "line 1: the gzip data end early, expected a whole file: truncated?");
  refuse(good + "rubbish", "line 3: 7 bytes after the end of the gzip data, expected the end of the file");
  std::string checksum = good, length = good, inside = good;
  checksum[good.size() - 8] ^= 1, length[good.size() - 1] ^= 1, inside[3] = char(0xff);
  refuse(checksum, "line 1: damaged gzip data (incorrect data check), expected a whole file");
  refuse(length, "line 1: damaged gzip data (incorrect length check), expected a whole file");
  refuse(inside, "line 1: damaged gzip data (unknown header flags set), expected a whole file");
}
