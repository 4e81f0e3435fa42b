#include "data/slide/mpp.h"

#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>

#include "data/png.h"
#include "tests/data/slide/tiny_tiff.h"
#include "tests/data/tiny.h"

using namespace stflow;
using namespace stflow::test;

namespace {

SlideImage slide(const TempFolder& folder, const std::string& description, double per_cm, const SlideOptions& options = {}) {
  return SlideImage(write_tiff(folder.path("s.tif"), {{waves(32, 16), {.description = description, .per_cm = per_cm}}}), options);
}

}  // namespace

TEST_CASE("mpp: from each source") {
  const TempFolder folder;
  auto holds = [&](const SlideImage& s, double mpp, const std::string& from) {
    CHECK(std::fabs(s.mpp() - mpp) < 1e-6 * mpp);
    CHECK(s.mpp_from() == from);
    CHECK(s.mpp_problem().empty());
    CHECK(s.known_mpp() == s.mpp());
    CHECK(s.warnings().empty());
  };
  holds(slide(folder, "Aperio Image|MPP = 0.25|AppMag = 40", 0), 0.25, "Aperio MPP");
  holds(slide(folder, "", 40000), 0.25, "TIFF XResolution");
  holds(slide(folder, "Aperio Image|MPP = 0.25", 39500), 0.25, "Aperio MPP, TIFF XResolution");
  holds(slide(folder, "ImageJ=1.53\nunit=micron\n", 2), 0.5, "ImageJ unit");
  holds(slide(folder, "<OME><Pixels PhysicalSizeX=\"0.0005\" PhysicalSizeXUnit=\"mm\"/></OME>", 0), 0.5, "OME PhysicalSizeX");
  folder.file("s.json", "{\"pixel_size_um_estimated\": 0.6, \"pixel_size_um_embedded\": null}");
  holds(slide(folder, "", 0), 0.6, "s.json pixel_size_um_estimated");
  std::filesystem::create_directory(folder.path("wsis")), std::filesystem::create_directory(folder.path("metadata"));
  std::filesystem::rename(folder.path("s.json"), folder.path("metadata/T.json"));
  write_tiff(folder.path("wsis/T.tif"), {{waves(32, 16), {}}});
  holds(SlideImage(folder.path("wsis/T.tif")), 0.6, "T.json pixel_size_um_estimated");
  std::string photo = jpeg(picture(20, 10));
  photo.replace(photo.find("JFIF") + 7, 5, std::string("\2\x4e\x20\x4e\x20", 5));
  holds(SlideImage(folder.file("p.jpg", photo)), 0.5, "JPEG density");
  photo.replace(photo.find("JFIF") + 7, 5, std::string("\1\0\x48\0\x48", 5));
  CHECK(SlideImage(folder.file("p.jpg", photo)).mpp() == 0);  // 72 dpi means nothing, and is no claim
  CHECK(SlideImage(folder.path("p.jpg")).mpp_claims().empty());
  SlideOptions options;
  options.mpp_of = read_mpp_csv(folder.file("list.csv", "wsi,mpp\ns.tif,0.31\nother,0.5\n"));
  holds(slide(folder, "Aperio Image|MPP = 0.25", 0, options), 0.31, "--mpp-csv");
  options.mpp = 0.7;
  holds(slide(folder, "Aperio Image|MPP = 0.25", 0, options), 0.7, "--mpp");
}

TEST_CASE("bad input: microns per pixel") {
  const TempFolder folder;
  const std::string path = folder.path("s.tif");
  auto refuse = [&](const SlideImage& s, const std::string& line) {
    CHECK(s.mpp() == 0);
    CHECK(s.mpp_problem() == path + ": " + line);
    refuses(Exit::data, "{}: " + line, path, [&] { static_cast<void>(s.known_mpp()); });
  };
  const std::string none = "no microns per pixel: tried Aperio MPP, TIFF XResolution, OME PhysicalSizeX, sidecar JSON";
  refuse(slide(folder, "", 0), none + ", expected one of them; pass --mpp");
  refuse(slide(folder, "Aperio Image|MPP = None", 0), none + ", expected one of them; pass --mpp");
  refuse(slide(folder, "Aperio Image|MPP = nan", 0), none + " (found Aperio MPP nan, not plausible), expected one of them; pass --mpp");
  refuse(slide(folder, "", 28.35), none + " (found TIFF XResolution 352.7, not plausible), expected one of them; pass --mpp");
  refuse(slide(folder, "Aperio Image|MPP = 0.25", 20000),
         "microns per pixel: Aperio MPP 0.25, TIFF XResolution 0.5, expected sources that agree within 5 %; pass --mpp");
  refuse(slide(folder, "<OME><Pixels PhysicalSizeX=\"0.5\" PhysicalSizeY=\"0.6\"/></OME>", 0),
         "microns per pixel: OME PhysicalSizeX 0.5 x 0.6, expected sources that agree within 5 %; pass --mpp");
  CHECK(slide(folder, "Aperio Image|MPP = 0.25", 28.35).warnings() ==
        std::vector<std::string>{path + ": TIFF XResolution 352.7 microns per pixel, not used: expected 0.05 to 10"});
  const SlideImage uneven = slide(folder, "<OME><Pixels PhysicalSizeX=\"0.5\" PhysicalSizeY=\"0.51\"/></OME>", 0);
  CHECK(uneven.mpp() == 0.505);
  CHECK(uneven.warnings() ==
        std::vector<std::string>{path + ": OME PhysicalSizeX 0.5 x 0.51 microns per pixel differ along the axes; their mean is used"});
  auto table = [&](const std::string& text, const std::string& line) {
    const std::string csv = folder.file("list.csv", text);
    refuses(Exit::data, "{}: " + line, csv, [&] { read_mpp_csv(csv); });
  };
  table("wsi,pixel\na,1\n", "line 1: no column 'mpp', expected one; the nearest is 'wsi'");
  table("wsi,mpp\na,fine\n", "line 2, column 2 ('mpp'): 'fine', expected a number");
  table("wsi,mpp\na,40\n", "line 2, column 2 ('mpp'): 40 microns per pixel, expected 0.05 to 10");
  table("wsi,mpp\na,0.5\na,0.5\n", "line 3, column 1 ('wsi'): 'a' a second time, expected each slide once");
}
