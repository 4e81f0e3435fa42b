#!/bin/bash
# usage: tools/build/check_isa_symbols.sh OBJECT...
# Kernels are compiled once per instruction set. Of an inline function with external linkage the linker keeps one copy for
# the whole program: from such an object it would crash machines that lack the set. So these objects may hold none.
set -euo pipefail
if [ $# -eq 0 ]; then
  [ "$(uname -m)" != x86_64 ] && exit 0  # one instruction set only
  echo "error: check_isa_symbols.sh: no objects, expected those of AVX2 and AVX-512" >&2
  exit 64
fi
leaks="$(nm --print-file-name --demangle --defined-only "$@" | grep -E '^[^ ]+:[0-9a-f]+ W ' || true)"
[ -z "$leaks" ] || {
  echo "$leaks"
  echo "error: inline functions in objects of one instruction set: keep std:: and fmt out of ops/cpu/*.cpp, or inline always"
  exit 1
}
