#!/bin/bash
# usage: tools/long/kill_ranks.sh [TRIALS [RANKS]]
# Kills a random one of RANKS (4) processes of a small training run at a random moment, TRIALS (100) times: every other rank has to end
# with 76 within 10 s and name it, and the run continued to its end, by another number of ranks each time, has to give the bytes of an
# undisturbed one. Takes a few seconds a trial. Prints each failure and a last line; exits with 1 if there was one.
trials="${1:-100}" ranks="${2:-4}" kills=0 slowest=0 epochs=100 flags=(--threads 1 --save-every 3)
# shellcheck source=tools/long/small_run.sh
source "$(dirname "$0")/small_run.sh"

exec 2>/dev/null  # where bash tells of killed jobs
now() { date +%s%N; }
# start SIZE FLAGS...: one job; its processes are in pids.
start() {
  local size="$1" r port
  shift
  port=$((20000 + RANDOM % 12000))
  pids=()
  for ((r = 0; r < size; r++)); do
    RANK=$r LOCAL_RANK=$r WORLD_SIZE=$size LOCAL_WORLD_SIZE=$size GROUP_RANK=0 MASTER_ADDR=127.0.0.1 MASTER_PORT=$port \
      "$stflow" train "${flags[@]}" "$@" >"$work/out.$r" 2>"$work/err.$r" &
    pids+=($!)
  done
}
fresh=1
for ((trial = 1; trial <= trials; trial++)); do
  size=$((2 + RANDOM % (ranks - 1))) victim=$((RANDOM % ranks))
  [ "$victim" -lt "$size" ] || victim=$((victim % size))
  rm -f "$work"/err* "$work"/out.*
  if [ $fresh = 1 ]; then rm -rf "$work/run"; start "$size" --save-dir "$work/run"; else start "$size" --save-dir "$work/run" --resume; fi
  sleep "$((RANDOM % 5)).$((RANDOM % 1000))"
  if kill -9 "${pids[$victim]}" 2>/dev/null; then kills=$((kills + 1)); fi
  at="$(now)" codes=()
  for ((r = 0; r < size; r++)); do wait "${pids[$r]}" 2>/dev/null; codes+=($?); done
  took=$((($(now) - at) / 1000000))
  if [ "${codes[$victim]}" -eq 137 ]; then
    [ "$took" -gt "$slowest" ] && slowest=$took
    [ "$took" -le 10000 ] || complain "trial $trial: the others took $took ms to end, expected 10000 at most"
    for ((r = 0; r < size; r++)); do
      [ "$r" -eq "$victim" ] && continue
      # A rank that had finished ends with 0; one that never met the killed one names it by its number.
      if [ "${codes[$r]}" -ne 0 ] && { [ "${codes[$r]}" -ne 76 ] || ! grep -q "rank $victim" "$work/err.$r"; }; then
        [ "$victim" -eq 0 ] && grep -q "MASTER\|127.0.0.1" "$work/err.$r" && continue
        complain "trial $trial: rank $r of $size ended with ${codes[$r]}, expected 76 and rank $victim by name"
      fi
    done
  fi
  fresh=1
  if [ -e "$work/run/model.safetensors" ]; then
    [ "$(bytes "$work/run")" = "$want" ] || complain "trial $trial: the finished run has other bytes than an undisturbed one"
  elif [ -d "$work/run/checkpoints" ]; then
    fresh=0
  fi
done
if [ $fresh = 0 ]; then
  start 2 --save-dir "$work/run" --resume
  for p in "${pids[@]}"; do wait "$p" || complain "the last resume failed"; done
  [ "$(bytes "$work/run")" = "$want" ] || complain "trial $trial: the finished run has other bytes than an undisturbed one"
fi
echo "kill_ranks: $trials trials, $kills kills, the others ended within $slowest ms, $failed failures"
[ $failed -eq 0 ]
