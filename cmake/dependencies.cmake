# What libstflow needs, for its own build and for the projects that find_package(stflow). The packages' names are in
# tools/build/packages.txt.
include(CMakeFindDependencyMacro)
find_dependency(Threads)
find_dependency(fmt)
find_dependency(Gloo CONFIG)
find_dependency(JPEG)
find_dependency(PNG)
find_dependency(TIFF)
find_dependency(ZLIB)
find_dependency(PkgConfig)
pkg_check_modules(STFLOW_HDF5 REQUIRED IMPORTED_TARGET hdf5)
pkg_check_modules(STFLOW_OPENJPEG REQUIRED IMPORTED_TARGET libopenjp2)
set(STFLOW_DEPENDENCIES Threads::Threads fmt::fmt gloo JPEG::JPEG PNG::PNG TIFF::TIFF ZLIB::ZLIB PkgConfig::STFLOW_HDF5 PkgConfig::STFLOW_OPENJPEG)
