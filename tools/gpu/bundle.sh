#!/bin/bash
# usage: tools/gpu/bundle.sh OUT.tar.gz
# After `make CUDA=1`: packs the program, its tests and what they read, with the libraries that a machine with CUDA may lack, so that
# tools/gpu/check.sh runs there without a compiler or a network. Left out: CUDA's own libraries and those of the C and C++ compilers.
set -euo pipefail
cd "$(dirname "$0")/../.."
out="$(realpath -m "$1")"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
to="$work/stflow-cuda"
mkdir -p "$to/lib" "$to/build/cuda/tests" "$to/tests" "$to/tools/gpu"
strip -o "$to/stflow" build/cuda/stflow
ln -s ../../stflow "$to/build/cuda/stflow"
strip -o "$to/build/cuda/tests/all" build/cuda/tests/all
cp -r tests/fixtures "$to/tests/"
cp -r weights LICENSE "$to/"
cp tools/gpu/check.sh "$to/tools/gpu/"
ldd build/cuda/tests/all | awk '$3 ~ /^\// { print $3 }' | while read -r library; do
  case "$(basename "$library")" in
    libcublas* | libcudart* | libcudnn* | libnccl* | libc.so* | libm.so* | libdl.so* | librt.so* | libpthread.so* | libresolv.so* | libstdc++.so* | libgcc_s.so*) ;;
    *) cp -L "$library" "$to/lib/" ;;
  esac
done
mkdir -p "$(dirname "$out")"
tar -C "$work" -czf "$out.partial" stflow-cuda
mv "$out.partial" "$out"
bytes="$(stat -c %s "$out")"
echo "$out: $((bytes / 1000000)) MB"
