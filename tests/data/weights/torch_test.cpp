// Checkpoints that PyTorch wrote (tests/fixtures/make_torch_files.py): element i of a tensor is i / 4 - 3, of whole numbers i - 3.
#include <doctest/doctest.h>

#include <algorithm>

#include "data/weights/open.h"
#include "data/weights/torch_file.h"
#include "engine/safetensors.h"
#include "tests/files.h"

using namespace stflow;

namespace {

std::vector<double> numbers(std::initializer_list<int> places, double scale = 0.25) {
  std::vector<double> list;
  for (int i : places) list.push_back(i * scale - 3);
  return list;
}

bool has_note(const Weights& w, const std::string& line) { return std::find(w.notes().begin(), w.notes().end(), line) != w.notes().end(); }

}  // namespace

TEST_CASE("torch: every type, views, shared storages, parameters; zip and older files") {
  for (const char* name : {"torch_types.pth", "torch_legacy.pth"}) {
    CAPTURE(name);
    const std::string path = std::string("tests/fixtures/") + name;
    const Weights w = open_weights(path);
    CHECK(w.container() == (std::string(name) == "torch_types.pth" ? "PyTorch zip" : "PyTorch before 1.6"));
    CHECK(w.tensors().size() == 17);
    CHECK(w.notes().empty());
    for (auto [type, stored] : {std::pair{"f64", Stored::f64}, {"f32", Stored::f32}, {"f16", Stored::f16}, {"bf16", Stored::bf16}}) {
      const StoredTensor& t = w.at(std::string("type.") + type);
      CHECK(t.type == stored);
      CHECK(t.shape_text() == "(2, 3)");
      CHECK(w.read<double>(t.name) == numbers({0, 1, 2, 3, 4, 5}));
    }
    for (auto [type, stored] : {std::pair{"i64", Stored::i64}, {"i32", Stored::i32}, {"i16", Stored::i16}, {"i8", Stored::i8}}) {
      CHECK(w.at(std::string("type.") + type).type == stored);
      CHECK(w.read<int64_t>(std::string("type.") + type) == std::vector<int64_t>{-3, -2, -1, 0, 1, 2});
    }
    CHECK(w.read<int64_t>("type.u8") == std::vector<int64_t>{0, 1, 2, 3, 4, 5});
    CHECK(w.read<int32_t>("type.bool") == std::vector<int32_t>{1, 0, 1, 0, 0, 1});
    CHECK(w.at("whole").data == w.at("tied").data);
    CHECK(w.at("transposed").shape == std::vector<int64_t>{5, 4});
    CHECK_FALSE(w.at("transposed").contiguous());
    CHECK(w.read<double>("transposed") == numbers({0, 5, 10, 15, 1, 6, 11, 16, 2, 7, 12, 17, 3, 8, 13, 18, 4, 9, 14, 19}));
    CHECK(w.read<double>("inner") == numbers({6, 8, 11, 13}));
    CHECK(w.at("scalar").shape.empty());
    CHECK(w.read<float>("scalar") == std::vector<float>{2.5f});
    CHECK(w.read<float>("empty").empty());
    CHECK(w.read<double>("parameter") == numbers({0, 1, 2}));
  }
}

TEST_CASE("torch: a piece of a view is converted as the whole is") {
  const Weights w = open_weights("tests/fixtures/torch_types.pth");
  const StoredTensor& t = w.at("transposed");
  const std::vector<float> all = w.read<float>("transposed");
  for (int64_t begin = 0; begin < t.size; begin++)
    for (int64_t end = begin; end <= t.size; end++) {
      std::vector<float> piece(size_t(end - begin), -1);
      convert(t, begin, end, Stored::f32, piece.data(), w.path());
      CHECK(std::equal(piece.begin(), piece.end(), all.begin() + begin));
    }
}

TEST_CASE("torch: Lightning's checkpoint gives its state dict; other objects are named, not made") {
  const Weights w = open_weights("tests/fixtures/torch_lightning.ckpt");
  REQUIRE(w.tensors().size() == 2);
  CHECK(w.read<double>("model.norm.weight") == numbers({0, 1, 2, 3}));
  CHECK(w.at("model.norm.bias").type == Stored::f16);
  CHECK(has_note(w, "left aside 'optimizer_states': 2 tensors"));
  CHECK(has_note(w, "object of argparse.Namespace"));
}

TEST_CASE("torch: of a teacher and a student both are there unless one is chosen") {
  const std::string path = "tests/fixtures/torch_teacher.pth";
  CHECK(open_weights(path).read<float>("teacher.backbone.w")[0] == -6);
  CHECK(open_weights(path).read<float>("student.backbone.w")[0] == -3);
  const Weights teacher = open_weights(path, "teacher");
  REQUIRE(teacher.tensors().size() == 1);
  CHECK(teacher.read<float>("backbone.w")[0] == -6);
  CHECK(has_note(teacher, "left aside 'student': 1 tensors"));
  test::refuses(Exit::data, "{}: torch_teacher/data.pkl: no part 'ema', expected one that wraps tensors", path,
                [&] { open_weights(path, "ema"); });
}

TEST_CASE("weights: renamed views, concatenated rows and own numbers live as long as the copy that has them") {
  Weights made("", "");
  {
    const Weights w = open_weights("tests/fixtures/torch_types.pth");
    made = w.without_tensors();
    StoredTensor t = w.at("inner");
    t.name = "renamed";
    made.add(t);
    made.add_concatenated("rows", {&w.at("inner"), &w.at("inner")});
    made.add_values("values", {2, 1}, {1.5f, -2});
    test::refuses(Exit::data, "{}: tensor 'type.f16': F16 (2, 3), expected F32 (2, 2) but for the first dimension, as 'inner'", w.path(),
                  [&] {
                    made.add_concatenated("bad", {&w.at("inner"), &w.at("type.f16")});
                  });
    test::refuses(Exit::data, "{}: tensor 'renamed' a second time, expected each name once", w.path(), [&] { made.add(t); });
  }
  CHECK(made.read<double>("renamed") == numbers({6, 8, 11, 13}));
  CHECK(made.at("rows").shape == std::vector<int64_t>{4, 2});
  CHECK(made.read<double>("rows") == numbers({6, 8, 11, 13, 6, 8, 11, 13}));
  CHECK(made.read<float>("values") == std::vector<float>{1.5f, -2});
}
