#include "tools/inspect/sections.h"

#include <doctest/doctest.h>

#include "tests/files.h"

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
                  "  image 45 x 25: ") != std::string::npos);
  CHECK(text.find("problem: " + folder + "anndata08.h5ad: 'X': 1.3862944 in row 0 (spot 'AAAAAAAA-1'), expected raw counts; --layer") !=
        std::string::npos);
  test::refuses(Exit::missing, "{}: no such folder, expected a data set", "nowhere", [] { describe_spatial("nowhere"); });
}
