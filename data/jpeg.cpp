// JPEG through libjpeg-turbo.
#include <csetjmp>
#include <cstdio>
// jpeglib.h needs size_t and FILE before it.
#include <jpeglib.h>

#include <jerror.h>

#include "data/decoder.h"

namespace stflow {
namespace {

constexpr int kMostScans = 200;  // a progressive image has about ten; each one costs a pass over all blocks

/// libjpeg calls back with errors; it is C, so they leave it by longjmp and never by an exception.
struct Errors {
  jpeg_error_mgr base{};
  std::jmp_buf jump{};
  char text[JMSG_LENGTH_MAX] = {};
  bool damaged = false;  // a warning that means wrong pixels; its text is in `text`

  static Errors& of(j_common_ptr c) { return *reinterpret_cast<Errors*>(c->err); }
  [[noreturn]] static void leave(j_common_ptr c) {
    (*c->err->format_message)(c, of(c).text);
    std::longjmp(of(c).jump, 1);
  }
  static void note(j_common_ptr c, int level) {
    int code = c->err->msg_code;
    bool harmless = level >= 0 || code == JWRN_EXTRANEOUS_DATA || code == JWRN_ADOBE_XFORM || code == JWRN_BOGUS_ICC;
    if (harmless || of(c).damaged) return;
    (*c->err->format_message)(c, of(c).text);
    of(c).damaged = true;
  }
  static void silent(j_common_ptr) {}
};

void count_scans(j_common_ptr c) {
  if (reinterpret_cast<j_decompress_ptr>(c)->input_scan_number <= kMostScans) return;
  std::snprintf(Errors::of(c).text, sizeof Errors::of(c).text, "more than %d scans", kMostScans);
  std::longjmp(Errors::of(c).jump, 1);
}

/// The EXIF orientation (tag 0x0112 of the first directory) of an APP1 segment, 1 where there is none.
int orientation(const unsigned char* p, size_t n) {
  if (n < 14 || std::string_view(reinterpret_cast<const char*>(p), 6) != std::string_view("Exif\0\0", 6)) return 1;
  p += 6, n -= 6;
  bool big = p[0] == 'M';
  auto read = [&](size_t at, size_t bytes) -> size_t {
    size_t x = 0;
    for (size_t i = 0; i < bytes; i++) x |= size_t(p[at + i]) << 8 * (big ? bytes - 1 - i : i);
    return x;
  };
  size_t directory = read(4, 4);
  if (directory > n - 2) return 1;
  for (size_t i = 0, entries = read(directory, 2); i < entries; i++) {
    size_t at = directory + 2 + 12 * i;
    if (at + 12 > n) break;
    if (read(at, 2) == 0x0112) return int(read(at + 8, 2));
  }
  return 1;
}

struct Jpeg final : ImageReader::Decoder {
  jpeg_decompress_struct jpeg{};
  Errors errors;
  jpeg_progress_mgr progress{};
  bool started = false, cmyk = false;
  std::vector<uint8_t> inks;  // a row of CMYK

  explicit Jpeg(FileView f) : Decoder(std::move(f)) {
    jpeg.err = jpeg_std_error(&errors.base);
    errors.base.error_exit = Errors::leave;
    errors.base.emit_message = Errors::note;
    errors.base.output_message = Errors::silent;
    if (setjmp(errors.jump)) refuse();
    jpeg_create_decompress(&jpeg);
    progress.progress_monitor = count_scans;
    jpeg.progress = &progress;
    jpeg_mem_src(&jpeg, file.data(), static_cast<unsigned long>(file.size()));
    jpeg_save_markers(&jpeg, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(&jpeg, TRUE);
    width = jpeg.image_width, height = jpeg.image_height;
    read_header();
  }
  ~Jpeg() override { jpeg_destroy_decompress(&jpeg); }

  /// The checks that may throw, away from the frame that setjmp returns to.
  void read_header() {
    try {
      check_size(jpeg.progressive_mode != 0);
      for (auto* m = jpeg.marker_list; m; m = m->next)
        if (int o = orientation(m->data, m->data_length); o != 1)
          warnings.push_back(fmt::format("{}: EXIF orientation {} ignored: coordinates refer to the pixels as stored", file.path(), o));
    } catch (...) {
      jpeg_destroy_decompress(&jpeg);  // no destructor runs after a throwing constructor
      throw;
    }
    cmyk = jpeg.jpeg_color_space == JCS_CMYK || jpeg.jpeg_color_space == JCS_YCCK;
    jpeg.out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
    if (cmyk) inks.resize(size_t(width) * 4);
    const double unit = !jpeg.saw_JFIF_marker ? 0 : jpeg.density_unit == 1 ? 25400 : jpeg.density_unit == 2 ? 10000 : 0;
    if (unit > 0 && jpeg.X_density > 0 && jpeg.Y_density > 0) mpp_x = unit / jpeg.X_density, mpp_y = unit / jpeg.Y_density;
  }

  [[noreturn]] void refuse() {
    bool in_constructor = width == 0;
    if (in_constructor) jpeg_destroy_decompress(&jpeg);
    fail(Exit::data, "{}: {}: {}, expected a whole JPEG image", file.path(), in_constructor ? "header" : fmt::format("row {}", row),
         errors.text);
  }

  void next_row(uint8_t* rgb) override {
    JSAMPROW rows[1] = {cmyk ? inks.data() : rgb};
    if (setjmp(errors.jump)) refuse();
    if (!started) jpeg_start_decompress(&jpeg);
    started = true;
    jpeg_read_scanlines(&jpeg, rows, 1);
    if (row + 1 == height) jpeg_finish_decompress(&jpeg);
    if (errors.damaged) refuse();
    if (cmyk) mix(rgb);
  }
  /// Pillow's conversion. Adobe's programs, whose marker says so, store the inks inverted.
  void mix(uint8_t* rgb) const {
    const auto product = [](int a, int b) { return ((a * b + 128) + ((a * b + 128) >> 8)) >> 8; };
    const auto ink = [&](size_t i) { return jpeg.saw_Adobe_marker ? 255 - inks[i] : int(inks[i]); };
    for (size_t x = 0; x < size_t(width); x++) {
      const int paper = 255 - ink(4 * x + 3);
      for (size_t c = 0; c < 3; c++) rgb[3 * x + c] = uint8_t(paper - product(ink(4 * x + c), paper));
    }
  }
};

}  // namespace

std::unique_ptr<ImageReader::Decoder> open_jpeg(FileView file) { return std::make_unique<Jpeg>(std::move(file)); }

}  // namespace stflow
