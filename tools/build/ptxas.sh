#!/bin/bash
# usage: tools/build/ptxas.sh NVCC FLAGS... -- FILES.cu...
# What each kernel asks of a multiprocessor on an H100 (sm_90): registers of a thread, static shared memory of a block, bytes spilled. Fails
# if a kernel spills.
set -euo pipefail
compiler=()
while [ "$1" != -- ]; do compiler+=("$1"); shift; done
shift
out="$(mktemp -d)"
trap 'rm -rf "$out"' EXIT
printf '%s\n' "$@" | xargs -P "$(nproc)" -I FILE bash -c '"${@:2}" -gencode arch=compute_90,code=sm_90 -Xptxas -v -c -o /dev/null FILE \
  > "$0/$(echo FILE | tr / _)" 2>&1 || { cat "$0/$(echo FILE | tr / _)"; exit 1; }' "$out" -- "${compiler[@]}"
filt="$(command -v cu++filt || command -v c++filt)"
printf '%-44s %9s %12s %8s\n' kernel registers shared spilled
cat "$out"/* | "$filt" | awk '
  /Compiling entry function/ {
    name = $0; sub(/.*function ./, "", name); gsub(/\(anonymous namespace\)::/, "", name); sub(/\(.*/, "", name)
    gsub(/.*::/, "", name); sub(/^void /, "", name); spilled = 0
  }
  /bytes spill stores/ { spilled = $0; sub(/.*stack frame, /, "", spilled); sub(/ .*/, "", spilled) }
  /Used [0-9]+ registers/ {
    registers = $0; sub(/.*Used /, "", registers); sub(/ .*/, "", registers)
    shared = 0; if (match($0, /[0-9]+ bytes smem/)) shared = substr($0, RSTART, RLENGTH - 11)
    if (!(name in seen)) printf "%-44s %9d %12d %8d\n", name, registers, shared, spilled
    seen[name] = 1
    if (spilled > 0) bad++
  }
  END { if (bad) { printf "%d kernels spill registers, expected none\n", bad; exit 1 } }'
