#include "engine/build_id.h"

#include <elf.h>
#include <fmt/format.h>
#include <link.h>

#include <cstring>
#include <string_view>

#include "engine/file.h"
#include "engine/hash.h"

namespace stflow {
namespace {

constexpr char kOwner[] = "GNU";  // with its zero

constexpr size_t padded(size_t n) { return (n + 3) / 4 * 4; }

/// The identity among the notes of a segment, in hex; empty if there is none.
std::string identity_in(std::string_view notes) {
  ElfW(Nhdr) head{};
  while (notes.size() >= sizeof head) {
    std::memcpy(&head, notes.data(), sizeof head);
    notes.remove_prefix(sizeof head);
    const size_t name = padded(head.n_namesz), text = padded(head.n_descsz);
    if (notes.size() < name + text) return {};
    if (head.n_type == NT_GNU_BUILD_ID && head.n_namesz == sizeof kOwner && std::memcmp(notes.data(), kOwner, sizeof kOwner) == 0) {
      std::string hex;
      for (const char c : notes.substr(name, head.n_descsz)) hex += fmt::format("{:02x}", uint8_t(c));
      return hex;
    }
    notes.remove_prefix(name + text);
  }
  return {};
}

/// Of the first object that is loaded, which is the program.
std::string linked_identity() {
  std::string found;
  dl_iterate_phdr(
      [](dl_phdr_info* object, size_t, void* to) {
        std::string& id = *static_cast<std::string*>(to);
        for (int i = 0; i < object->dlpi_phnum && id.empty(); i++) {
          const auto& p = object->dlpi_phdr[i];
          // NOLINTNEXTLINE(performance-no-int-to-ptr): the loader gives addresses as numbers
          if (p.p_type == PT_NOTE) id = identity_in({reinterpret_cast<const char*>(object->dlpi_addr + p.p_vaddr), p.p_memsz});
        }
        return 1;  // no further objects
      },
      &found);
  return found;
}

}  // namespace

std::string build_id() {
  const FileView file("/proc/self/exe");
  const std::string linked = linked_identity();
  return linked.empty() ? sha256(file.text()) : fmt::format("{:.16}, {} bytes", linked, file.size());
}

}  // namespace stflow
