// Sizes as users write them, and what a prediction is planned to take.
#include "tools/memory.h"

#include <doctest/doctest.h>

#include "tests/files.h"
#include "tools/predict/plan.h"

using namespace stflow;

TEST_CASE("memory: sizes") {
  CHECK(parse_bytes("max-mem", "2G") == uint64_t(2) << 30);
  CHECK(parse_bytes("max-mem", "1.5GB") == uint64_t(3) << 29);
  CHECK(parse_bytes("max-mem", "512m") == uint64_t(512) << 20);
  CHECK(parse_bytes("max-mem", "7") == 7);
  for (const std::string text : {"", "G", "-1G", "0", "2X", "1e30T", "nan"})
    test::refuses(Exit::usage, "--max-mem: found '" + text + "', expected a size such as 2G or 512M", "",
                  [&] { (void)parse_bytes("max-mem", text); });
  CHECK(rss_bytes() > 0);
  CHECK(peak_rss_bytes() > 0);
}

TEST_CASE("plan: one piece where there is room, tiles that fit where there is less, else a refusal that names what is needed") {
  ModelConfig c = preset("default");
  c.denoiser.features = 300, c.denoiser.genes = 20;
  Predictor model(c);
  model.genes.assign(20, "G");
  const auto planned = [&](int64_t n, uint64_t limit) { return plan_prediction(model, n, {}, limit, 50'000'000); };
  CHECK(planned(1000, 0).most_spots == 0);
  CHECK(planned(1'000'000, 0).most_spots > 0);
  const PredictionPlan roomy = planned(100'000, uint64_t(8) << 30), tight = planned(100'000, uint64_t(200) << 20);
  CHECK(roomy.most_spots == 0);
  CHECK(tight.most_spots >= 512);
  CHECK(tight.held + uint64_t(tight.most_spots) * tight.per_spot <= tight.limit);
  CHECK(roomy.per_spot > 300 * sizeof(float));
  CHECK_THROWS_WITH_AS((void)planned(100'000, uint64_t(60) << 20), doctest::Contains("--max-mem: found 63 MB, expected at least"), Error);
  PredictOptions more;
  more.quantiles = {0.05, 0.95}, more.keep_draws = true;
  CHECK(plan_prediction(model, 1000, more, 0, 0).held > plan_prediction(model, 1000, {}, 0, 0).held);
}
