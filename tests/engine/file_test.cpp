#include "engine/file.h"

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>

#include "engine/hash.h"
#include "tests/files.h"

using namespace stflow;

TEST_CASE("file: written whole or not at all") {
  test::TempFolder folder;
  std::string path = folder.path("a.txt");
  write_atomic(path, "first");
  CHECK(read_text(path) == "first");
  {
    FileWriter half(path, 1000);
    half.write("lost");
    CHECK(std::filesystem::exists(path + ".partial"));
    test::refuses(Exit::create, "{}: another process is writing it, expected to be alone", path, [&] { FileWriter second(path); });
  }
  CHECK_FALSE(std::filesystem::exists(path + ".partial"));
  CHECK(read_text(path) == "first");
  FileWriter shorter(path, 1000);  // fewer bytes than reserved
  shorter.write("second");
  shorter.commit();
  CHECK(read_text(path) == "second");
  write_atomic(folder.path("empty"), "");
  CHECK(FileView(folder.path("empty")).size() == 0);
}

TEST_CASE("bad input: missing files and folders in their place") {
  test::TempFolder folder;
  test::refuses(Exit::missing, "{}: No such file or directory, expected a readable file", folder.path("none"),
                [&] { FileView v(folder.path("none")); });
  test::refuses(Exit::missing, "{}: a folder, expected a regular file", folder.path(), [&] { FileView v(folder.path()); });
  test::refuses(Exit::missing, "{}: a special file, expected a regular file", "/dev/null", [&] { FileView v("/dev/null"); });
  std::string big = folder.file("big", "12345");
  test::refuses(Exit::data, "{}: 5 bytes, expected at most 4", big, [&] { read_text(big, 4); });
}

TEST_CASE("bad input: outputs that cannot be made") {
  test::TempFolder folder;
  std::string file = folder.file("file", "x");
  test::refuses(Exit::create, "{}: No such file or directory, expected a place to write", folder.path("no/such"),
                [&] { write_atomic(folder.path("no/such"), ""); });
  test::refuses(Exit::create, "{}: Not a directory, expected an output folder", file + "/sub", [&] { make_output_folder(file + "/sub"); });
  test::refuses(Exit::create, "{}: a file, expected an output folder", file, [&] { make_output_folder(file); });
  test::refuses(Exit::create, "{}: a folder, expected a file name", folder.path(), [&] { write_atomic(folder.path(), ""); });
  make_output_folder(folder.path("new/deep"));
  CHECK(std::filesystem::is_directory(folder.path("new/deep")));
  CHECK(std::filesystem::is_empty(folder.path("new/deep")));

  // Root may write anywhere, so a child gives its privileges up.
  std::filesystem::create_directory(folder.path("read-only"));
  ::chmod(folder.path("read-only").c_str(), 0555);
  ::chmod(folder.path().c_str(), 0755);
  auto unprivileged = [](auto run) {
    return test::in_child([&] {
      if (::geteuid() == 0 && ::setuid(65534) != 0) return 98;
      run();
      return 0;
    });
  };
  CHECK(unprivileged([&] { write_atomic(folder.path("read-only/x"), "x"); }) == int(Exit::create));
  CHECK(unprivileged([&] { make_output_folder(folder.path("read-only")); }) == int(Exit::create));
  CHECK(unprivileged([&] { make_output_folder(folder.path("read-only/sub")); }) == int(Exit::create));
}

TEST_CASE("bad input: the disk refuses bytes") {
  test::TempFolder folder;
  std::string path = folder.file("a.bin", "old");
  auto limited = [&](uint64_t reserve) {  // a file size limit is the portable full disk
    return test::in_child([&] {
      std::signal(SIGXFSZ, SIG_IGN);
      rlimit limit{1000, 1000};
      ::setrlimit(RLIMIT_FSIZE, &limit);
      try {
        FileWriter file(path, reserve);
        for (int i = 0; i < 4; i++) file.write(std::string(300, 'x'));
        file.commit();
      } catch (const Error& e) {
        std::string line = e.what();
        bool named =
            line.starts_with(path + (reserve ? ": reserving 1200 bytes: File too large, " : ": writing 1200 bytes: File too large, ")) &&
            line.ends_with(" bytes free");
        return named && e.code() == Exit::io ? 42 : 43;
      }
      return 44;
    });
  };
  for (uint64_t reserve : {0, 1200}) {
    CHECK(limited(reserve) == 42);
    CHECK(read_text(path) == "old");
    CHECK_FALSE(std::filesystem::exists(path + ".partial"));
  }
}

TEST_CASE("file: what a file really is") {
  using namespace std::string_view_literals;
  CHECK(sniff("version https://git-lfs.github.com/spec/v1\noid sha256:0") == "a Git LFS pointer, not the data");
  CHECK(sniff("\n <!DOCTYPE HTML><html>404") == "an HTML page");
  CHECK(sniff("<html lang=en>") == "an HTML page");
  CHECK(sniff("PK\x03\x04...") == "a zip archive (PyTorch .pth?)");
  CHECK(sniff("\x1f\x8b\x08") == "gzip data");
  CHECK(sniff("II*\0"sv) == "a TIFF image");
  CHECK(sniff("") == "empty");
  CHECK(sniff("x\ty\n") == "");
}

TEST_CASE("hash: SHA-256 known answers") {
  CHECK(sha256("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(sha256("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(sha256(std::string(1'000'000, 'a')) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  Sha256 pieces;  // odd pieces give the same
  std::string text(1000, 'b');
  for (size_t i = 0, n = 1; i < text.size(); i += n, n = n * 2 + 1) pieces.add(std::string_view(text).substr(i, n));
  CHECK(pieces.hex() == sha256(text));
}
