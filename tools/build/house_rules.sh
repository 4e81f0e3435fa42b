#!/bin/bash
# usage: tools/build/house_rules.sh
# The rules of CONTRIBUTING.md that a search can check. Prints each breach as file:line and exits with 1 if there is one.
set -uo pipefail
cd "$(dirname "$0")/../.."
failed=0
complain() { echo "$1"; sed 's/^/  /'; failed=1; }
sources() { find engine ops model data tools tests \( -name '*.cpp' -o -name '*.h' -o -name '*.cu' \) | sort; }
product() { sources | grep -v '^tests/'; }

# forbid WHY PATTERN FILES...: no line of these files matches (comments are not looked at).
forbid() {
  local why="$1" pattern="$2" hits
  shift 2
  [ $# -gt 0 ] || return 0
  hits="$(grep -nHP "$pattern" "$@" | grep -vP '^[^:]+:[0-9]+:\s*//' || true)"
  [ -z "$hits" ] || complain "$why" <<< "$hits"
}

too_long="$(sources | xargs wc -l | awk '$2 != "total" && $1 > ($2 ~ /^ops\// ? 300 : 450) {print $2 ": " $1 " lines"}')"
[ -z "$too_long" ] || complain "a file is one idea: at most 450 lines, an op's 300" <<< "$too_long"

unfinished="$(grep -nHiE '\b(TO''DO|FIX''ME|XXX|HA''CK|place''holder implementation)\b' $(sources) Makefile CMakeLists.txt ./*.md .ci/run || true)"
[ -z "$unfinished" ] || complain "unfinished work does not land" <<< "$unfinished"

forbid "errors go through fail() or check(), numbers through from_chars" \
  '(?<![\w.>])(assert|abort|exit|atof|atoi|atol|sscanf|strtok|strcpy|sprintf)\s*\(|\bsto(i|l|ll|ul|ull|f|d)\s*\(' $(product)
forbid "random numbers come from Philox: the library's differ between libraries" \
  '(?<!\w)s?rand\s*\(|std::\w+_distribution\b|mt19937|random_device|std::shuffle|random_shuffle' $(product)
forbid "the order of an unordered container is not defined: not in numeric code" 'unordered_(map|set)' $(product | grep -E '^(engine|ops|model)/')
forbid "float atomics add in any order" 'atomicAdd' $(product | grep '^ops/cuda/')
forbid "no #if for CUDA above the kernels: a back end is a tag" '#\s*if.*(CUDA|STFLOW_ISA)' $(product | grep -vE '^(ops/c|engine/cuda/|engine/random\.h)')

# Arrows point one way: tools -> model -> ops -> engine, data beside model.
forbid "engine/ stands alone" '#include "(ops|model|data|tools|tests)/' $(product | grep '^engine/')
forbid "ops/ uses engine/ only" '#include "(model|data|tools|tests)/' $(product | grep '^ops/')
forbid "data/ uses engine/ only" '#include "(ops|model|tools|tests)/' $(product | grep '^data/')
forbid "model/ uses ops/ and engine/ only" '#include "(tools|tests|data)/' $(product | grep '^model/')
forbid "tools/ do not use the tests" '#include "tests/' $(product | grep '^tools/')
exit $failed
