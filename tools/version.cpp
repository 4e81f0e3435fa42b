#include "tools/version.h"

#include "engine/device.h"
#include "engine/version.h"

namespace stflow {

std::string version_text() {
  std::string isas;
#if defined(__x86_64__)
  for (const Isa isa : {Isa::plain, Isa::avx2, Isa::avx512})
#else
  for (const Isa isa : {Isa::plain})
#endif
    isas += fmt::format(" {}{}", name_of(isa), isa == best_isa() ? " (in use)" : supports(isa) ? "" : " (not on this machine)");
  return fmt::format("stflow {}\nbuilt with: {} {}\ninstruction sets:{}\n", kVersion, __VERSION__, STFLOW_FLAGS, isas);
}

}  // namespace stflow
