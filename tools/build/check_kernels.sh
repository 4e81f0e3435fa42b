#!/bin/bash
# usage: tools/build/check_kernels.sh KERNELS
# Every CUDA kernel must run in a test. KERNELS: the names that the test program ran, one a line (STFLOW_KERNELS=KERNELS
# build/release/tests/all). Prints each __global__ function that nothing launches and each name given to launch() that did not run.
set -uo pipefail
[ $# -eq 1 ] && [ -f "$1" ] || { echo "check_kernels.sh: ${1:-nothing}, expected a file of kernel names" >&2; exit 64; }
ran="$(realpath "$1")" failed=0
cd "$(dirname "$0")/../.."
complain() { echo "error: $1"; failed=1; }

# "name", kernel of each launch in these files, whatever the line breaks; a template's arguments are left out.
launches() { cat "$@" | grep -v '^ *//' | tr -s '\n ' ' ' | grep -oP 'launch\(\s*"\K[^"]+",\s*\w+' | tr -d '",'; }

mapfile -t sources < <(find ops/cuda engine/cuda \( -name '*.cu' -o -name '*.h' \) | sort)
for file in "${sources[@]}"; do
  # A kernel of a header may be launched by the files that include it.
  case "$file" in *.h) where=("${sources[@]}") ;; *) where=("$file") ;; esac
  while read -r kernel; do
    launches "${where[@]}" | grep -q " $kernel\$" || complain "$file: $kernel is __global__, but nothing launches it"
  done < <(grep -v '^ *//' "$file" | tr -s '\n ' ' ' | grep -oP '__global__ void (__launch_bounds__\((?:[^()]|\([^()]*\))*\) )?\K\w+(?=\()')
done
while read -r name; do
  grep -qxF "$name" "$ran" || complain "kernel $name: no test launches it"
done < <(launches "${sources[@]}" | cut -d ' ' -f 1 | sort -u)
exit $failed
