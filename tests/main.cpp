// The test program. With STFLOW_KERNELS=FILE in the environment it lists there the kernels that it ran, for
// tools/build/check_kernels.sh.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdlib>

#include "engine/cuda/emulate.h"
#include "engine/file.h"

int main(int argc, char** argv) {
  const int result = doctest::Context(argc, argv).run();
  if (const char* path = std::getenv("STFLOW_KERNELS")) {
    std::string list;
    for (const std::string& name : stflow::emulator::kernels_run()) list += name + "\n";
    stflow::write_atomic(path, list);
  }
  return result;
}
