#include "data/legacy_st.h"

#include <doctest/doctest.h>

#include <cmath>

#include "data/patches.h"
#include "tests/data/tiny.h"

using namespace stflow;

namespace {

Counts counts(const std::string& text, const DataOptions& options = {}) { return read_counts(text, "c.tsv", options); }
SpotTable spots(const std::string& text, const DataOptions& options = {}) { return read_spots(text, "s.tsv", options); }

/// A section from a counts and a spot table.
struct Pair {
  test::TempFolder folder;
  Section section;
  std::vector<std::string> warnings;
  Pair(const std::string& counts_text, const std::string& spots_text, const DataOptions& options = {}, double mpp = 0) {
    section.source.sample = std::string("S");
    section.source.counts = folder.file("c.tsv", counts_text);
    section.source.spots = folder.file("s.tsv", spots_text);
    section.source.mpp = mpp;
    read_legacy(section, options, warnings);
  }
};

const std::string kCounts = "\tA\tB\n1x1\t1\t2\n2x1\t3\t4\n1x2\t5\t6\n2x2\t7\t8\n";
const std::string kSpots =
    "x\ty\tnew_x\tnew_y\tpixel_x\tpixel_y\tselected\n2\t2\t2\t2\t250."
    "5\t260\t1\n1\t1\t1\t1\t50\t60\t1\n2\t1\t2\t1\t250\t60\t1\n1\t2\t1\t2\t50\t260\t0\n";

}  // namespace

TEST_CASE("legacy ST: joined by spot id in the order of the counts, selected spots only") {
  Pair p(kCounts, kSpots);
  CHECK(p.section.spots == std::vector<std::string>{"1x1", "2x1", "2x2"});
  CHECK(p.section.xy == std::vector<double>{50, 60, 250, 60, 250.5, 260});
  CHECK(dense(p.section.counts, 2) == std::vector<float>{1, 2, 3, 4, 7, 8});
  CHECK(p.section.mpp == doctest::Approx(1).epsilon(0.01));
  CHECK(p.warnings == std::vector<std::string>{"S: 1 of 4 spots are not selected as tissue and left out"});
  Pair two(kCounts + "9x9\t0\t0\n", kSpots + "7\t7\t7\t7\t1\t1\t1\n8\t8\t8\t8\t1\t1\t1\n");
  CHECK(two.warnings[0] == "S: 1 spots only in the counts, 2 only in the spot file, 4 in both; unmatched spots are left out");
  CHECK(two.section.unmatched == 0);
}

TEST_CASE("legacy ST: up to a twentieth of the spots without a partner is counted, more is a warning") {
  for (const int extra : {0, 1, 2}) {
    std::string counts = "\tA\n", spots = "x\ty\tpixel_x\tpixel_y\n";
    for (int i = 0; i < 20; i++) {
      const std::string x = std::to_string(i % 5), y = std::to_string(i / 5);
      if (i >= extra) counts += x + "x" + y + "\t1\n";
      spots += x + "\t" + y + "\t" + std::to_string(100 * (i % 5)) + "\t" + std::to_string(100 * (i / 5)) + "\n";
    }
    const Pair p(counts, spots);
    CAPTURE(extra);
    CHECK(p.section.unmatched == (extra == 1 ? 1 : 0));
    CHECK(p.section.unmatched_where == (extra == 1 ? "0 spots only in the counts, 1 only in the spot file, 19 in both" : ""));
    CHECK(p.warnings == (extra == 2 ? std::vector<std::string>{"S: 0 spots only in the counts, 2 only in the spot file, 18 in both; "
                                                               "unmatched spots are left out"}
                                    : std::vector<std::string>{}));
  }
}

TEST_CASE("bad input: counts tables") {
  auto refuse = [](const std::string& text, const std::string& line) {
    test::refuses(Exit::data, "c.tsv: " + line, "", [&] { counts(text); });
  };
  refuse("id\n", "line 1: 1 column, expected spot ids and genes separated by tabs");
  refuse("\tA\n", "line 1: no spots, expected rows after the header");
  refuse("\tA\t\n1x1\t1\t1\n", "line 1, column 3: no name, expected a gene");
  refuse("\tA\tB\tA\tB\tC\n", "line 1: 2 genes more than once (A, B), expected each once; --duplicate-genes sum, first or drop decides");
  refuse("\tA\n1x1\t1\n1x1\t2\n", "line 3, column 1: spot '1x1' a second time (first on line 2), expected each once");
  refuse("\tA\n\t1\n", "line 2, column 1: no spot id, expected one");
  refuse("\tA\n1x1\t-1\n", "line 2, column 2 ('A'): '-1', expected a raw count: a whole number from 0 to 1e9");
  refuse("\tA\n1x1\t0.5\n", "line 2, column 2 ('A'): '0.5', expected a raw count: a whole number from 0 to 1e9");
  refuse("\tA\n1x1\t1e10\n", "line 2, column 2 ('A'): '1e10', expected a raw count: a whole number from 0 to 1e9");
  refuse("\tA\n1x1\tnan\n", "line 2, column 2 ('A'): 'nan', expected a finite count; --drop-nonfinite leaves such spots out");
  refuse("\tA\n1x1\t3,5\n", "line 2, column 2 ('A'): '3,5', expected a number with a decimal point");
}

TEST_CASE("legacy ST: duplicate genes as the user decides") {
  const std::string text = "\tA\tB\tA\n1x1\t1\t2\t3\n";
  DataOptions o;
  o.duplicate_genes = DuplicateGenes::sum;
  CHECK(counts(text, o).genes == std::vector<std::string>{"A", "B"});
  CHECK(counts(text, o).values.value == std::vector<float>{4, 2});
  o.duplicate_genes = DuplicateGenes::first;
  CHECK(counts(text, o).values.value == std::vector<float>{1, 2});
  o.duplicate_genes = DuplicateGenes::drop;
  CHECK(counts(text, o).genes == std::vector<std::string>{"B"});
  CHECK(counts(text, o).values.value == std::vector<float>{2});
}

TEST_CASE("bad input: spot tables") {
  auto refuse = [](const std::string& text, const std::string& line) {
    test::refuses(Exit::data, "s.tsv: " + line, "", [&] { spots(text); });
  };
  const std::string header = "x\ty\tpixel_x\tpixel_y\tselected\n";
  refuse("x\ty\tpixel_x\n", "line 1: no column 'pixel_y', expected one; the nearest is 'pixel_x'");
  refuse(header, "line 1: no spots, expected rows after the header");
  refuse(header + "1.5\t1\t1\t1\t1\n", "line 2, column 1 ('x'): '1.5', expected a whole number");
  refuse(header + "1\t1\t1\t1\t2\n", "line 2, column 5 ('selected'): '2', expected 0 or 1");
  refuse(header + "1\t1\t1\t1\t1\n1\t1\t2\t2\t1\n",
         "line 3, column 1 ('x'): spot '1x1' a second time (first on line 2), expected each once");
  refuse(header + "1\t1\tinf\t1\t1\n",
         "line 2, column 3 ('pixel_x'): 'inf', expected a finite coordinate; --drop-nonfinite leaves such spots out");
  CHECK(spots("\xef\xbb\xbfx\ty\tpixel_x\tpixel_y\r\n1\t1\t5\t6\r\n").pixel == std::vector<double>{5, 6});
}

TEST_CASE("bad input: tables that do not belong together") {
  test::TempFolder folder;
  Section s;
  s.source.counts = folder.file("c.tsv", "\tA\n1x1-1\t1\n2x1-1\t1\n1x2\t1\n");
  s.source.spots = folder.file("s.tsv", kSpots);
  std::vector<std::string> warnings;
  test::refuses(Exit::data, "{}: 2 spots only in the counts, 3 only in the spot file, 1 in both, expected at least half to match",
                s.source.counts, [&] { read_legacy(s, {}, warnings); });
  s.source.counts = folder.file("c.tsv", "\tA\n1x2\t1\n");
  test::refuses(Exit::data,
                "{}: no selected spot has counts (0 spots only in the counts, 3 only in the spot file, 1 in both), expected at least one",
                s.source.spots, [&] { read_legacy(s, {}, warnings); });
}

TEST_CASE("legacy ST: NaN is left out only where asked") {
  DataOptions o;
  o.drop_nonfinite = true;
  Pair p("\tA\tB\n1x1\t1\tnan\n2x1\t3\t4\n2x2\t7\t8\n", kSpots + "9\t9\tnan\t1\tnan\t1\t1\n", o);
  CHECK(p.section.spots == std::vector<std::string>{"2x1", "2x2"});
  CHECK(p.warnings[1] == "S: 1 spots with NaN or Inf are left out (--drop-nonfinite)");
}

TEST_CASE("bad input: microns per pixel") {
  auto with = [](double option, double manifest, const std::string& line) {
    test::TempFolder folder;
    Section s;
    s.source.counts = folder.file("c.tsv", kCounts);
    s.source.spots = folder.file("s.tsv", kSpots);
    s.source.mpp = manifest;
    DataOptions o;
    o.mpp = option;
    std::vector<std::string> warnings;
    test::refuses(Exit::data, "{}: " + line, s.source.spots, [&] { read_legacy(s, o, warnings); });
  };
  with(
      0.5, 0,
      "microns per pixel: 0.5 from --mpp, 0.9994 from 200 um between spots that are 200.1 pixels apart, expected at most 5 % between them");
  with(1.0, 1.2,
       "microns per pixel: 1 from --mpp, 1.2 from the manifest, 0.9994 from 200 um between spots that are 200.1 pixels apart, expected at "
       "most 5 % between them");
  with(20, 0, "20 microns per pixel from --mpp, expected 0.05 to 10");
  with(0, 0.01, "0.01 microns per pixel from the manifest, expected 0.05 to 10");
  Pair agree(kCounts, kSpots, {}, 1.02);
  CHECK(agree.section.mpp == 1.02);
  CHECK(agree.section.mpp_from == "the manifest");
  // A staggered array has no known pitch: it has to be given.
  const std::string staggered = "x\ty\tpixel_x\tpixel_y\n1\t1\t10\t10\n3\t1\t30\t10\n2\t2\t20\t20\n4\t2\t40\t20\n";
  Pair unknown("\tA\n1x1\t1\n3x1\t1\n2x2\t1\n4x2\t1\n", staggered);
  CHECK(unknown.section.mpp == 0);
  test::refuses(Exit::data, "S: no microns per pixel: tried --mpp, the manifest and the spot pitch; pass --mpp or --spot-pitch", "",
                [&] { patch_side(unknown.section, {}); });
  DataOptions o;
  o.spot_pitch = 100;
  Pair given("\tA\n1x1\t1\n3x1\t1\n2x2\t1\n4x2\t1\n", staggered, o);
  CHECK(given.section.mpp == doctest::Approx(100 / std::sqrt(200.0)));
}
