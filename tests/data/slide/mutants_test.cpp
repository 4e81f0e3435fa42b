// Ten thousand damaged slides: each is read or refused in one line, in bounded time and memory, with whatever libtiff, libjpeg and OpenJPEG
// make of it in this process.
#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/time.h>

#include <algorithm>
#include <string>
#include <vector>

#include "data/slide/source.h"
#include "tests/data/slide/tiny_tiff.h"
#include "tests/data/tiny.h"
#include "tests/mutants.h"

using namespace stflow;
using namespace stflow::test;

namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kMeasured = false;  // the sanitizer's own memory and time
constexpr uint32_t kEach = 100;
#else
constexpr bool kMeasured = true;
constexpr uint32_t kEach = 1000;
#endif

int64_t peak() {
  rusage use{};
  getrusage(RUSAGE_SELF, &use);
  return int64_t(use.ru_maxrss) * 1024;
}

/// Every block of every level.
void read_whole(const std::string& bytes) {
  const auto slide = open_tiff("file", FileView("file", bytes), {});
  for (size_t k = 0; k < slide->levels.size(); k++) {
    const SlideLevel& l = slide->levels[k];
    for (int64_t j = 0; j * l.tile_height < std::min<int64_t>(l.height, 64); j++)
      for (int64_t i = 0; i * l.tile_width < std::min<int64_t>(l.width, 64); i++) static_cast<void>(slide->block(int(k), i, j));
  }
}

/// 0: all were read or refused as they should be.
int survey(const std::string& whole) {
  return in_child([&] {
    const int64_t before = peak();
    for (uint32_t n = 0; n < kEach; n++) {
      const itimerval limit{{0, 0}, {kMeasured ? 5 : 60, 0}};
      setitimer(ITIMER_PROF, &limit, nullptr);
      try {
        read_whole(mutant(whole, n));
      } catch (const Error& e) {
        const std::string line = e.what();
        if (e.code() != Exit::data && e.code() != Exit::missing) return 2;
        if (line.empty() || line.find('\n') != std::string::npos || !line.starts_with("file: ")) return 3;
      }
    }
    return kMeasured && peak() - before > (int64_t{64} << 20) + 2 * int64_t(whole.size()) ? 4 : 0;
  });
}

}  // namespace

TEST_CASE("fuzz: 10,000 mutants of slides are read or refused in one line, in bounded time and memory") {
  const TempFolder folder;
  const Image p = picture(37, 23), half = halved(p);
  const TiffKind kinds[] = {{.compression = 7, .photometric = 6, .description = "Aperio Image|MPP = 0.5"},
                            {.mode = "w8", .tile = 0, .compression = 8, .per_cm = 20000},
                            {.mode = "wb", .compression = 5, .bits = 16, .planar = true},
                            {.photometric = 6, .subsampling = 2},
                            {.tile = 0, .compression = 32773, .photometric = 3},
                            {.compression = 50001},
                            {.compression = 50000, .photometric = 5},
                            {.compression = 34925, .extra = 2},
                            {.compression = 33005},
                            {.compression = 33003}};
  for (const TiffKind& kind : kinds) {
    CAPTURE(kind.compression);
    TiffKind base = kind;
    base.children = kind.compression != 33005 && kind.compression != 33003;
    const std::string whole = read_text(write_tiff(folder.path("s.tif"), {{p, base}, {half, kind}}));
    REQUIRE_NOTHROW(read_whole(whole));
    CHECK(survey(whole) == 0);
  }
}
