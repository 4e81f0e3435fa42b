#include "engine/safetensors.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "engine/half.h"
#include "tests/files.h"

using namespace stflow;

namespace {

/// 8 bytes of length, the header, `data` zero bytes.
std::string container(const std::string& header, size_t data) {
  std::string s(8, '\0');
  for (size_t i = 0; i < 8; i++) s[i] = char(uint64_t(header.size()) >> (8 * i) & 255);
  return s + header + std::string(data, '\0');
}

}  // namespace

TEST_CASE("half: every half survives, floats round to nearest even") {
  for (uint32_t h = 0; h < 65536; h++) {
    float x = half_to_float(uint16_t(h)), b = bfloat_to_float(uint16_t(h));
    if (!std::isnan(x)) REQUIRE(float_to_half(x) == h);
    if (!std::isnan(b)) REQUIRE(float_to_bfloat(b) == h);
  }
  CHECK(float_to_half(1.0f + 0x1p-11f) == 0x3c00);  // a tie goes to even
  CHECK(float_to_half(1.0f + 0x1p-11f + 0x1p-20f) == 0x3c01);
  CHECK(float_to_half(65519.0f) == 0x7bff);
  CHECK(float_to_half(65520.0f) == 0x7c00);
  CHECK(float_to_half(0x1p-25f) == 0);
  CHECK(float_to_half(0x1.8p-25f) == 1);
  CHECK(std::isnan(half_to_float(float_to_half(std::nanf("")))));
  CHECK(std::isnan(bfloat_to_float(float_to_bfloat(std::nanf("")))));
  CHECK(float_to_bfloat(1.0f + 0x1p-8f) == 0x3f80);
}

TEST_CASE("safetensors: what is written is read") {
  test::TempFolder folder;
  std::string path = folder.path("a.safetensors");
  std::vector<float> f{1, 2.5f, -3, 0, 1e-3f, 65504};
  std::vector<double> d{0.1, -0.2};
  std::vector<int32_t> n{1, -2, 3};
  write_safetensors(path,
                    {{"half", view(f.data(), {2, 3}), Stored::f16},
                     {"f", view(f.data(), {6})},
                     {"d", view(d.data(), {2, 1})},
                     {"n", view(n.data(), {3})},
                     {"n64", view(n.data(), {3}), Stored::i64},
                     {"none", view(f.data(), {0, 4})}},
                    {{"genes", "[\"A\"]"}});
  SafeTensors s(path);
  s.verify();
  CHECK(s.meta("genes") == "[\"A\"]");
  CHECK(s.tensors().size() == 6);
  CHECK(s.at("half").shape_text() == "(2, 3)");
  CHECK(s.read<float>("f") == f);
  CHECK(s.read<double>("d") == d);
  CHECK(s.read<int32_t>("n64") == n);
  CHECK(s.read<int64_t>("n") == std::vector<int64_t>{1, -2, 3});
  CHECK(s.read<float>("half")[1] == 2.5f);
  CHECK(s.read<float>("none").empty());
  CHECK(s.find("g") == nullptr);
  for (const auto& t : s.tensors()) CHECK((t.data - s.tensors()[0].data) % bytes_of(t.type) == 0);
  std::vector<double> out(6);
  s.read_into("half", view(out.data(), {2, 3}));
  CHECK(out[5] == 65504);
  test::refuses(Exit::data, "{}: tensor 'half': shape (2, 3), expected (3, 2)", path, [&] {
    s.read_into("half", view(out.data(), {3, 2}));
  });
  test::refuses(Exit::data, "{}: no tensor 'g', expected one among its 6", path, [&] { (void)s.at("g"); });
  test::refuses(Exit::data, "{}: __metadata__: no 'prior', expected one", path, [&] { (void)s.meta("prior"); });
  test::refuses(Exit::data, "{}: tensor 'd': element 0 is 0.1 (F64), expected an integer of 32 bits", path,
                [&] { (void)s.read<int32_t>("d"); });
}

TEST_CASE("safetensors: a flipped bit in any byte and any cut are found") {
  test::TempFolder folder;
  std::string path = folder.path("a.safetensors");
  std::vector<float> f{1, 2, 3};
  write_safetensors(path, {{"f", view(f.data(), {3})}}, {{"step", "7"}});
  const std::string good = read_text(path);
  for (size_t i = 0; i < good.size(); i++) {
    std::string bad = good;
    bad[i] = char(bad[i] ^ (1 << i % 8));
    folder.file("bad", bad);
    CHECK_THROWS_AS(SafeTensors(folder.path("bad")).verify(), Error);
  }
  for (size_t n = 0; n < good.size(); n++) {
    folder.file("bad", good.substr(0, n));
    CHECK_THROWS_AS(SafeTensors(folder.path("bad")).verify(), Error);
  }
}

TEST_CASE("bad input: safetensors, one file per rule") {
  test::TempFolder folder;
  auto refuse = [&](const std::string& content, const std::string& line) {
    std::string path = folder.file("bad.safetensors", content);
    test::refuses(Exit::data, "{}: " + line, path, [&] { SafeTensors s(path); });
  };
  const std::string a = R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
  refuse("", "byte 0: is empty, expected a safetensors file");
  refuse("version https://git-lfs.github.com/spec/v1\n", "byte 0: is a Git LFS pointer, not the data, expected a safetensors file");
  refuse("<!DOCTYPE html>\n", "byte 0: is an HTML page, expected a safetensors file");
  refuse("PK\x03\x04 archive/data.pkl", "byte 0: is a zip archive (PyTorch .pth?), expected a safetensors file");
  refuse("1234567", "byte 0: 7 bytes in all, expected a header length of 8 bytes");
  refuse(std::string("\0\xe1\xf5\x05\0\0\0\0{}", 10), "byte 0: header of 100000000 bytes, expected at most the 2 that follow: truncated?");
  refuse(std::string("\1\xe1\xf5\x05\0\0\0\0{}", 10), "byte 0: header of 100000001 bytes, expected at most 100000000");
  refuse(std::string(8, '\xff') + "{}", "byte 0: header of 18446744073709551615 bytes, expected at most 100000000");
  refuse(container("", 0), "byte 8: no '{', expected a JSON header");
  refuse(container(" {}", 0), "byte 8: no '{', expected a JSON header");
  refuse(container("{" + a + "," + a + "}", 8), "byte 62: key 'a' a second time, expected each key once");
  refuse(container(R"({"a":{"dtype":"F32","shape":[2],"dtype":"F32","data_offsets":[0,8]}})", 8),
         "byte 40: key 'dtype' a second time, expected each key once");
  refuse(container("{\"\xff\":1}", 0),
         "byte 10: syntax error while parsing object key - invalid string: ill-formed UTF-8 byte; last read: '\"\xff'; expected string "
         "literal, expected JSON");
  refuse(container(R"({"a":{"dtype":"F32","shape":[[[2]]],"data_offsets":[0,8]}})", 8), "byte 38: more than 4 levels, expected fewer");
  refuse(container(R"({"a":{"dtype":"F6_E2M3","shape":[4],"data_offsets":[0,3]}})", 3),
         "byte 9: tensor 'a': dtype \"F6_E2M3\", expected F64 F32 F16 BF16 I64 I32 I16 I8 U64 U32 U16 U8 BOOL F8_E4M3 or F8_E5M2");
  refuse(container(R"({"a":{"shape":[2],"data_offsets":[0,2]}})", 2),
         "byte 9: tensor 'a': no 'dtype', expected dtype, shape and data_offsets");
  refuse(container(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}})", 8),
         "byte 9: tensor 'a': 4 members, expected dtype, shape and data_offsets");
  refuse(container(R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", 8),
         "byte 9: tensor 'a': shape with -2, expected whole numbers from 0");
  refuse(container(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}})", 8),
         "byte 9: tensor 'a': shape (4294967296, 4294967296) overflows, expected fewer elements");
  refuse(container(R"({"a":{"dtype":"F64","shape":[4611686018427387904],"data_offsets":[0,8]}})", 8),
         "byte 9: tensor 'a': shape (4611686018427387904) overflows, expected fewer bytes");
  refuse(container(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 8),
         "byte 9: tensor 'a': data_offsets [0,4], expected 8 bytes for F32 (2)");
  refuse(container(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", 8),
         "byte 9: tensor 'a': data_offsets [8,0], expected 8 bytes for F32 (2)");
  refuse(container("{" + a + "}", 7), "byte 9: tensor 'a': ends at byte 70, expected at most 69: truncated?");
  refuse(container("{" + a + "}", 9), "byte 70: 1 bytes after the last tensor, expected the end of the file");
  refuse(container(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})", 12),
         "byte 9: tensor 'a': data start at byte 67 (a hole), expected 63");
  refuse(container("{" + a + R"(,"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})", 12),
         "byte 62: tensor 'b': data start at byte 120 (an overlap), expected 124");
  refuse(container(R"({"__metadata__":{"x":1}})", 0), "byte 9: __metadata__.x is number, expected a string");
  refuse(container(R"({"__metadata__":[]})", 0), "byte 9: __metadata__ is no object, expected names with strings");
  const std::string eight = folder.file("f8.safetensors", container(R"({"a":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]}})", 2));
  test::refuses(Exit::data, "{}: tensor 'a': numbers of type F8_E4M3, expected floats of at least 16 bits", eight,
                [&] { (void)SafeTensors(eight).read<float>("a"); });
  std::string unsigned_file = folder.file("plain.safetensors", container("{" + a + "}", 8));
  test::refuses(Exit::data, "{}: __metadata__: no 'sha256', expected one", unsigned_file, [&] { SafeTensors(unsigned_file).verify(); });
}
