#!/bin/bash
# usage: tools/gpu/check.sh [--emulate] OUT.json
# Proves and measures the CUDA back end on a machine with a GPU, from a bundle (tools/gpu/bundle.sh) or a checkout with nvcc; no network.
# Operators' tests and whole-model tests on the device, the golden file, compute-sanitizer's memcheck and racecheck over the operators' tests
# where it is installed, then `stflow bench`, ViT-L/16 in bf16 and TF32 too. OUT.json holds all of it. Exit code 0: everything passed.
# --emulate: the same steps with the emulated kernels of a build without CUDA, at toy sizes, to try this script itself.
set -uo pipefail
cd "$(dirname "$0")/../.."
device=(--device cuda) build=build/cuda sizes=(--spots 200,3000,10000 --images 1,8,32 --seconds 2) benches=(step sample ops vit)
if [ "${1:-}" = --emulate ]; then
  device+=(--emulate) build=build/release sizes=(--spots 20 --seconds 0) benches=(step sample ops) # an image takes minutes
  shift
fi
[ $# -eq 1 ] || { sed -n 's/^# //p' "$0" | head -n 6; exit 64; }
out="$1" work="$(mktemp -d)" failed=0
trap 'rm -rf "$work"' EXIT
here="$PWD"
export LD_LIBRARY_PATH="$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
if [ ! -d lib ]; then # a checkout, not a bundle
  make CUDA="$([ "$build" = build/cuda ] && echo 1 || echo 0)" stflow "$build/tests/all" || exit 70
fi
stflow="$here/stflow"

# run NAME COMMAND...: its output into $work/NAME, and one JSON member {"passed", "seconds", "summary"} of it.
members=""
run() {
  local name="$1" start=$SECONDS rc=0
  shift
  timeout --kill-after=30 1800 "$@" >"$work/$name" 2>"$work/$name.err" </dev/null || rc=$?
  [ $rc -eq 0 ] || failed=1
  local summary
  summary="$(cat "$work/$name" "$work/$name.err" | grep -aE '^\[doctest\] (test cases|assertions)|ERROR SUMMARY|RACECHECK SUMMARY|stflow: error' | head -n 4 \
    | tr '\n' ';' | sed 's/[\\"]/ /g; s/[^ -~]/ /g')"
  members+="$(printf '"%s": {"passed": %s, "exit_code": %d, "seconds": %d, "summary": "%s"},\n' "$name" "$([ $rc -eq 0 ] && echo true || echo false)" \
    $rc $((SECONDS - start)) "$summary")"
  printf '%-12s %s (exit %d, %d s) %s\n' "$name" "$([ $rc -eq 0 ] && echo ok || echo FAILED)" $rc $((SECONDS - start)) "$summary"
}
object() { if [ -s "$work/$1" ] && [ "$(head -c 1 "$work/$1")" = '{' ]; then cat "$work/$1"; else echo null; fi; }

run doctor "$stflow" doctor --json "${device[@]}"
if [ $failed -eq 0 ]; then
  run operators "$build/tests/all" '-sf=*tests/ops/*'
  run model "$build/tests/all" '-tc=device:*'
  run golden "$stflow" verify --json --golden tests/fixtures/denoiser_small.safetensors "${device[@]}"
  if command -v compute-sanitizer >/dev/null && [ "$build" = build/cuda ]; then
    for tool in memcheck racecheck; do
      run $tool compute-sanitizer --tool $tool --error-exitcode 9 "$build/tests/all" '-sf=*tests/ops/*'
    done
  fi
  for what in "${benches[@]}"; do
    run "bench_$what" "$stflow" bench "$what" --json "${sizes[@]}" "${device[@]}"
  done
  # ViT-L/16 in bf16 over what the card gives in large products of bf16; attention by cuDNN where doctor says so, then by the own kernel.
  if [ "$build" = build/cuda ]; then
    large=("$stflow" bench vit --json --sizes L/16 --images 32,128 --seconds 2 "${device[@]}")
    run bench_vit_bf16 "${large[@]}" --precision bf16
    run bench_vit_bf16_own_attention env STFLOW_CUDNN=off "${large[@]}" --precision bf16
    run bench_vit_tf32 "${large[@]}" --precision tf32
  fi
fi
{
  printf '{"commit": "%s",\n"steps": {\n%s\n"passed": %s},\n' "$(git rev-parse HEAD 2>/dev/null || echo bundle)" "$members" \
    "$([ $failed -eq 0 ] && echo true || echo false)"
  for name in doctor golden bench_step bench_sample bench_ops bench_vit_bf16 bench_vit_bf16_own_attention bench_vit_tf32; do printf '"%s": %s,\n' "$name" "$(object $name)"; done
  printf '"bench_vit": %s}\n' "$(object bench_vit)"
} >"$out.partial" && mv "$out.partial" "$out"
echo "$out: $([ $failed -eq 0 ] && echo all passed || echo something FAILED)"
exit $failed
