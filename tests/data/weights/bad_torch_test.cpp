// One handcrafted file for each rule of the readers of PyTorch's files.
#include <doctest/doctest.h>

#include "data/weights/open.h"
#include "data/weights/pickle.h"
#include "engine/text.h"
#include "tests/data/weights/builders.h"
#include "tests/files.h"

using namespace stflow;
using namespace stflow::test;

namespace {

/// REQUIREs that a file of these bytes is refused with this line.
void refused(const std::string& bytes, const std::string& line) {
  const TempFolder folder;
  const std::string path = folder.file("file.pth", bytes);
  CAPTURE(line);
  refuses(Exit::data, "{}: " + line, path, [&] { open_weights(path); });
}

/// The same of a checkpoint with this pickle; messages begin with its record.
void refused_pickle(const std::string& pickle, const std::string& line, const std::vector<std::string>& storages = {}) {
  refused(torch_zip(pickle, storages), "a/data.pkl: " + line);
}

const std::string kFloats = storage("0", "Float", 6);
const std::string kGood = pickled(dict({{"w", tensor(kFloats, 0, {2, 3}, {3, 1})}}));

std::string replaced(std::string bytes, const std::string& from, const std::string& to) {
  const size_t at = bytes.rfind(from);
  REQUIRE(at != std::string::npos);
  return bytes.replace(at, from.size(), to);
}

}  // namespace

TEST_CASE("weights: the handcrafted checkpoint, which the bad ones differ from, is good; zip64 too") {
  const TempFolder folder;
  const std::vector<ZipPart> parts{{"../x/data.pkl", kGood}, {"../x/data/0", std::string(24, '\1')}};
  for (bool large : {false, true}) {
    const Weights w = open_weights(folder.file("good", zip(parts, large)));
    CHECK(w.at("w").shape_text() == "(2, 3)");
    CHECK(w.read<float>("w")[5] > 0);
  }
}

TEST_CASE("bad input: zip archives, one file per rule") {
  const std::string good = torch_zip(kGood, {std::string(24, '\1')});
  auto bad = [&](const std::vector<ZipPart>& parts, const std::string& line) { refused(zip(parts), line); };
  refused(good.substr(0, good.size() - 1), fmt::format("byte {}: no end of a zip directory, expected one: truncated?", good.size() - 1));
  bad({{"a/data.pkl", kGood, 8}},
      fmt::format("byte {}: record 'a/data.pkl' is compressed (method 8), expected stored bytes as torch.save() writes them",
                  40 + kGood.size()));
  bad({{"a/data.pkl", kGood, 0, 1}}, fmt::format("byte {}: record 'a/data.pkl' is encrypted, expected plain bytes", 40 + kGood.size()));
  bad({{"x", ""}, {"x", ""}}, "byte 109: record 'x' a second time, expected each name once");
  bad({{"a/data.pkl", kGood, 0, 0, "b/data.pkl"}},
      "byte 0: the header of record 'a/data.pkl' differs from the directory, expected the same");
  const std::string one = zip({{"x", "12345678"}});
  refused(replaced(one, little(8, 4) + little(8, 4) + little(1, 2), little(9, 4) + little(8, 4) + little(1, 2)),
          "byte 39: record 'x' has 8 bytes stored as 9, expected the same");
  const std::string streamed = zip({{"x", "12345678", 0, 8}});
  const std::string sizes = little(8, 4) + little(8, 4);
  std::string long_one = replaced(streamed, sizes, little(9, 4) + little(9, 4));
  long_one = replaced(long_one, sizes, little(0, 4) + little(0, 4));
  refused(long_one, "byte 0: record 'x' of 9 bytes, expected its end before the directory");
  refused(replaced(one, little(0, 4) + "x", little(30, 4) + "x"), "byte 39: record 'x' at byte 30, expected it before the directory");
  refused(replaced(one, little(0, 4) + "x", little(1, 4) + "x"), "byte 1: no header of record 'x', expected one");
  refused(replaced(one, "PK\x01\x02", "PK\x01\x03"), "byte 39: no record of the directory, expected one");
  const std::string end = "PK\x05\x06" + little(0, 4);
  refused(replaced(one, end, "PK\x05\x06" + little(1, 4)), "byte 86: an archive in several parts, expected one file");
  refused(replaced(one, end + little(1, 2) + little(1, 2), end + little(2, 2) + little(2, 2)),
          "byte 86: 2 records in 47 bytes, expected fewer");
  refused(replaced(one, little(47, 4) + little(39, 4), little(48, 4) + little(39, 4)),
          "byte 86: directory of 48 bytes at byte 39, expected it before its end record");
  const std::string large = zip({{"x", "12345678"}}, true);
  refused(replaced(large, "PK\x06\x07", "PK\x06\x08"), fmt::format("byte {}: no zip64 locator, expected one", large.size() - 42));
  refused(replaced(large, "PK\x06\x06", "PK\x06\x09"), fmt::format("byte {}: no zip64 end record, expected one", large.size() - 98));
  refused(replaced(large, little(1, 4) + "PK\x05\x06", little(1, 4) + "PK\x05\x06").replace(large.size() - 34, 8, little(large.size(), 8)),
          fmt::format("byte {}: zip64 end record at byte {}, expected it before its locator", large.size() - 42, large.size()));
  refused(replaced(large, little(1, 2) + little(24, 2), little(1, 2) + little(25, 2)),
          "byte 67: extra field of 25 bytes, expected at most 24");
  refused(replaced(large, little(1, 2) + little(24, 2), little(1, 2) + little(8, 2)),
          "byte 67: a zip64 field of 8 bytes, expected 8 for each large number");
  bad({{"x", "1"}}, "a zip archive without data.pkl, expected a checkpoint of PyTorch");
  bad({{"a/data.pkl", kGood}, {"b/data.pkl", kGood}}, "'a/data.pkl' and 'b/data.pkl', expected one data.pkl");
  bad({{"a/data.pkl", kGood}, {"a/byteorder", "big"}}, "byteorder: 'big', expected little");
  bad({{"a/data.pkl", kGood}, {"a/constants.pkl", ""}},
      "constants.pkl: a TorchScript program, expected a state dict: save model.state_dict() instead");
  std::string flipped = torch_zip(kGood, {std::string(24, '\1')});
  flipped[60] ^= 1;
  const TempFolder folder;
  CHECK_THROWS_WITH_AS(open_weights(folder.file("f", flipped)), doctest::Contains("'a/data.pkl': CRC "), Error);
}

TEST_CASE("bad input: a zip whose records lie over each other") {
  // The second record's header is inside the first one's data.
  const std::string inner = zip({{"y", "12345678"}}).substr(0, 39);
  std::string both = zip({{"x", inner}, {"y", "12345678"}});
  both = replaced(both, little(31 + 39, 4) + "y", little(31, 4) + "y");
  refused(both, "byte 62: record 'y' lies over 'x', expected one after another");
}

TEST_CASE("bad input: pickles, one file per rule") {
  const std::vector<std::string> data{std::string(24, '\1')};
  auto bad = [&](const std::string& value, const std::string& line) { refused_pickle(pickled(value), line, data); };
  refused_pickle("\x80\x06N.", "byte 0: protocol 6, expected at most 5");
  refused_pickle(kGood + "N", fmt::format("byte {}: 1 bytes after STOP, expected its end", kGood.size()), data);
  refused_pickle("\x80\x02N", "byte 3: opcode of 1 bytes, expected at most the 0 that follow: truncated?");
  bad("", "byte 2: nothing on the stack, expected a value");
  bad("NN", "byte 4: 2 values left at STOP, expected one");
  bad("\x82", "byte 2: opcode 0x82, expected one of a state dict's");
  bad("P1\n", "byte 2: opcode 0x50, expected one of a state dict's");
  bad("X" + little(9, 4) + "abc", "byte 2: text of 9 bytes, expected at most the 4 that follow: truncated?");
  bad("\x8d" + std::string(8, '\xff'), "byte 2: text of 18446744073709551615 bytes, expected at most the 1 that follow: truncated?");
  bad("Vabc", "byte 2: text without an end, expected a newline: truncated?");
  bad("I1x\n", "byte 2: '1x', expected a whole number of 64 bits");
  bad("Nt", "byte 3: no mark on the stack, expected one");
  bad("h\x05", "byte 2: memo entry 5, expected one that was stored");
  bad("Nr" + little(1000000, 4), "byte 3: memo entry 1000000, expected fewer than 1000000");
  bad("Np-1\n", "byte 3: memo entry '-1', expected a whole number from 0");
  bad(std::string(65, '('), "byte 66: more than 64 levels, expected fewer");
  bad("](N" + std::string("s"), "byte 5: nothing on the stack, expected a value");
  bad("NNa", "byte 4: items for a None, expected a list");
  bad("}(Nu", "byte 5: 1 items for a dict, expected pairs");
  bad("(Nd", "byte 4: 1 items for a dict, expected pairs");
  bad("N)R", "byte 4: a call of a None, expected a global");
  bad(global("os", "system") + "NR", "byte 14: a call's arguments is a None, expected a tuple");
  bad("NN\x93", "byte 4: a module is a None, expected a str");
  bad("(o", "byte 3: an object without a class, expected one");
  bad("NQ", "byte 3: a persistent id is a None, expected a tuple");
  bad(")Q", "byte 3: a persistent id of 0 parts, expected 5");
  auto ends = [&](const std::string& value, const std::string& line) {
    bad(value, fmt::format("byte {}: {}", 2 + value.size() - 1, line));  // at the last opcode of the value
  };
  const std::string type = global("torch", "FloatStorage");
  ends(tuple({text("module"), type, text("0"), text("cpu"), whole(6)}) + "Q", "a persistent id of 'module', expected 'storage'");
  ends(tuple({text("storage"), text("x"), text("0"), text("cpu"), whole(6)}) + "Q", "a storage's type is a str, expected a global");
  ends(tuple({text("storage"), type, whole(0), text("cpu"), whole(6)}) + "Q", "a storage's key is a int, expected a str");
  ends(tuple({text("storage"), type, text("0"), text("cpu"), "N"}) + "Q", "a storage's length is a None, expected a int");
  ends(storage("0", "Float", -1), "a storage of -1 elements, expected whole numbers from 0");
  ends(tuple({text("storage"), type, text("0"), text("cpu"), whole(6), tuple({})}) + "Q",
       "a storage that is part of another, expected whole ones; write it anew with a later torch.save()");
  const std::string rebuild = global("torch._utils", "_rebuild_tensor_v2");
  ends(call(rebuild, {kFloats}), "a tensor of 1 parts, expected storage, offset, size and stride");
  ends(tensor("N", 0, {2}, {1}), "a tensor's storage is a None, expected a storage");
  ends(tensor(kFloats, -1, {2}, {1}), "a tensor's offset with -1, expected whole numbers from 0");
  ends(tensor(kFloats, 0, {-2}, {1}), "a tensor's size with -2, expected whole numbers from 0");
  ends(tensor(kFloats, 0, {2}, {-1}), "a tensor's stride with -1, expected whole numbers from 0");
  ends(call(rebuild, {kFloats, whole(0), tuple({"N"}), numbers({1})}), "a tensor's size is a None, expected a int");
  ends(tensor(kFloats, 0, {2, 3}, {1}), "a tensor of 2 sizes and 1 strides, expected as many and at most 16");
  ends(tensor(kFloats, 0, std::vector<int64_t>(17, 1), std::vector<int64_t>(17, 1)),
       "a tensor of 17 sizes and 17 strides, expected as many and at most 16");
}

TEST_CASE("bad input: pickles that unfold without end") {
  auto bad = [&](const std::string& value, const std::string& line) { refused_pickle(pickled(value), line, {std::string(24, '\1')}); };
  bad(std::string(500'001, '}'), "byte 500002: more than 500000 values, expected fewer");
  bad("(N" + std::string(1'000'000, '2') + "l", "byte 1000003: a stack of more than 1000000 entries, expected fewer");
  bad("]q\x01(" + std::string(600'000, 'N').replace(1, 599'999, std::string(599'999, '2')) + "e(" + "N" + std::string(400'001, '2') + "e",
      "byte 1000010: more than 1000000 items, expected fewer");
  bad("]q\x01h\x01" + std::string("a"), "more than 64 levels, expected fewer");  // a list that holds itself
  std::string laughs = "]N" + std::string("a");
  for (int i = 0; i < 40; i++) laughs = "](" + laughs + "2e";  // each holds the one before twice
  bad(laughs, "more than 1000000 values, expected fewer");
  const std::string w = tensor(kFloats, 0, {6}, {1});
  bad("(" + w + "q\x01" + std::string(20'000, '2') + "l", "more than 20000 tensors, expected fewer");
  bad("}" + text(std::string(1001, 'x')) + w + "s", "a name of more than 1000 bytes, expected a shorter one");
}

TEST_CASE("bad input: tensors outside their storages, and no tensors") {
  auto bad = [&](const std::string& value, const std::string& line) {
    refused(torch_zip(pickled(dict({{"w", value}})), {std::string(24, '\1')}), line);
  };
  const std::string room = ", expected it in its storage of 24 bytes";
  bad(tensor(kFloats, 0, {7}, {1}), "tensor 'w': F32 (7) at element 0: more elements than there are" + room);
  bad(tensor(kFloats, 0, {1000, 1000}, {0, 0}), "tensor 'w': F32 (1000, 1000) at element 0: more elements than there are" + room);
  bad(tensor(kFloats, 1, {6}, {1}), "tensor 'w': F32 (6) at element 1: ends outside" + room);
  bad(tensor(kFloats, 0, {3}, {3}), "tensor 'w': F32 (3) at element 0: ends outside" + room);
  bad(tensor(kFloats, 0, {3}, {int64_t{1} << 62}), "tensor 'w': F32 (3) at element 0: ends outside" + room);
  bad(tensor(kFloats, 0, {5}, {int64_t{1} << 62}), "tensor 'w': F32 (5) at element 0: strides overflow" + room);
  bad(tensor(kFloats, int64_t{1} << 62, {2}, {1}), "tensor 'w': F32 (2) at element 4611686018427387904: ends outside" + room);
  bad(tensor(storage("0", "Double", 6), 0, {4}, {1}), "tensor 'w': F64 (4) at element 0: more elements than there are" + room);
  bad(tensor(storage("7", "Float", 6), 0, {6}, {1}), "tensor 'w': no record data/'7', expected its storage");
  bad("N", "a/data.pkl: no tensor, expected a state dict; only tensors are read");
  bad(call(global("os", "system"), {text("touch /tmp/x")}),
      "a/data.pkl: no tensor; needs os.system, expected a state dict; only tensors are read");
  bad(tensor(storage("0", "ComplexFloat", 3), 0, {3}, {1}),
      "a/data.pkl: no tensor; needs torch.ComplexFloatStorage, expected a state dict; only tensors are read");
  refused(torch_zip(pickled("}N" + tensor(kFloats, 0, {6}, {1}) + "s"), {std::string(24, '\1')}),
          "a/data.pkl: a dictionary with a key that is no text, expected names");
  refused(torch_zip(pickled("}" + text("a\nb") + tensor(kFloats, 0, {6}, {1}) + "s"), {std::string(24, '\1')}),
          "tensor 'a\\x0ab': such a name, expected printable UTF-8");
}

TEST_CASE("bad input: files of torch.save() before 1.6, one per rule") {
  const std::string value = dict({{"w", tensor(kFloats, 0, {6}, {1})}}), bytes = little(6, 8) + std::string(24, '\1');
  const std::string good = legacy(value, {"0"}, bytes);
  const TempFolder folder;
  CHECK(open_weights(folder.file("good", good)).read<float>("w").size() == 6);
  refused(replaced(good, pickled(whole(1001)), pickled(whole(1002))),
          "byte 15: another protocol of torch.save(), expected 1001; load it in Python and torch.save() it again");
  refused(replaced(good, text("little_endian") + "\x88", text("little_endian") + "\x89"),
          "big-endian numbers, expected little-endian ones; load it in Python and torch.save() it again");
  const size_t data = good.size() - 32;
  refused(good.substr(0, good.size() - 1),
          fmt::format("byte {}: storage of 24 bytes, expected at most the 23 that follow: truncated?", data));
  refused(good + "x", fmt::format("byte {}: 1 bytes after the last storage, expected the end of the file", good.size()));
  refused(legacy(value, {"0", "0"}, bytes + bytes), fmt::format("byte {}: storage '0' a second time, expected each once", data + 6 + 32));
  refused(legacy(value, {"1"}, bytes), fmt::format("byte {}: a storage that no tensor names, expected one of 1", data));
  refused(legacy(value), "tensor 'w': no storage '0', expected it");
  refused(replaced(good, little(6, 8), std::string(8, '\x7f')),
          fmt::format("byte {}: a storage of {} elements, expected fewer", data, 0x7f7f7f7f7f7f7f7f));
  const std::string complex = legacy(dict({{"w", tensor(storage("0", "ComplexFloat", 3), 0, {3}, {1})}}), {"0"}, bytes);
  refused(complex, fmt::format("byte {}: a storage of numbers that are not known here, expected floats or integers; load it in Python and "
                               "torch.save() it again",
                               complex.size() - 32));
  const std::string list = pickled("](" + text("0") + "e");
  refused(replaced(good, list, pickled("N")), fmt::format("byte {}: no list of storages, expected one", data - list.size()));
}

TEST_CASE("bad input: other files are told from weights by their content, whatever their name") {
  const std::string expected = ", expected weights: safetensors or a file of torch.save()";
  refused("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "byte 0: is a Git LFS pointer, not the data" + expected);
  refused("<!DOCTYPE html><title>404</title>", "byte 0: is an HTML page" + expected);
  refused("\x1f\x8b\x08", "byte 0: is gzip data" + expected);
  refused("\x89HDF\r\n\x1a\n", "byte 0: is an HDF5 file" + expected);
  refused("", "byte 0: is empty" + expected);
  refused("\x80\x04N.", "byte 0: is a pickle without the magic number of torch.save()" + expected);
  const std::string tar = "byte 0: is a tar archive (PyTorch before 0.2?); load it in Python and torch.save() it again" + expected;
  refused("sys_info" + std::string(1000, '\0'), tar);
  refused(std::string(257, 'x') + "ustar" + std::string(1000, '\0'), tar);
  refused("1234567", "byte 0: 7 bytes in all, expected a header length of 8 bytes");
}
