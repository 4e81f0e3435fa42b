#!/bin/bash
# usage: tools/long/kill_launched.sh [TRIALS [RANKS]]
# A small training run under `stflow launch` with 2 to RANKS (4) processes, of which a random one is killed (or, one time in four,
# stopped) at random moments, TRIALS (100) times. The launcher starts all of them again, each run has to end with 0 and with the bytes of
# an undisturbed one, and no process may be left. Prints each failure and a last line; exits with 1 if there was one.
trials="${1:-100}" ranks="${2:-4}" hits=0 runs=0 epochs=30 flags=(--save-every 1 --collective-timeout 3)
# shellcheck source=tools/long/small_run.sh
source "$(dirname "$0")/small_run.sh"

while [ $hits -lt "$trials" ]; do
  runs=$((runs + 1)) run="$work/run$runs"
  "$stflow" launch --nproc-per-node $((2 + RANDOM % (ranks - 1))) --max-restarts 1000 --grace 5 -- train "${flags[@]}" --save-dir "$run" \
    2>"$work/err" >/dev/null &
  launcher=$! seen=()
  for ((i = 0; i < 5; i++)); do
    sleep "$((RANDOM % 2)).$((RANDOM % 900 + 100))"
    mapfile -t workers < <(tr ' ' '\n' <"/proc/$launcher/task/$launcher/children" 2>/dev/null | grep .)
    [ ${#workers[@]} -gt 0 ] || continue
    seen+=("${workers[@]}")
    signal=KILL
    [ $((RANDOM % 4)) -ne 0 ] || signal=STOP
    kill -s $signal "${workers[RANDOM % ${#workers[@]}]}" 2>/dev/null && hits=$((hits + 1))
  done
  wait $launcher
  code=$?
  [ $code -eq 0 ] || complain "run $runs: ended with $code, expected 0"
  [ "$(bytes "$run")" = "$want" ] || complain "run $runs: has other bytes than an undisturbed run"
  for pid in "${seen[@]}"; do
    if kill -0 "$pid" 2>/dev/null && grep -q stflow "/proc/$pid/cmdline" 2>/dev/null; then complain "run $runs: process $pid is left"; fi
  done
  rm -rf "$run"
done
echo "kill_launched: $hits kills and stops in $runs runs, $failed failures"
[ $failed -eq 0 ]
