#!/bin/bash
# usage: tools/build/run_tests.sh PROGRAM [doctest flags]
# Runs the test program's cases in as many processes at a time as there are cores, a few cases each: most cases use one core. Prints what
# the processes print, then one line that counts all cases as doctest does; exits with 1 if one failed. The kernels that ran are listed in
# kernels.txt beside the program (for check_kernels.sh).
set -uo pipefail
[ $# -ge 1 ] && [ -x "$1" ] || { echo "run_tests.sh: found '${1:-}', expected a test program" >&2; exit 64; }
program="$1" per_process=5
shift
logs="$(mktemp -d)"
trap 'rm -rf "$logs"' EXIT
cases="$("$program" --count "$@" | grep -oP 'filters: \K[0-9]+')"
[ "${cases:-0}" -gt 0 ] || { echo "run_tests.sh: no test case passes the filters: $*" >&2; exit 1; }

# run_cases FIRST FLAGS...: the cases FIRST, FIRST + 1 ... of those that pass the filters; how many failed goes to FIRST.failed.
run_cases() {
  local log="$logs/$1" last=$(($1 + per_process - 1)) rc=0 failed
  STFLOW_KERNELS="$log.kernels" "$program" "${@:2}" "--first=$1" "--last=$last" >"$log.txt" 2>&1 || rc=$?
  grep -avE '^(\[doctest\].*|=+)$' "$log.txt"
  # doctest counts the cases of the other processes as passed.
  failed="$(grep -aoP '^\[doctest\] test cases: .* \K[0-9]+(?= failed)' "$log.txt" | tail -n 1)"
  if [ -z "$failed" ] || { [ "$failed" -eq 0 ] && [ $rc -ne 0 ]; }; then
    echo "ERROR: the process of cases $1 to $last ended with exit code $rc"
    failed=1
  fi
  echo "$failed" >"$log.failed"
}

running=0 processes=0
for ((first = 1; first <= cases; first += per_process)); do
  if [ $running -eq "$(nproc)" ]; then wait -n; else running=$((running + 1)); fi
  run_cases $first "$@" &
  processes=$((processes + 1))
done
wait

failed=0 ended=0
for file in "$logs"/*.failed; do failed=$((failed + $(<"$file"))) ended=$((ended + 1)); done
cat "$logs"/*.kernels 2>/dev/null | sort -u >"$(dirname "$program")/kernels.txt"
echo "[doctest] test cases: $cases | $((cases - failed)) passed | $failed failed"
[ $failed -eq 0 ] && [ $ended -eq $processes ]
