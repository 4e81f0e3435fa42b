#!/bin/bash
# usage: tools/build/fuzz.sh TARGET SECONDS [RUNS]
# Runs build/fuzz/TARGET from its corpus for SECONDS (0: for RUNS executions). A fault ends it with an error and leaves its input in
# build/fuzz/TARGET-faults: put that into tests/fuzz/corpus/TARGET as regress-N, the tests replay it from then on.
set -euo pipefail
cd "$(dirname "$0")/../.."
target="$1" found="build/fuzz/$1-corpus" faults="build/fuzz/$1-faults/"
mkdir -p "$found" "$faults"
"build/fuzz/$target" -max_total_time="$2" -runs="${3:--1}" -rss_limit_mb=512 -malloc_limit_mb=64 -timeout=5 -max_len=65536 -seed=20251125 \
  -print_final_stats=1 -verbosity=0 -artifact_prefix="$faults" "$found" "tests/fuzz/corpus/$target"
