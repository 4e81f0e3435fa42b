#!/bin/bash
# usage: tools/build/configure.sh FILE
# Makes sure that the packages are there, then writes what the Makefile has to know about this machine. Run by make when
# FILE does not exist or the package list changed.
set -euo pipefail
here="$(dirname "$0")"
"$here/install_packages.sh" build
mkdir -p "$(dirname "$1")"
if pkg-config --exists hdf5 2>/dev/null; then
  includes="$(pkg-config --cflags-only-I hdf5)" libs="$(pkg-config --libs hdf5)"
else
  includes="" libs="-lhdf5"
fi
# nvcc on the PATH or where NVIDIA's packages put it; a GPU here too means that the CUDA build is the one to make.
nvcc="$(command -v nvcc || ls /usr/local/cuda/bin/nvcc 2>/dev/null || true)"
cuda=0
if [ -n "$nvcc" ] && [ -e /dev/nvidia0 ]; then cuda=1; fi
cat > "$1.tmp" <<END
HDF5_INCLUDES := ${includes//-I/-isystem }
HDF5_LIBS := $libs
OPENJPEG_INCLUDES := $(pkg-config --cflags-only-I libopenjp2 2>/dev/null | sed 's/-I */-isystem /g')
OPENJPEG_LIBS := $(pkg-config --libs libopenjp2 2>/dev/null || echo -lopenjp2)
NVCC := $nvcc
CUDA ?= $cuda
END
mv "$1.tmp" "$1"
