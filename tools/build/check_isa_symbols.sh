#!/bin/bash
# usage: tools/build/check_isa_symbols.sh OBJECT...
# Kernels are compiled once per instruction set. Of an inline function with external linkage the linker keeps one copy for
# the whole program: from such an object it would crash machines that lack the set. So these objects may hold none.
set -euo pipefail
[ $# -gt 0 ] || exit 0
leaks="$(nm --print-file-name --demangle --defined-only "$@" | grep -E '^[^ ]+:[0-9a-f]+ W ' || true)"
[ -z "$leaks" ] || {
  echo "$leaks"
  echo "error: inline functions in objects of one instruction set: keep std:: and fmt out of ops/cpu/*.cpp, or inline always"
  exit 1
}
