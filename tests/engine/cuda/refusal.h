// What the emulator says of a fault that was planted on purpose.
#pragma once
#include <doctest/doctest.h>

#include <functional>
#include <string>

#include "engine/error.h"

namespace stflow::test {

/// The line of the fault in f(), which has to be one of the program.
inline std::string refusal(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    CHECK(e.code() == Exit::internal);
    return e.what();
  }
  return "nothing was refused";
}

}  // namespace stflow::test
