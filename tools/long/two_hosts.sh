#!/bin/bash
# usage: tools/long/two_hosts.sh [TRIALS]          as root
# Two network namespaces stand for two hosts, a rank in each, joined by a pair of virtual interfaces. Trains to the bytes of one rank; then,
# TRIALS (3) times, takes the link down in the middle of a run: both ranks have to end with 76 within 30 s and name the other. The same
# when all packets are dropped without a word, as a firewall or a dead switch does, where iptables or nft is there.
set -uo pipefail
cd "$(dirname "$0")/../.."
trials="${1:-3}"
stflow="$PWD/stflow" work="$(mktemp -d)" failed=0 slowest=0
a="stflow-a-$$" b="stflow-b-$$"
cleanup() { ip netns del "$a" 2>/dev/null; ip netns del "$b" 2>/dev/null; rm -rf "$work"; }
trap cleanup EXIT
ip netns add "$a" && ip netns add "$b" || { echo "two_hosts: no network namespaces here, expected to run as root" >&2; exit 69; }
ip link add va netns "$a" type veth peer name vb netns "$b"
link_up() {
  ip -n "$a" link set lo up; ip -n "$b" link set lo up
  ip -n "$a" link set va up; ip -n "$b" link set vb up
}
ip -n "$a" addr add 10.77.0.1/24 dev va; ip -n "$b" addr add 10.77.0.2/24 dev vb
link_up
flags=(--genes 20 --members 1 --batch-size 4 --samples 2 --quiet --no-maps --threads 1 --save-every 5 --cache-dir "${CACHE:-$work/cache}")

start() {
  for r in 0 1; do
    ns="$a"; [ $r = 1 ] && ns="$b"
    RANK=$r LOCAL_RANK=0 WORLD_SIZE=2 LOCAL_WORLD_SIZE=1 GROUP_RANK=$r MASTER_ADDR=10.77.0.1 MASTER_PORT=29511 \
      ip netns exec "$ns" "$stflow" train "${flags[@]}" "$@" >"$work/out.$r" 2>"$work/err.$r" &
    pids[r]=$!
  done
}
complain() { echo "$1"; sed 's/^/  | /' "$work"/err.*; failed=$((failed + 1)); }

"$stflow" train "${flags[@]}" --epochs 4 --save-dir "$work/whole" >/dev/null 2>"$work/err.0" || complain "one rank failed"
start --epochs 4 --save-dir "$work/both"
for p in "${pids[@]}"; do wait "$p" || complain "two hosts failed"; done
cmp "$work/whole/model.safetensors" "$work/both/model.safetensors" || complain "two hosts gave other bytes than one rank"

for ((trial = 1; trial <= trials; trial++)); do
  rm -rf "$work/run"
  start --epochs 100000 --save-dir "$work/run"
  while ! ls "$work"/run/checkpoints/*.safetensors >/dev/null 2>&1; do
    kill -0 "${pids[0]}" 2>/dev/null || { complain "trial $trial: no run"; break; }
    sleep 0.1
  done
  sleep "0.$((RANDOM % 1000))"
  end=va ns="$a"
  [ $((trial % 2)) = 0 ] && end=vb ns="$b"
  ip -n "$ns" link set "$end" down
  at=$SECONDS
  for r in 0 1; do
    code=0
    wait "${pids[$r]}" || code=$?
    took=$((SECONDS - at))
    [ $took -gt $slowest ] && slowest=$took
    [ $code -eq 76 ] || complain "trial $trial: rank $r ended with $code, expected 76"
    [ $took -le 30 ] || complain "trial $trial: rank $r took $took s to end, expected 30 at most"
    grep -q "rank $((1 - r)) (host .*) is lost\|rank $((1 - r)) (host .*) died\|rank $((1 - r)) (host .*) does not answer" "$work/err.$r" \
      || complain "trial $trial: rank $r does not name rank $((1 - r))"
  done
  sed 's/^/  /' "$work"/err.*
  link_up
done
echo "two_hosts: $trials trials, ranks ended within $slowest s, $failed failures"
[ $failed -eq 0 ]
