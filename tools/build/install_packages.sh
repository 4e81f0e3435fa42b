#!/bin/bash
# usage: tools/build/install_packages.sh GROUP...
# Installs the packages of packages.txt in these groups that are missing, where that is allowed: root or passwordless
# sudo, and apt. Otherwise prints the one line to run and exits with 1. STFLOW_INSTALL=no: never installs.
set -euo pipefail
list="$(dirname "$0")/packages.txt"
wanted=()
for group in "$@"; do
  while read -r g package; do
    [ "$g" = "$group" ] && wanted+=("$package")
  done < "$list"
done

if ! command -v dpkg-query >/dev/null; then
  echo "stflow: warning: no dpkg here, so packages are not checked; needed (Debian names): ${wanted[*]}" >&2
  exit 0
fi
installed="$(dpkg-query -W -f '${db:Status-Status} ${Package}, ${Provides}\n' 2>/dev/null | grep '^installed')" || true
missing=()
for package in "${wanted[@]}"; do
  # A virtual package (pkg-config, libjpeg-dev on some releases) counts when a provider is installed.
  grep -Eq "^installed (.*[ ,])?${package//+/\\+}( \([^)]*\))?(,|\$)" <<< "$installed" || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then as_root=(sudo -n); fi
if [ "${STFLOW_INSTALL:-yes}" != no ] && command -v apt-get >/dev/null && { [ "$(id -u)" -eq 0 ] || sudo -n true 2>/dev/null; }; then
  echo "stflow: installing ${missing[*]}" >&2
  log="$(mktemp)"
  trap 'rm -f "$log"' EXIT
  install() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}" >"$log" 2>&1; }
  # The package index of a bare machine is empty or old: refresh it only when the first try fails.
  if install || { "${as_root[@]}" apt-get update >>"$log" 2>&1 && install; }; then exit 0; fi
  tail -n 20 "$log" >&2
fi
echo "stflow: missing system packages; run: sudo apt-get update && sudo apt-get install -y --no-install-recommends ${missing[*]}" >&2
exit 1
