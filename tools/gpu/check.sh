#!/bin/bash
# usage: tools/gpu/check.sh [--emulate] [--minutes N] OUT.json
# Proves and measures the CUDA back end on a machine with a GPU, from a bundle (tools/gpu/bundle.sh) or a checkout with nvcc; no network.
# The golden file, whole-model and operators' tests on the device, `stflow bench` (ViT-L/16 in bf16 and TF32 too, a million spots), then
# compute-sanitizer's memcheck and racecheck over the operators' tests where it is installed. OUT.json holds all of it and is written anew
# after each step. --minutes: what does not fit is ended or left out, and counts as not passed. Exit code 0: everything passed.
# --emulate: the same steps with the emulated kernels of a build without CUDA, at toy sizes, to try this script itself.
set -uo pipefail
cd "$(dirname "$0")/../.."
usage() { sed -n 's/^# //p' "$0" | head -n 7; exit 64; }
device=(--device cuda) build=build/cuda sizes=(--spots 200,3000,10000 --images 1,8,32 --seconds 1) million=1000000 minutes=300
while [ $# -gt 1 ]; do
  case "$1" in
    --emulate) device+=(--emulate) build=build/release sizes=(--spots 20 --seconds 0) million=2000 ;;
    --minutes) minutes="$2"; shift ;;
    *) usage ;;
  esac
  shift
done
[ $# -eq 1 ] && [ -n "$1" ] && [[ "$minutes" =~ ^[1-9][0-9]*$ ]] || usage
out="$1" work="$(mktemp -d)" failed=0 members="" results=""
end=$((SECONDS + 60 * minutes))
trap 'rm -rf "$work"' EXIT
here="$PWD"
export LD_LIBRARY_PATH="$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
if [ ! -d lib ]; then # a checkout, not a bundle
  make CUDA="$([ "$build" = build/cuda ] && echo 1 || echo 0)" stflow "$build/tests/all" || exit 70
fi
stflow="$here/stflow" tests="$build/tests/all"

write() {
  printf '{"commit": "%s",\n"passed": %s,\n"steps": {\n%s},\n"results": {\n%s}}\n' "$(git rev-parse HEAD 2>/dev/null || echo bundle)" \
    "$([ $failed -eq 0 ] && echo true || echo false)" "${members%$',\n'}" "${results%$',\n'}" >"$out.partial" && mv "$out.partial" "$out"
}

# run NAME COMMAND...: one JSON member {"passed", "exit_code", "seconds", "summary"} of the command, and what it prints where that is JSON.
run() {
  local name="$1" start=$SECONDS rc=0 left=$((end - SECONDS)) summary
  shift
  if [ $left -ge 5 ]; then
    timeout --kill-after=30 $left "$@" >"$work/out" 2>"$work/err" </dev/null || rc=$?
  else
    rc=124
    : >"$work/out" >"$work/err"
  fi
  [ $rc -eq 0 ] || failed=1
  summary="$(cat "$work/out" "$work/err" | grep -aE '^\[doctest\] (test cases|assertions)|ERROR SUMMARY|RACECHECK SUMMARY|stflow: error' | head -n 4 \
    | tr '\n' ';' | sed 's/[\\"]/ /g; s/[^ -~]/ /g')"
  [ $rc -ne 124 ] || summary="no time left; $summary"
  members+="$(printf '"%s": {"passed": %s, "exit_code": %d, "seconds": %d, "summary": "%s"}' "$name" "$([ $rc -eq 0 ] && echo true || echo false)" \
    $rc $((SECONDS - start)) "$summary")"$',\n'
  if [ "$(head -c 1 "$work/out")" = '{' ]; then results+="\"$name\": $(cat "$work/out")"$',\n'; fi
  printf '%-28s %s (exit %d, %d s) %s\n' "$name" "$([ $rc -eq 0 ] && echo ok || echo FAILED)" $rc $((SECONDS - start)) "$summary"
  if [ $rc -ne 0 ]; then cat "$work/out" "$work/err" | tail -n 40 | sed 's/^/  | /'; fi
  write
}
bench() { run "$1" "$stflow" bench "$2" --json "${sizes[@]}" "${device[@]}" "${@:3}"; }

run doctor "$stflow" doctor --json "${device[@]}"
if [ $failed -eq 0 ]; then
  run golden "$stflow" verify --json --golden tests/fixtures/denoiser_small.safetensors "${device[@]}"
  run model "$tests" '-tc=device:*'
  for what in step sample; do bench bench_$what $what; done
  # ViT-L/16 in bf16 over what the card gives in large products of bf16; attention by cuDNN where doctor says so, then by the own kernel.
  if [ "$build" = build/cuda ]; then
    large=(--sizes L/16 --images 32,128)
    bench bench_vit_bf16 vit "${large[@]}" --precision bf16
    run bench_vit_bf16_own_attention env STFLOW_CUDNN=off "$stflow" bench vit --json "${large[@]}" --seconds 1 --precision bf16 "${device[@]}"
    bench bench_vit_tf32 vit "${large[@]}" --precision tf32
    bench bench_vit vit
  fi
  bench bench_ops ops
  run operators "$tests" '-sf=*tests/ops/*'
  bench bench_slide slide --spots $million --seconds 0 --max-mem 8G
  if [ "$build" = build/cuda ] && command -v compute-sanitizer >/dev/null; then
    for tool in memcheck racecheck; do
      run $tool compute-sanitizer --tool $tool --error-exitcode 9 "$tests" '-sf=*tests/ops/*'
    done
  fi
fi
write
echo "$out: $([ $failed -eq 0 ] && echo all passed || echo something FAILED)"
exit $failed
