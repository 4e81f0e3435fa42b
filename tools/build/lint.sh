#!/bin/bash
# usage: tools/build/lint.sh [--fix] [format|rules|cppcheck|tidy]...
# The linters, all of them or those named; --fix rewrites the sources in the project's format and does nothing else.
set -uo pipefail
cd "$(dirname "$0")/../.."
tools/build/install_packages.sh build ci || exit 1
jobs="$(nproc)"
all_sources() { find engine ops model data tools tests \( -name '*.cpp' -o -name '*.h' -o -name '*.cu' \) | sort; }
if [ "${1:-}" = --fix ]; then
  all_sources | xargs clang-format -i
  exit
fi

format() { all_sources | xargs clang-format --dry-run --Werror; }

rules() { tools/build/house_rules.sh; }

# passedByValue: a Tensor, a Shape and the like are small handles, passed by value on purpose.
# nullPointerRedundantCheck, derefInvalidIteratorRedundantCheck: cppcheck does not see that fail() never returns.
cppcheck_all() {
  cppcheck --enable=warning,performance,portability --inline-suppr --std=c++20 --language=c++ -I. --quiet -j"$jobs" --error-exitcode=1 \
    --suppress=missingIncludeSystem --suppress=passedByValue --suppress=nullPointerRedundantCheck \
    --suppress=derefInvalidIteratorRedundantCheck \
    -DSTFLOW_ISA=Plain engine ops model data tools
}

# The kernels are looked at once, as their plain back end. max-nodes: the analyzer walks 40000 states of a function instead of 225000,
# which halves the time.
tidy() {
  local includes
  includes="$(pkg-config --cflags-only-I hdf5 libopenjp2 | sed 's/-I/-isystem /g')"
  # shellcheck disable=SC2086
  find engine ops model data tools -name '*.cpp' | sort \
    | xargs -P "$jobs" -n 1 sh -c 'clang-tidy --quiet "$0" -- -std=c++20 -I. '"$includes"' -DSTFLOW_ISA=Plain "-DSTFLOW_FLAGS=\"\"" -Wreserved-identifier \
      -Xclang -analyzer-config -Xclang max-nodes=40000 2>/dev/null'
}

failed=0
for linter in "${@:-format rules cppcheck tidy}"; do
  for one in $linter; do
    case "$one" in
      cppcheck) cppcheck_all ;;
      format | rules | tidy) "$one" ;;
      *) echo "lint.sh: found '$one', expected --fix, format, rules, cppcheck or tidy" >&2; exit 64 ;;
    esac || { echo "lint: $one: failed" >&2; failed=1; }
  done
done
exit $failed
