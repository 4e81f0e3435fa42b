#include "data/slide/slide.h"

#include <doctest/doctest.h>
#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <thread>

#include "data/patches.h"
#include "data/png.h"
#include "data/slide/source.h"
#include "engine/file.h"
#include "tests/data/slide/tiny_tiff.h"
#include "tests/data/tiny.h"

using namespace stflow;
using namespace stflow::test;

namespace {

Image all_of(const SlideImage& s, int level = 0) {
  const SlideLevel& l = s.levels()[size_t(level)];
  return s.read(level, 0, 0, l.width, l.height);
}

/// Three levels, a label and a macro, as Aperio's programs write them.
std::vector<TiffPageOut> aperio(const Image& image) {
  TiffKind base{.compression = 7, .photometric = 6, .description = "Aperio Image Library v10\r\n60x44|AppMag = 20|MPP = 0.4990"};
  TiffKind level = base, label, macro;
  level.description = "Aperio Image Library v10";
  label.tile = 0, label.compression = 5, label.subfile = 1, label.description = "Aperio Image Library v10\nlabel 40x30";
  macro.tile = 0, macro.compression = 7, macro.photometric = 6, macro.subfile = 9,
  macro.description = "Aperio Image Library v10\nmacro 30x44";
  const Image half = halved(image), quarter = halved(half);
  TiffKind thumbnail{.tile = 0, .compression = 7, .photometric = 6};
  return {{image, base}, {half, thumbnail}, {half, level}, {quarter, level}, {waves(40, 30), label}, {waves(30, 44), macro}};
}

}  // namespace

TEST_CASE("slide: every kind of TIFF gives the pixels that went in") {
  const TempFolder folder;
  const Image image = waves(61, 43);
  auto holds = [&](const char* name, const TiffKind& kind, int most, const Image& expected) {
    CAPTURE(name);
    const SlideImage s(write_tiff(folder.path("a.tif"), {{image, kind}}));
    REQUIRE(s.levels().size() == 1);
    CHECK(s.width() == 61);
    CHECK(s.height() == 43);
    CHECK(largest_difference(all_of(s), expected) <= most);
    CHECK(s.warnings().empty());
  };
  Image grey = image, white_mixed = image;
  for (size_t i = 0; i < grey.rgb.size(); i++)
    grey.rgb[i] = image.rgb[i / 3 * 3], white_mixed.rgb[i] = uint8_t((image.rgb[i] * 128 + 127) / 255 + 127);
  for (const int64_t tile : {16, 0}) {
    for (const char* mode : {"w", "wb", "w8", "w8b"}) holds(mode, {.mode = mode, .tile = tile, .compression = 8}, 0, image);
    for (const int compression : {1, 5, 8, 32773, 32946, 34925, 50000})
      holds("lossless", {.tile = tile, .compression = compression}, 0, image);
    holds("16 bits", {.tile = tile, .compression = 5, .bits = 16}, 0, image);
    holds("16 bits, big-endian", {.mode = "wb", .tile = tile, .bits = 16}, 0, image);
    holds("planar", {.tile = tile, .compression = 8, .planar = true}, 0, image);
    holds("planar, 16 bits", {.tile = tile, .compression = 8, .bits = 16, .planar = true}, 0, image);
    holds("grey", {.tile = tile, .photometric = 1}, 0, grey);
    holds("white is zero", {.tile = tile, .photometric = 0}, 0, grey);
    holds("palette", {.tile = tile, .compression = 5, .photometric = 3}, 0, grey);
    holds("CMYK", {.tile = tile, .compression = 8, .photometric = 5}, 1, image);
    holds("transparent", {.tile = tile, .compression = 8, .extra = 2}, 1, white_mixed);
    holds("a sample of no meaning", {.tile = tile, .compression = 8, .extra = 0}, 0, image);
    holds("YCbCr", {.tile = tile, .compression = 8, .photometric = 6}, 3, image);
    holds("YCbCr, halved", {.tile = tile, .photometric = 6, .subsampling = 2}, 20, image);
    holds("JPEG of RGB", {.tile = tile, .compression = 7}, 12, image);
    holds("JPEG of YCbCr", {.tile = tile, .compression = 7, .photometric = 6}, 12, image);
    holds("JPEG, grey", {.tile = tile, .compression = 7, .photometric = 1}, 12, grey);
  }
  holds("WebP", {.compression = 50001}, 30, image);
  holds("JPEG 2000", {.compression = 33005}, 0, image);
  holds("JPEG 2000 of YCbCr", {.compression = 33003}, 255, image);  // the components are taken as Y, Cb, Cr
}

TEST_CASE("slide: JPEG 2000 of YCbCr components") {
  const TempFolder folder;
  Image ycbcr = waves(32, 32), expected = ycbcr;
  for (size_t i = 0; i < 32 * 32; i++) {
    uint8_t* p = ycbcr.rgb.data() + 3 * i;
    p[0] = uint8_t(100 + i % 32), p[1] = 120, p[2] = 140;
    const double values[] = {p[0] + 1.402 * 12, p[0] + 0.344136 * 8 - 0.714136 * 12, p[0] - 1.772 * 8};
    for (size_t c = 0; c < 3; c++) expected.rgb[3 * i + c] = uint8_t(values[c] + 0.5);
  }
  const SlideImage s(write_tiff(folder.path("a.tif"), {{ycbcr, {.compression = 33003}}}));
  CHECK(largest_difference(all_of(s), expected) <= 1);
  CHECK(s.levels()[0].compression == "JPEG 2000 YCbCr");
}

TEST_CASE("slide: the levels of an Aperio slide, without its thumbnail, label and macro") {
  const TempFolder folder;
  const Image image = waves(60, 44);
  const SlideImage s(write_tiff(folder.path("a.svs"), aperio(image)));
  CHECK(s.format() == "Aperio SVS");
  REQUIRE(s.levels().size() == 3);
  CHECK(s.levels()[1].width == 30);
  CHECK(s.levels()[1].downsample == 2);
  CHECK(s.levels()[2].height == 11);
  CHECK(s.levels()[0].tile_width == 16);
  CHECK(s.levels()[0].compression == "JPEG");
  CHECK(s.mpp() == 0.4990);
  CHECK(s.mpp_from() == "Aperio MPP");
  CHECK(s.notes() == std::vector<std::string>{"3 further pages (label, macro, thumbnail) are no levels"});
  CHECK(largest_difference(all_of(s, 2), halved(halved(image))) <= 12);
}

TEST_CASE("slide: an OME-TIFF's levels hang below its first page") {
  const TempFolder folder;
  const Image image = waves(64, 48);
  TiffKind base{.compression = 8,
                .description =
                    "<?xml version=\"1.0\"?><OME><Image ID=\"Image:0\"><Pixels ID=\"P\" PhysicalSizeX=\"500\" PhysicalSizeXUnit=\"nm\" "
                    "PhysicalSizeY=\"0.5\" PhysicalSizeYUnit=\"\xc2\xb5m\" SizeC=\"3\"/></Image></OME>",
                .children = true};
  const SlideImage s(write_tiff(folder.path("a.ome.tif"), {{image, base}, {halved(image), {.compression = 8}}}));
  CHECK(s.format() == "OME-TIFF");
  REQUIRE(s.levels().size() == 2);
  CHECK(s.mpp() == 0.5);
  CHECK(s.mpp_from() == "OME PhysicalSizeX");
  CHECK(all_of(s, 1).rgb == halved(image).rgb);
}

TEST_CASE("slide: a long strip that is not compressed is taken apart") {
  const TempFolder folder;
  const Image image = waves(600, 1300);
  for (const TiffKind& kind :
       {TiffKind{.tile = 0, .rows = 1300}, TiffKind{.mode = "wb", .tile = 0, .rows = 1300, .bits = 16}, TiffKind{.tile = 0, .rows = 700}}) {
    const std::string path = write_tiff(folder.path("a.tif"), {{image, kind}});
    const SlideImage s(path);
    CHECK(s.levels()[0].tile_height == (1 << 20) / (600 * 3 * kind.bits / 8));
    CHECK(all_of(s).rgb == image.rgb);
    CHECK(s.patch(100, 500, 300, 300).rgb == s.read(0, 100, 500, 300, 300).rgb);
  }
  const std::string path = folder.path("a.tif"), cut = with_tag(read_text(path), 279, 600 * 3 * 600);
  write_atomic(path, cut);
  refuses(Exit::data, "{}: strip 0 of level 0: 1080000 bytes in strip 0, expected 1081800 or more", path,
          [&] { all_of(SlideImage(path)); });
}

TEST_CASE("slide: rectangles across tiles, white outside, the same from several threads and with a small cache") {
  const TempFolder folder;
  const Image image = picture(61, 43);
  const std::string path = write_tiff(folder.path("a.tif"), {{image, {.compression = 8}}});
  SlideOptions small;
  small.cache_bytes = 1000;
  const SlideImage s(path, small);
  auto expected = [&](int64_t x, int64_t y, int64_t w, int64_t h) {
    std::vector<uint8_t> rgb;
    for (int64_t j = y; j < y + h; j++)
      for (int64_t i = x; i < x + w; i++)
        for (int64_t c = 0; c < 3; c++) rgb.push_back(i < 0 || j < 0 || i >= 61 || j >= 43 ? 255 : image.rgb[size_t((j * 61 + i) * 3 + c)]);
    return rgb;
  };
  int wrong[4] = {};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; t++)
    threads.emplace_back([&, t] {
      for (int64_t k = 0; k < 40; k++) {
        const int64_t x = (k * 7 + t * 3) % 70 - 8, y = (k * 5 + t) % 50 - 6;
        wrong[t] += s.read(0, x, y, 20, 9).rgb != expected(x, y, 20, 9);
      }
    });
  for (std::thread& t : threads) t.join();
  for (const int w : wrong) CHECK(w == 0);
  CHECK(s.read(0, 1000, -1000, 3, 3).rgb == std::vector<uint8_t>(27, 255));
}

TEST_CASE("slide: a patch has the bytes of cut_patches(), from a TIFF as from a PNG; a coarser level serves a reduction") {
  const TempFolder folder;
  const Image image = waves(128, 96);
  write_png(folder.path("a.png"), image);
  const SlideImage plain(folder.path("a.png")), single(write_tiff(folder.path("a.tif"), {{image, {.compression = 8}}}));
  CHECK(plain.by_rows());
  CHECK(!single.by_rows());
  for (auto [side, size] : {std::pair<int64_t, int>{16, 16}, {32, 7}, {9, 14}, {64, 5}}) {
    std::vector<double> xy{40, 33, 3, 90, 127.9, 0, 60.4, 50.6};
    cut_patches(folder.path("a.png"), xy, side, size, [&](int64_t i, const uint8_t* rgb) {
      const auto left = int64_t(std::round(xy[size_t(2 * i)] - double(side) / 2)),
                 top = int64_t(std::round(xy[size_t(2 * i + 1)] - double(side) / 2));
      const std::vector<uint8_t> expected(rgb, rgb + size * size * 3);
      CHECK(plain.patch(left, top, side, size).rgb == expected);
      CHECK(single.patch(left, top, side, size).rgb == expected);
    });
  }
  const Image half = halved(image), quarter = halved(half);
  const SlideImage s(
      write_tiff(folder.path("p.tif"), {{image, {.compression = 8}}, {half, {.compression = 8}}, {quarter, {.compression = 8}}}));
  CHECK(s.level_for(32, 32) == 0);
  CHECK(s.level_for(32, 17) == 0);
  CHECK(s.level_for(32, 16) == 1);
  CHECK(s.level_for(64, 16) == 2);
  CHECK(s.level_for(6400, 16) == 2);
  const Image patch = s.patch(32, 16, 32, 16);  // whole pixels of level 1
  for (int64_t y = 0; y < 16; y++)
    for (int64_t x = 0; x < 48; x++) REQUIRE(patch.rgb[size_t(y * 48 + x)] == half.rgb[size_t((y + 8) * 64 * 3 + 48 + x)]);
  // Between pixels of the level: near to what level 0 gives.
  CHECK(largest_difference(s.patch(31, 17, 45, 20), single.patch(31, 17, 45, 20)) <= 3);
  CHECK(largest_difference(s.patch(-9, 70, 45, 20), single.patch(-9, 70, 45, 20)) <= 24);
}

TEST_CASE("slide: thumbnails come from the coarsest level that has the pixels, or are averaged on the way") {
  const TempFolder folder;
  const Image image = waves(128, 96), half = halved(image), quarter = halved(half);
  const SlideImage s(write_tiff(folder.path("p.tif"), {{image, {.compression = 8}}, {half, {.compression = 8}}}));
  CHECK(s.thumbnail(64).rgb == half.rgb);
  CHECK(s.thumbnail(1000).rgb == image.rgb);
  CHECK(largest_difference(s.thumbnail(32), quarter) <= 2);
  write_png(folder.path("a.png"), image);
  const SlideImage plain(folder.path("a.png")), strips(write_tiff(folder.path("s.tif"), {{image, {.tile = 0}}}));
  CHECK(largest_difference(plain.thumbnail(32), quarter) <= 2);
  CHECK(strips.thumbnail(50).rgb == plain.thumbnail(50).rgb);
  CHECK(plain.thumbnail(50).height == 38);
}

TEST_CASE("slide: an empty tile is background; one that a level lacks comes from the level below") {
  const TempFolder folder;
  const Image image = waves(64, 48), half = halved(image);
  const std::string path = write_tiff(folder.path("a.tif"), {{image, {.compression = 8, .leave_out = 5}}, {half, {.compression = 8}}});
  const SlideImage s(path);
  CHECK(s.warnings() == std::vector<std::string>{path + ": directory 0: 1 of 12 tiles are empty: background"});
  CHECK(s.read(0, 16, 16, 16, 16).rgb == std::vector<uint8_t>(16 * 16 * 3, 255));
  CHECK(s.read(0, 0, 16, 1, 1).rgb != std::vector<uint8_t>(3, 255));
  write_tiff(path, {{image, {.compression = 8}}, {half, {.compression = 8}}});
  const std::string lacking = folder.file("b.tif", with_tag(read_text(path), 325, 0, 1));  // no bytes, but a place
  const SlideImage t(lacking);
  CHECK(largest_difference(t.read(1, 0, 0, 16, 16), SlideImage(path).read(1, 0, 0, 16, 16)) <= 3);
}

TEST_CASE("slide: OpenSlide's pixels and sizes are ours") {
  const TempFolder folder;
  const Image image = waves(60, 44);
  const std::string path = write_tiff(folder.path("a.svs"), aperio(image));
  const SlideImage ours(path);
  REQUIRE(openslide_knows(path));
  const auto theirs = open_openslide(path);
  REQUIRE(theirs->levels.size() == 3);
  CHECK(theirs->format == "aperio");
  REQUIRE(theirs->mpp.size() == 1);
  CHECK(theirs->mpp[0].x == 0.4990);
  for (size_t i = 0; i < 3; i++) {
    CHECK(theirs->levels[i].width == ours.levels()[i].width);
    CHECK(theirs->levels[i].height == ours.levels()[i].height);
    CHECK(theirs->block(int(i), 0, 0).pixels.rgb == all_of(ours, int(i)).rgb);
  }
  // A vendor's TIFF goes to OpenSlide by itself.
  TiffKind medscan{.compression = 7, .photometric = 6, .description = "Objective Power=20", .software = "MedScan 1.0"};
  const SlideImage trestle(write_tiff(folder.path("t.tif"), {{image, medscan}}));
  CHECK(trestle.format() == "Trestle TIFF");
  CHECK(trestle.levels()[0].compression == "as OpenSlide reads it");
  CHECK(largest_difference(trestle.read(0, 0, 0, 60, 44), image) <= 12);
}

TEST_CASE("slide: BMP, GIF, PNM and TGA are images of one level") {
  const TempFolder folder;
  const Image image = picture(5, 3);
  std::string ppm = "P6\n5 3\n255\n" + std::string(image.rgb.begin(), image.rgb.end());
  const SlideImage s(folder.file("a.ppm", ppm));
  CHECK(s.format() == "PNM");
  CHECK(all_of(s).rgb == image.rgb);
  std::string tga("\0\0\2\0\0\0\0\0\0\0\0\0\5\0\3\0\x18\x20", 18);
  std::string bmp(
      "BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\5\0\0\0\xfd\xff\xff\xff\1\0\x18\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 54);
  for (size_t i = 0; i < 15; i++) {
    for (size_t c = 0; c < 3; c++) tga.push_back(char(image.rgb[3 * i + 2 - c])), bmp.push_back(char(image.rgb[3 * i + 2 - c]));
    if (i % 5 == 4) bmp.push_back(0);
  }
  CHECK(all_of(SlideImage(folder.file("a.tga", tga + std::string(8, '\0') + std::string("TRUEVISION-XFILE.\0", 18)))).rgb == image.rgb);
  CHECK(all_of(SlideImage(folder.file("a.bmp", bmp))).rgb == image.rgb);
  const std::string gif("GIF89a\1\0\1\0\x80\0\0\x0a\x14\x1e\xff\xff\xff,\0\0\0\0\1\0\1\0\0\2\2\x44\1\0;", 35);
  CHECK(all_of(SlideImage(folder.file("a.gif", gif))).rgb == std::vector<uint8_t>{10, 20, 30});
}

TEST_CASE("bad input: slides") {
  const TempFolder folder;
  const Image image = waves(64, 48);
  const std::string good =
      read_text(write_tiff(folder.path("good.tif"), {{image, {.compression = 8}}, {halved(image), {.compression = 8}}}));
  auto refuse = [&](const std::string& bytes, const std::string& line) {
    const std::string path = folder.file("bad.tif", bytes);
    refuses(Exit::data, "{}: " + line, path, [&] {
      const SlideImage s(path);
      all_of(s);
    });
  };
  refuse("", "is empty, expected a slide or an image");
  refuse("<!doctype html><title>404", "is an HTML page, expected a slide or an image");
  refuse("version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer, not the data, expected a slide or an image");
  refuse(std::string(2000, 'x'), "is of an unknown format, expected a slide or an image");
  refuse(std::string("II*\0", 4), "header: 4 bytes, expected a TIFF file");
  refuse(std::string("II*\0\0\0\0\0", 8), "header: no directory, expected an image");
  refuse(std::string("II+\0\4\0\0\0\0\0\0\0\0\0\0\0", 16), "header: offsets that are not of 8 bytes, expected a BigTIFF file");
  refuse(std::string("II*\0\xff\0\0\0", 8), "directory 0: offset 255 past the file's end (8), expected a whole file; truncated?");
  refuse(std::string("II*\0\x8\0\0\0\0\0", 10), "directory 0: 0 entries, expected 1 to 4096");
  refuse(std::string("II*\0\x8\0\0\0\x9\0", 10),
         "directory 0: 9 entries at offset 8 past the file's end (10), expected a whole file; truncated?");
  refuse(with_tag(good, 325, 65535), "directory 0: tile 0 at offset 8 with 65535 bytes ends past the file (" + std::to_string(good.size()) +
                                         " bytes), expected a whole file; truncated in download? compare size or sha256");
  refuse(with_tag(good, 324, 1 << 20), "directory 0: tile 0 at offset 1048576 with 576 bytes ends past the file (" +
                                           std::to_string(good.size()) +
                                           " bytes), expected a whole file; truncated in download? compare size or sha256");
  refuse(with_tag(good, 256, 6400), "directory 0, tag 324 (TileOffsets): 12 for 1200 tiles or strips, expected one for each");
  refuse(with_tag(good, 256, 0), "directory 0: 0 x 48 pixels, expected 1 to 1073741824 on a side");
  refuse(with_tag(good, 322, 0), "directory 0, tag 322 (TileWidth): 0 x 16, expected a tile of at least one pixel");
  refuse(with_tag(good, 277, 99), "directory 0, tag 277 (SamplesPerPixel): 99, expected 1 to 8");
  refuse(with_tag(good, 277, 2), "directory 0, tag 277 (SamplesPerPixel): 2, expected at least 3 of PhotometricInterpretation 2");
  refuse(with_tag(good, 284, 3), "directory 0, tag 284 (PlanarConfiguration): 3, expected 1 or 2");
  refuse(with_tag(good, 258, 4), "directory 0, tag 258 (BitsPerSample): 4 and 8, expected the same for all samples");
  refuse(with_tag(good, 262, 8),
         "directory 0, tag 262 (PhotometricInterpretation): 8, expected 0 to 3, 5 or 6 (grey, RGB, palette, CMYK, YCbCr)");
  refuse(with_tag(good, 259, 4),
         "directory 0, tag 259 (Compression): 4, expected none, LZW, JPEG, Deflate, PackBits, LERC, LZMA, Zstandard, WebP or JPEG 2000");
  refuse(with_tag(good, 259, 6),
         "directory 0, tag 259 (Compression): 6 (old JPEG), expected none, LZW, JPEG, Deflate, PackBits, LERC, LZMA, Zstandard, WebP or "
         "JPEG 2000");
  refuse(with_tag(with_tag(good, 322, 32768), 323, 32768),
         "directory 0: tiles of 32768 x 32768 pixels, expected one of at most 512 MiB decoded; write it as tiles");
  refuse(with_tag(with_tag(good, 322, 8192), 323, 8192), "tile 0 of level 0: 576 bytes for 3072 pixels, expected a tile that decodes");
  refuse(with_tag(good, 325, 100), "tile 0 of level 0: 'Decoding error at scanline 0', expected a tile that decodes");
  refuses(Exit::data, "{}: patches of 65537 pixels on a side, expected at most 65536", folder.path("good.tif"),
          [&] { static_cast<void>(SlideImage(folder.path("good.tif")).patch(0, 0, 65537, 1)); });
  CHECK(SlideImage(folder.path("good.tif")).patch(-30000, -30000, 65536, 1).rgb[0] >= 254);
  refuse(read_text(write_tiff(folder.path("label.tif"), {{image, {.description = "Label"}}})),
         "1 directories, all labels or thumbnails, expected a slide");
  std::string cap("II*\0\x8\0\0\0", 8);
  for (int i = 0; i < 1025; i++) {
    const std::string entries(
        "\5\0\0\1\4\0\1\0\0\0\1\0\0\0\1\1\4\0\1\0\0\0\1\0\0\0\2\1\3\0\1\0\0\0\x8\0\0\0"
        "\x11\1\4\0\1\0\0\0\0\0\0\0\x17\1\4\0\1\0\0\0\0\0\0\0",
        62);
    const uint32_t next = uint32_t(cap.size() + 66);
    cap += entries + std::string{char(next), char(next >> 8), char(next >> 16), 0};
  }
  refuse(cap, "directory 1024: one more, expected at most 1024 directories");
  const std::string j2k = read_text(write_tiff(folder.path("j.tif"), {{image, {.compression = 33005}}}));
  auto change = [&](size_t at, const std::string& now) {
    std::string bytes = j2k;
    return bytes.replace(bytes.find("\xff\x4f\xff\x51") + at, now.size(), now);
  };
  refuse(change(8, std::string("\0\1\0\0", 4)), "tile 0 of level 0: '65536 x 16 pixels', expected a tile that decodes");
  refuse(change(24, std::string("\0\0\0\1\0\0\0\1", 8)), "tile 0 of level 0: 'not 1 to 64 tiles in a tile', expected a tile that decodes");
  refuse(change(40, std::string("\x40\0", 2)), "tile 0 of level 0: '16384 components', expected a tile that decodes");
  refuse(change(0, "none"), "tile 0 of level 0: 'no code stream', expected a tile that decodes");
  refuse(change(42, "\x12"), "tile 0 of level 0: '19 bits', expected a tile that decodes");
  // A chain of directories that goes on for ever.
  const std::string first = good.substr(4, 4);
  auto number = [&](size_t at) {
    uint32_t x = 0;
    for (size_t i = 0; i < 4; i++) x |= uint32_t(static_cast<unsigned char>(good[at + i])) << 8 * i;
    return x;
  };
  std::string loop = good;
  const size_t directory = number(4), entries = size_t(good[directory]), second = number(directory + 2 + 12 * entries);
  loop.replace(second + 2 + 12 * size_t(good[second]), 4, first);
  refuse(loop, "directory 1 points back to directory 0: a loop, expected directories one after the other");
}

TEST_CASE("bad input: a tile that does not decode is named, or white and reported where that is wished") {
  const TempFolder folder;
  const Image image = waves(64, 48);
  for (const int compression : {7, 33005}) {
    const std::string path =
        write_tiff(folder.path("a.tif"), {{image, {.compression = compression, .photometric = compression == 7 ? 6 : 2}}});
    const Image whole = all_of(SlideImage(path));
    std::string bytes = with_tag(read_text(path), 325, 60);  // the first tile's end is cut off
    write_atomic(path, bytes);
    const SlideImage strict(path);
    CHECK(strict.read(0, 16, 0, 48, 48).rgb.size() == size_t(48 * 48 * 3));
    CHECK_THROWS_AS(static_cast<void>(strict.read(0, 0, 0, 17, 17)), Error);
    try {
      static_cast<void>(strict.patch(0, 0, 16, 8));
    } catch (const Error& e) {
      CHECK(e.code() == Exit::data);
      CHECK(std::string(e.what()).starts_with(path + ": tile 0 of level 0: '"));
    }
    SlideOptions options;
    options.skip_bad_tiles = true;
    const SlideImage skipping(path, options);
    bool bad = false;
    CHECK(skipping.read(0, 16, 0, 16, 16, &bad).rgb.size() == size_t(16 * 16 * 3));
    CHECK(!bad);
    CHECK(skipping.read(0, 0, 0, 16, 16, &bad).rgb == std::vector<uint8_t>(16 * 16 * 3, 255));
    CHECK(bad);
  }
}

TEST_CASE("bad input: a refused slide costs little memory") {
  const TempFolder folder;
  const std::string good = read_text(write_tiff(folder.path("a.tif"), {{waves(64, 48), {.compression = 8}}}));
  const std::string bombs[] = {with_tag(with_tag(good, 256, 65535), 257, 65535), with_tag(with_tag(good, 322, 8192), 323, 8192)};
  for (const std::string& bomb : bombs) {
    const std::string path = folder.file("bomb.tif", bomb);
    CHECK(in_child([&] {
            rusage before{}, after{};
            ::getrusage(RUSAGE_SELF, &before);
            try {
              all_of(SlideImage(path));
            } catch (const Error&) {
              ::getrusage(RUSAGE_SELF, &after);
              return after.ru_maxrss - before.ru_maxrss < 64 * 1024 ? 42 : 43;
            }
            return 44;
          }) == 42);
  }
}
