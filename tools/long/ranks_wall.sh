#!/bin/bash
# usage: tools/long/ranks_wall.sh [EPOCHS [REPETITIONS]]      on a quiet machine
# What it costs to train in two processes of one thread instead of one of two threads: EPOCHS (60) of the shipped sections, REPETITIONS (5)
# of each in turns, so that a machine that becomes slower meets both alike. Features are computed before. Prints the seconds of each, then
# the least and the median of both with their ratio, to be at most 1.15; exits with 1 if the least is above.
set -euo pipefail
cd "$(dirname "$0")/../.."
epochs="${1:-60}" repetitions="${2:-5}"
stflow="$PWD/stflow" work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
flags=(train --genes 50 --epochs "$epochs" --members 1 --batch-size 8 --samples 2 --quiet --no-maps --overwrite --cache-dir "$work/cache")
run() {  # run NAME COMMAND...: its seconds, to NAME
  local start="$EPOCHREALTIME"
  "${@:2}" >/dev/null
  awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN {printf "%.2f\n", b - a}' | tee -a "$work/$1"
}
"$stflow" "${flags[@]}" --epochs 1 --save-dir "$work/first" >/dev/null
for ((i = 0; i < repetitions; i++)); do
  one="$(run one "$stflow" "${flags[@]}" --threads 2 --save-dir "$work/run1")"
  two="$(run two "$stflow" launch --nproc-per-node 2 -- "${flags[@]}" --save-dir "$work/run2")"
  echo "one rank with two threads $one s, two ranks with one thread $two s"
done
cmp "$work/run1/model.safetensors" "$work/run2/model.safetensors"
of() { sort -n "$work/$1" | awk -v what="$2" '{x[NR] = $1} END {print what == "least" ? x[1] : (x[int((NR + 1) / 2)] + x[int(NR / 2) + 1]) / 2}'; }
for what in least median; do
  awk -v w="$what" -v a="$(of one "$what")" -v b="$(of two "$what")" 'BEGIN {printf "%s: %.2f s and %.2f s, ratio %.3f\n", w, a, b, b / a}'
done
awk -v a="$(of one least)" -v b="$(of two least)" 'BEGIN {exit b > 1.15 * a}'
