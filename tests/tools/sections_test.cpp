#include "tools/inspect/sections.h"

#include <doctest/doctest.h>

#include "data/png.h"
#include "tests/data/tiny.h"

using namespace stflow;

TEST_CASE("inspect: an h5ad file of counts, one of logarithms and why it is no use as it is, what is no data") {
  const std::string folder = "tests/fixtures/spatial/";
  CHECK(is_spatial(folder + "anndata012.h5ad"));
  CHECK(is_spatial(folder));
  CHECK(!is_spatial("tests/fixtures/vit_plain.safetensors"));
  const JsonOut whole = describe_spatial(folder + "anndata012.h5ad");
  CHECK(whole["layout"] == "h5ad");
  const JsonOut& s = whole["sections"][0];
  CHECK(s["read_spots"] == 11);
  CHECK(s["genes"] == 6);
  CHECK(s["gene_ids"] == true);
  CHECK(s["total_per_spot"]["median"] == 12);
  CHECK(s["total_per_spot"]["max"] == 14);
  CHECK(s["zeros"].get<double>() == doctest::Approx(13.0 / 66));
  CHECK(s["image"]["width"] == 45);
  CHECK(!s.contains("problem"));
  const std::string text = spatial_text(describe_spatial(folder));
  CHECK(text.starts_with(folder + ": h5ad, 4 sections\n"));
  CHECK(text.find("anndata012\n  11 spots, 6 genes with ids\n  total per spot: median 12 (10-14), 5 genes per spot, 19.7 % zeros\n"
                  "  all 12 spots of the counts: total per spot: median 12 (10-14), 5 genes per spot, 20.8 % zeros\n  image 45 x 25: ") !=
        std::string::npos);
  CHECK(text.find("problem: " + folder + "anndata08.h5ad: 'X': 1.3862944 in row 0 (spot 'AAAAAAAA-1'), expected raw counts; --layer") !=
        std::string::npos);
  // Spots that are not on tissue are left out, and counted.
  const test::TempFolder table;
  table.file("S.tsv", "\tA\tB\n1x1\t4\t0\n2x1\t1\t1\n3x1\t0\t0\n4x1\t0\t1\n");
  table.file("S_spots.tsv", "x\ty\tpixel_x\tpixel_y\tselected\n1\t1\t4\t4\t1\n2\t1\t8\t4\t1\n3\t1\t12\t4\t0\n4\t1\t16\t4\t0\n");
  write_png(table.path("S.png"), test::picture(20, 10));
  const JsonOut legacy = describe_spatial(table.file("m.csv", "sample,image,counts,spots\nS,S.png,S.tsv,S_spots.tsv\n"));
  CHECK(legacy["sections"][0]["read_spots"] == 2);
  CHECK(legacy["sections"][0]["total_per_spot"]["median"] == 3);
  CHECK(legacy["sections"][0]["counts_file"]["spots"] == 4);
  CHECK(legacy["sections"][0]["counts_file"]["empty_spots"] == 1);
  CHECK(spatial_text(legacy).find("  total per spot: median 3 (2-4), 1.5 genes per spot, 25.0 % zeros\n"
                                  "  all 4 spots of the counts: total per spot: median 1.5 (0-4), 1 genes per spot, 50.0 % zeros\n") !=
        std::string::npos);
  test::refuses(Exit::missing, "{}: no such folder, expected a data set", "nowhere", [] { describe_spatial("nowhere"); });
}
