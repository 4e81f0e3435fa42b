// stflow bench: its JSON has every row, and every number in it is finite and positive. No test asks how fast.
#include <doctest/doctest.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "tests/run.h"

using namespace stflow::test;

namespace {

// Every number of a row is finite and > 0.
void check_numbers(const nlohmann::json& row) {
  for (const auto& [name, value] : row.items()) {
    CAPTURE(name);
    if (name == "group" || name == "name" || name == "preset" || name == "shape") continue;
    REQUIRE(value.is_number());
    CHECK(std::isfinite(value.get<double>()));
    CHECK(value.get<double>() > 0);
  }
}

nlohmann::json bench(const std::string& what) {
  const Ran r = run_stflow({"bench", what, "--json", "--quiet", "--seconds", "0.01", "--spots", "9,40", "--threads", "2"});
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  return nlohmann::json::parse(r.out);
}

}  // namespace

TEST_CASE("bench: step and sample give times and memory of each size and preset") {
  for (const std::string what : {"step", "sample"}) {
    const auto object = bench(what);
    CHECK(object["threads"] == 2);
    CHECK(object["peak_gflops"] > 0);
    REQUIRE(object["rows"].size() == 5);
    CHECK(object["rows"][0]["group"] == "peak");
    std::map<std::pair<std::string, int>, double> arena;
    for (const auto& row : object["rows"]) {
      check_numbers(row);
      if (row["group"] == "peak") continue;
      CHECK(row["group"] == what);
      CHECK(row["best_seconds"] <= row["median_seconds"]);
      CHECK(row["runs"] >= 3);
      CHECK(row["peak_rss_bytes"] > row["arena_bytes"]);
      arena[{row["preset"], row["spots"]}] = row["arena_bytes"];
    }
    REQUIRE(arena.size() == 4);
    for (const std::string preset : {"reference", "default"}) CHECK(arena[{preset, 40}] > arena[{preset, 9}]);
    CHECK(arena[{"reference", 40}] > arena[{"default", 40}]);
  }
}

TEST_CASE("bench: products give their rate and its share of the peak") {
  const auto object = bench("gemm");
  CHECK(object["rows"].size() > 8);
  for (const auto& row : object["rows"]) {
    check_numbers(row);
    if (row["group"] != "gemm") continue;
    const auto& s = row["shape"];
    CHECK(row["flops"] == 2.0 * s[0].get<double>() * s[1].get<double>() * s[2].get<double>());
    CHECK(row["percent_of_peak"].get<double>() ==
          doctest::Approx(100 * row["gflops"].get<double>() / object["peak_gflops"].get<double>()).epsilon(1e-9));
  }
}

TEST_CASE("slow: bench: the image encoder's time, rate and memory") {
  const Ran r = run_stflow({"bench", "vit", "--json", "--quiet", "--limit", "0", "--images", "1,2", "--threads", "2"});
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  const auto object = nlohmann::json::parse(r.out);
  REQUIRE(object["rows"].size() == 3);
  for (const auto& row : object["rows"]) check_numbers(row);
  for (int images : {1, 2}) {
    const auto& row = object["rows"][size_t(images)];
    CHECK(row["group"] == "vit");
    CHECK(row["images"] == images);
    CHECK(row["images_per_second"].get<double>() == doctest::Approx(images / row["median_seconds"].get<double>()).epsilon(1e-9));
    // ViT-B/16: 196 patches of 768 numbers, 12 layers of 12 d^2 weights a token and two products of tokens with tokens; of the last
    // layer all queries, keys and values, and the rest for the class token alone.
    const double d = 768, tokens = 197, layer = 12 * d * d * tokens + 2 * tokens * tokens * d;
    const double products = 196 * d * d + 11 * layer + 3 * d * d * tokens + 9 * d * d + 2 * tokens * d;
    CHECK(row["flops"].get<double>() == doctest::Approx(2 * products * images).epsilon(1e-3));
    CHECK(row["runs"] == 1);
    CHECK(row["peak_rss_bytes"] > 86'000'000 * 4);
  }
}

// Among the slow ones, so not under ASan, which keeps what is freed.
TEST_CASE("slow: bench: weights in 16 bits are the only copy of an encoder's matrices") {
  std::map<std::string, double> memory;
  for (const std::string precision : {"f32", "f16"}) {
    const Ran r = run_stflow({"bench", "vit", "--json", "--quiet", "--limit", "0", "--seconds", "0.01", "--sizes", "S/16", "--images", "1",
                              "--precision", precision});
    CAPTURE(r.err);
    REQUIRE(r.code == 0);
    memory[precision] = nlohmann::json::parse(r.out)["rows"][1]["peak_rss_bytes"].get<double>();
  }
  const double matrices = 12 * 12 * 384 * 384;  // of ViT-S/16, without the patch embedding
  CHECK(memory["f32"] - memory["f16"] > 1.8 * matrices);
  CHECK(memory["f16"] < 2 * matrices + 60e6);
}

TEST_CASE("bench: a table without --json; sizes that are none are wrong use") {
  const Ran r = run_stflow({"bench", "peak", "--seconds", "0.01"});
  CHECK(r.code == 0);
  CHECK(r.out.find("GFLOP/s") != std::string::npos);
  const Ran wrong = run_stflow({"bench", "step", "--spots", "200,many"});
  CHECK(wrong.code == 64);
  CHECK(run_stflow({"bench", "vit", "--sizes", "B/32"}).err == "stflow: error: --sizes: found 'B/32', expected S/16, B/16, L/16 or g/14\n");
  CHECK(wrong.err == "stflow: error: --spots: found 'many', expected whole numbers from 1 to 10000000\n");
}

TEST_CASE("slow: bench: an all-reduce is measured between processes, and reckoned for GPUs it is not free") {
  const auto object = bench("allreduce");
  REQUIRE(object["rows"].size() == 1 + 2 * (4 + 4));
  double last = 0;
  for (const auto& row : object["rows"]) {
    check_numbers(row);
    if (row["group"] != "allreduce") continue;
    if (row.contains("runs")) CHECK(row["gigabytes_per_second"] > 0);
    if (!row.contains("reckoned_seconds")) continue;
    if (row["ranks"] == 2) last = 0;
    CHECK(row["reckoned_seconds"] > last);  // more ranks take longer
    last = row["reckoned_seconds"];
    CHECK(row["step_for_90_percent"].get<double>() == doctest::Approx(9 * last));
  }
}
