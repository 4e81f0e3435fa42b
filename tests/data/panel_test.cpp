#include "data/panel.h"

#include <doctest/doctest.h>

#include "tests/files.h"

using namespace stflow;

namespace {

Section section(const std::vector<std::string>& genes, const std::vector<float>& counts) {
  Section s;
  s.source.sample = std::string("S"), s.source.counts = "c.tsv";
  s.genes = genes, s.counts = sparse(counts, int64_t(genes.size()));
  for (size_t i = 0; i < counts.size() / genes.size(); i++) s.spots.push_back(std::to_string(i));
  s.xy.resize(2 * s.spots.size());
  return s;
}

}  // namespace

TEST_CASE("panel: most variable genes by the documented rule") {
  // Ten spots: RARE is in one of ten of the first section but in none of the second; FLAT does not vary; ONCE is in one of ten of both.
  std::vector<float> first, second;
  for (int i = 0; i < 10; i++) {
    float even = i % 2 == 0, one = i == 3;
    first.insert(first.end(), {5, 9 * even, 100 * one, 8 * one, 9 * even});
    second.insert(second.end(), {9 * even, 5, 8 * one, 0, 9 * even});
  }
  Section a = section({"FLAT", "HIGH", "RARE", "ONCE", "EQUAL"}, first);
  Section b = section({"EQUAL", "FLAT", "ONCE", "RARE", "HIGH"}, second);
  Panel two = most_variable({&a, &b}, 2);
  CHECK(two.genes == std::vector<std::string>{"EQUAL", "HIGH"});
  CHECK(most_variable({&a, &b}, 1).genes == std::vector<std::string>{"EQUAL"});  // equal variance: by name
  CHECK(most_variable({&a, &b}, 3).genes == std::vector<std::string>{"EQUAL", "HIGH", "ONCE"});
  CHECK(most_variable({&b, &a}, 3).genes == most_variable({&a, &b}, 3).genes);
  test::refuses(Exit::data, "genes: 4 genes are found in at least 10 % of the spots of every training section, expected 5; lower --genes",
                "", [&] {
                  most_variable({&a, &b}, 5);
                });
}

TEST_CASE("panel: columns are found by name") {
  Section s = section({"A", "B", "C"}, {1, 2, 3, 4, 5, 6});
  CHECK(counts_of(s, {{"C", "A"}, ""}).values == std::vector<float>{3, 1, 6, 4});
  PanelCounts zero = counts_of(s, {{"C", "X", "A"}, ""}, MissingGenes::zero);
  CHECK(zero.values == std::vector<float>{3, 0, 1, 6, 0, 4});
  CHECK(zero.measured == std::vector<bool>{true, false, true});
}

TEST_CASE("bad input: panels") {
  Section s = section({"ERBB2", "ENSG01"}, {1, 2});
  auto missing = [&](const std::vector<std::string>& genes, const std::string& line) {
    test::refuses(Exit::data, "c.tsv: " + line, "", [&] { counts_of(s, {genes, ""}); });
  };
  const std::string advice = "; --missing-genes zero fills them and leaves them out of scores";
  missing({"ERBB2", "X"}, "1 of 2 panel genes missing (X), expected all" + advice);
  missing({"erbb2"}, "1 of 1 panel genes missing (erbb2), expected all; it has 'ERBB2': another spelling?" + advice);
  missing({"ENSG01.5"}, "1 of 1 panel genes missing (ENSG01.5), expected all; it has 'ENSG01': another spelling?" + advice);
  missing({"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"},
          "12 of 12 panel genes missing (a, b, c, d, e, f, g, h, i, j and 2 more), expected all" + advice);

  test::TempFolder folder;
  auto refuse = [&](const std::string& text, const std::string& line) {
    std::string path = folder.file("p.json", text);
    test::refuses(Exit::data, "{}: " + line, path, [&] { read_panel(path); });
  };
  refuse("[\"A\"]", "no list 'genes', expected {\"genes\": [\"ACTB\", ...]}");
  refuse(R"({"gene": ["A"]})", "no list 'genes', expected {\"genes\": [\"ACTB\", ...]}");
  refuse(R"({"genes": []})", "genes: empty, expected at least one");
  refuse(R"({"genes": ["A", 3]})", "genes[1]: 3, expected a name");
  refuse(R"({"genes": ["A", "B", "A", "B", "C"]})", "genes: 2 listed more than once (A, B), expected each once");
  refuse(R"({"genes": ["A"], "genes": ["B"]})", "1:18: key 'genes' a second time, expected each key once");
  refuse("{\"genes\": [\"A\",]}",
         "1:16: syntax error while parsing value - unexpected ']'; expected '[', '{', or a literal, expected JSON");
  CHECK(read_panel(folder.file("p.json", R"({"genes": ["B", "A"]})")).genes == std::vector<std::string>{"B", "A"});
}
