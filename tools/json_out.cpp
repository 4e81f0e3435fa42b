#include "tools/json_out.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "engine/error.h"
#include "tools/terminal.h"

namespace stflow {

void print_json(const JsonOut& object) {
  check(object.is_object(), "print_json: {}, expected an object", object.type_name());
  // Text from files may hold any bytes: what is not UTF-8 is replaced rather than refused at the very end of a run.
  const std::string text = object.dump(2, ' ', false, JsonOut::error_handler_t::replace) + "\n";
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size())
    fail(Exit::io, "stdout: {}, expected to write the result", std::strerror(errno));
  terminal::flush();
}

}  // namespace stflow
