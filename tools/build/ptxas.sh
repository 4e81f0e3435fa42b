#!/bin/bash
# usage: tools/build/ptxas.sh FILES.ptxas...      what ptxas -v said while each source was compiled (make ptxas)
# What each kernel asks of a multiprocessor on an H100 (sm_90): registers of a thread, static shared memory of a block, bytes spilled. Fails
# if a kernel spills.
set -euo pipefail
filt="$(command -v cu++filt || command -v c++filt)"
printf '%-44s %9s %12s %8s\n' kernel registers shared spilled
cat "$@" | "$filt" | awk '
  /Compiling entry function/ {
    wanted = /sm_90/
    name = $0; sub(/.*function ./, "", name); gsub(/\(anonymous namespace\)::/, "", name); sub(/\(.*/, "", name)
    gsub(/.*::/, "", name); sub(/^void /, "", name); spilled = 0
  }
  wanted && /bytes spill stores/ { spilled = $0; sub(/.*stack frame, /, "", spilled); sub(/ .*/, "", spilled) }
  wanted && /Used [0-9]+ registers/ {
    registers = $0; sub(/.*Used /, "", registers); sub(/ .*/, "", registers)
    shared = 0; if (match($0, /[0-9]+ bytes smem/)) shared = substr($0, RSTART, RLENGTH - 11)
    if (!(name in seen)) printf "%-44s %9d %12d %8d\n", name, registers, shared, spilled
    seen[name] = 1
    if (spilled > 0) bad++
  }
  END { if (bad) { printf "%d kernels spill registers, expected none\n", bad; exit 1 } }'
