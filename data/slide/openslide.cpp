// Vendors' formats through OpenSlide. The library is opened at run time, and in a child process: no build needs it, no other command pays
// for its many libraries, and what a damaged file does to it ends there.
#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <mutex>
#include <nlohmann/json.hpp>

#include "data/child.h"
#include "data/slide/source.h"
#include "engine/json.h"
#include "engine/text.h"

namespace stflow {
namespace {

struct OpenSlideHandle;

/// The functions of libopenslide 3.4 and 4 that are used.
struct OpenSlideApi {
  const char* (*detect)(const char*);
  OpenSlideHandle* (*open)(const char*);
  int32_t (*level_count)(OpenSlideHandle*);
  void (*level_size)(OpenSlideHandle*, int32_t, int64_t*, int64_t*);
  double (*downsample)(OpenSlideHandle*, int32_t);
  void (*read)(OpenSlideHandle*, uint32_t*, int64_t, int64_t, int32_t, int64_t, int64_t);
  const char* (*error)(OpenSlideHandle*);
  const char* (*property)(OpenSlideHandle*, const char*);
};

OpenSlideApi load_api(const std::string& path) {
  void* library = nullptr;
  for (const char* name : {"libopenslide.so.1", "libopenslide.so.0"})
    if (!library) library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  if (!library) fail(Exit::missing, "{}: is a vendor's format, expected the library OpenSlide to read it; install libopenslide0", path);
  OpenSlideApi a{};
  const auto find = [&](const char* name, auto& function) {
    void* found = dlsym(library, name);
    if (!found) fail(Exit::missing, "{}: OpenSlide without {}, expected version 3.4 or later", path, name);
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(found);
  };
  find("openslide_detect_vendor", a.detect), find("openslide_open", a.open), find("openslide_get_level_count", a.level_count);
  find("openslide_get_level_dimensions", a.level_size), find("openslide_get_level_downsample", a.downsample);
  find("openslide_read_region", a.read), find("openslide_get_error", a.error), find("openslide_get_property_value", a.property);
  return a;
}

constexpr ChildLimits kLimits{60, int64_t(4) << 30};
constexpr int64_t kTile = 512;  // a side of what is asked for at once

/// level, then x, y (in level 0), width, height (in the level).
using Question = std::array<int64_t, 5>;

/// In the child: what the file is, as JSON; then pixels of rectangles.
class Reader {
 public:
  explicit Reader(std::string path) : path_(std::move(path)), api_(load_api(path_)), slide_(api_.open(path_.c_str())) {
    if (!slide_) fail(Exit::data, "{}: is of an unknown format, expected a slide that OpenSlide reads", path_);
    refuse_error("header");
  }

  std::string answer(const std::string& question) {
    if (question.empty()) return describe();
    Question q{};
    check(question.size() == sizeof q, "{}: a question of {} bytes", path_, question.size());
    std::memcpy(q.data(), question.data(), sizeof q);
    std::vector<uint32_t> argb(size_t(q[3] * q[4]));
    api_.read(slide_, argb.data(), q[1], q[2], int32_t(q[0]), q[3], q[4]);
    refuse_error(fmt::format("tile at {}, {} of level {}", q[1], q[2], q[0]));
    std::string rgb;
    rgb.reserve(argb.size() * 3);
    for (const uint32_t p : argb) {  // multiplied by alpha; laid on white
      const uint32_t rest = 255 - (p >> 24);
      for (const int shift : {16, 8, 0}) rgb.push_back(char(std::min<uint32_t>(255, (p >> shift & 255) + rest)));
    }
    return rgb;
  }

 private:
  void refuse_error(const std::string& where) const {
    if (const char* e = api_.error(slide_)) fail(Exit::data, "{}: {}: {}, expected what OpenSlide reads", path_, where, shown(e, 200));
  }
  [[nodiscard]] std::string property(const char* name) const {
    const char* v = api_.property(slide_, name);
    return v ? v : "";
  }
  std::string describe() {
    Json json;
    const int32_t n = api_.level_count(slide_);
    for (int32_t i = 0; i < n; i++) {
      int64_t w = 0, h = 0;
      api_.level_size(slide_, i, &w, &h);
      json["levels"].push_back({w, h, api_.downsample(slide_, i)});
    }
    json["vendor"] = property("openslide.vendor");
    json["mpp"] = {property("openslide.mpp-x"), property("openslide.mpp-y")};
    refuse_error("header");
    return json.dump(-1, ' ', true, Json::error_handler_t::replace);
  }

  std::string path_;
  OpenSlideApi api_;
  OpenSlideHandle* slide_;  // open until the process ends
};

class OpenSlideFile final : public SlideSource {
 public:
  explicit OpenSlideFile(const std::string& path)
      : path_(path), server_(path, "slide", kLimits, [path] {
          auto reader = std::make_shared<Reader>(path);
          return [reader](const std::string& question) { return reader->answer(question); };
        }) {
    const Json json = Json::parse(server_.ask(""));
    for (const Json& l : json.at("levels")) {
      SlideLevel level{l[0].get<int64_t>(), l[1].get<int64_t>(), l[2].get<double>(), kTile, kTile, "as OpenSlide reads it"};
      constexpr int64_t kMost = int64_t(1) << 30;
      const bool fine = level.width >= 1 && level.height >= 1 && level.width <= kMost && level.height <= kMost && level.downsample >= 1 &&
                        level.downsample <= double(kMost);
      if (!fine)
        fail(Exit::data, "{}: level {}: {} x {} pixels, downsample {}, expected 1 to {}", path, levels.size(), level.width, level.height,
             level.downsample, kMost);
      levels.push_back(std::move(level));
    }
    if (levels.empty()) fail(Exit::data, "{}: no levels, expected a slide", path);
    format = json.at("vendor").get<std::string>();
    const auto x = parse_number(json["mpp"][0].get<std::string>()), y = parse_number(json["mpp"][1].get<std::string>());
    if (x) mpp.push_back({"OpenSlide mpp-x", *x, y ? *y : *x});
  }

  Block block(int level, int64_t i, int64_t j) override {
    const SlideLevel& l = levels[size_t(level)];
    const int64_t x = i * kTile, y = j * kTile, width = std::min(kTile, l.width - x), height = std::min(kTile, l.height - y);
    const double down = l.downsample;
    const Question q{level, int64_t(double(x) * down + 0.5), int64_t(double(y) * down + 0.5), width, height};
    const std::string rgb = server_.ask({reinterpret_cast<const char*>(q.data()), sizeof q});
    if (int64_t(rgb.size()) != width * height * 3)
      fail(Exit::data, "{}: tile {}, {} of level {}: {} bytes, expected {}", path_, i, j, level, rgb.size(), width * height * 3);
    return {{width, height, {rgb.begin(), rgb.end()}}, false};
  }

 private:
  std::string path_;
  ChildServer server_;
};

}  // namespace

std::unique_ptr<SlideSource> open_openslide(const std::string& path) { return std::make_unique<OpenSlideFile>(path); }

bool openslide_knows(const std::string& path) {
  return in_child_process(path, "slide", kLimits, [&]() -> std::string {
           try {
             return load_api(path).detect(path.c_str()) ? "yes" : "";
           } catch (const Error&) {  // not installed: what else reads the file says so
             return "";
           }
         }) == "yes";
}

}  // namespace stflow
