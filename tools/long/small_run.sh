# shellcheck shell=bash
# Sourced by the scripts beside it, after they have set `flags` beyond these: a small training run, an undisturbed one of which is in
# $work/whole, and what its bytes are. $failed counts complaints. CACHE: a folder of features to use; EPOCHS: how long the run is.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
stflow="$PWD/stflow" work="$(mktemp -d)" failed=0
trap 'rm -rf "$work"' EXIT
flags=(--genes 20 --epochs "${EPOCHS:-$epochs}" --members 1 --batch-size 5 --samples 2 --quiet --no-maps
       --cache-dir "${CACHE:-$work/cache}" "${flags[@]}")

# complain WORDS: what is wrong, with what the processes said.
complain() { echo "$1"; sed 's/^/  | /' "$work"/err*; failed=$((failed + 1)); }
# bytes FOLDER: of the results of a finished run.
bytes() { cat "$1/model.safetensors" "$1/metrics.jsonl" "$1"/predictions/*.csv | sha256sum; }

"$stflow" train "${flags[@]}" --save-dir "$work/whole" 2>"$work/err" >/dev/null || { complain "the undisturbed run failed"; exit 1; }
# shellcheck disable=SC2034  # of whoever sources this
want="$(bytes "$work/whole")"
