#!/bin/bash
# usage: tools/build/check_aarch64.sh [doctest flags]
# The operators and the emulator of CUDA on aarch64, from an x86-64 Debian or Ubuntu: their tests (build/aarch64/tests/kernels) are cross-built
# and run by qemu-user, in every order of emulated threads. As root, for the packages; libraries for aarch64 are unpacked below build/.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=build/aarch64 root="$PWD/build/aarch64/root"
if ! command -v aarch64-linux-gnu-g++ >/dev/null || ! command -v qemu-aarch64 >/dev/null || ! [ -d "$root/usr" ]; then
  dpkg --add-architecture arm64
  apt-get update -q
  apt-get install -y -q g++-aarch64-linux-gnu qemu-user
  mkdir -p "$root"
  (cd "$root" && apt-get download libgloo0:arm64 "$(apt-cache pkgnames libfmt | grep -E '^libfmt[0-9.]+$' | sort -V | tail -n 1):arm64")
  for package in "$root"/*.deb; do dpkg -x "$package" "$root"; done
fi
mapfile -t libraries < <(find "$root" -name 'lib*.so.[0-9]' -o -name 'lib*.so.[0-9][0-9]')
path="$(printf '%s\n' "${libraries[@]}" | xargs -n 1 dirname | sort -u | paste -sd :):/usr/aarch64-linux-gnu/lib"
make BUILD=$build ISAS=plain CXX=aarch64-linux-gnu-g++ LIBS="${libraries[*]}" $build/tests/kernels
cat >$build/tests/run <<END
#!/bin/sh
exec qemu-aarch64 -L /usr/aarch64-linux-gnu -E LD_LIBRARY_PATH='$path' $build/tests/kernels "\$@"
END
chmod +x $build/tests/run
tools/build/run_tests.sh $build/tests/run "$@"
