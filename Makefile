# make            build ./stflow (installs missing system packages when it may, else prints the line to run)
# make test       build and run every test, those of the kernels under ASan and UBSan too (TESTS="..." are arguments of the test program)
# make asan|tsan  all tests under ASan and UBSan, those of threads under TSan; make memory: those of the kernels alone
# make bench      ./stflow bench          make fuzz     each fuzz target for FUZZ_SECONDS (needs clang)
# make format     rewrite the sources     make lint     formatter, clang-tidy, cppcheck and house rules, changing nothing
# make CUDA=1     with the CUDA back end for GPUs (by itself where there are nvcc and a GPU; CUDA=0: without)
# make ptxas      registers, shared memory and spills of each kernel       make bundle   build/stflow-cuda.tar.gz for a machine with a GPU
# make install    into PREFIX             make clean
SHELL := /bin/bash
.DEFAULT_GOAL := all
MODE ?= release
PREFIX ?= /usr/local
FUZZ_SECONDS ?= 60

# All cores; a -j on the command line has the last word.
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(shell nproc)
endif

# What this machine has; making it installs the packages. Not needed to clean or to format.
ifneq ($(filter-out clean format,$(or $(MAKECMDGOALS),all)),)
include build/config.mk
endif
build/config.mk: tools/build/packages.txt tools/build/configure.sh tools/build/install_packages.sh
	@tools/build/configure.sh $@

# With CUDA kernels are compiled by nvcc; without, as C++ for the emulator (engine/cuda/emulate.h), by which CI runs them.
ifeq ($(CUDA)$(MODE),1release)
BUILD := build/cuda
cuda_home := $(patsubst %/bin/nvcc,%,$(NVCC))
cuda_libs := -L$(cuda_home)/lib64 -Wl,-rpath,$(cuda_home)/lib64 -lcublasLt -lcudart
else
BUILD := build/$(MODE)
endif

# Each line `name := words` from here to the kernel rule is read by CMakeLists.txt too: one line, no variables in it.
library_folders := engine engine/cuda engine/distributed ops model data data/weights data/prediction data/spatial data/slide data/tissue
tool_folders := tools tools/encoder tools/launch tools/predict tools/bench tools/inspect
test_folders := tests tests/engine tests/engine/distributed tests/ops tests/model tests/data tests/data/weights tests/fuzz tests/tools tests/data/prediction tests/data/spatial tests/data/slide tests/data/tissue
# -fno-tree-slp-vectorize: g++ 12 drops a double->float->double round trip otherwise (tests/engine/compiler_test.cpp).
# -ffp-contract=off: a multiply-add is fused where the source says so and nowhere else.
numerics := -fno-tree-slp-vectorize -ffp-contract=off
warnings := -Wall -Wextra -Wshadow -Wno-psabi
hardening := -fPIE -fstack-protector-strong
release := -O2 -D_FORTIFY_SOURCE=2 -fstack-clash-protection
asan := -O1 -fsanitize=address,undefined,float-cast-overflow,float-divide-by-zero -fno-sanitize-recover=all -D_GLIBCXX_ASSERTIONS -fno-omit-frame-pointer
tsan := -O1 -fsanitize=thread
plain := -DSTFLOW_ISA=Plain
avx2 := -DSTFLOW_ISA=Avx2 -mavx2 -mfma -mf16c
# -Wno-...uninitialized: g++ 12 warns about the undefined registers in its own avx512fintrin.h.
avx512 := -Wno-maybe-uninitialized -Wno-uninitialized -DSTFLOW_ISA=Avx512 -mavx2 -mfma -mavx512f -mavx512bw -mavx512dq -mavx512vl -mprefer-vector-width=512
# One program for all architectures, and PTX for those to come. FMT_...: nvcc cannot evaluate fmt 9's consteval format strings; the host
# compiler checks them in every other file. --fmad=false: a multiply-add is fused where the source says so.
nvcc_flags := -std=c++20 -O3 -I. -Werror all-warnings -DFMT_USE_CONSTEXPR=1 -DFMT_CONSTEVAL= --fmad=false -Xcompiler -fPIE,-fno-tree-slp-vectorize,-ffp-contract=off
cuda_architectures := -gencode arch=compute_80,code=sm_80 -gencode arch=compute_90,code=sm_90 -gencode arch=compute_100,code=sm_100 -gencode arch=compute_100,code=compute_100
FLAGS = -std=c++20 -g1 -I. $(HDF5_INCLUDES) -MMD -MP $(numerics) $(warnings) $(hardening) $($(MODE)) $(WERROR) $(CXXFLAGS)
LINK_FLAGS = $($(MODE)) -pie -Wl,-z,relro,-z,now,--as-needed -pthread $(LDFLAGS)
LIBS = $(cuda_libs) -lfmt -lgloo $(HDF5_LIBS) -ltiff $(OPENJPEG_LIBS) -ljpeg -lpng -lz $(LDLIBS)

# One back end per CPU instruction set: ops/cpu/X.cpp is compiled for each.
ISAS := plain $(if $(filter memory,$(MODE)),,$(if $(filter x86_64,$(shell uname -m)),avx2 avx512))
# Where only CUDA kernels are tested (make memory), the baseline is enough.
memory = $(asan) -DSTFLOW_ONLY_PLAIN

LIB_SOURCES := $(wildcard $(library_folders:%=%/*.cpp) ops/cuda/*.cpp)
CUDA_SOURCES := $(wildcard engine/cuda/*.cu ops/cuda/*.cu)
CPU_SOURCES := $(wildcard ops/cpu/*.cpp)
TOOL_SOURCES := $(wildcard $(tool_folders:%=%/*.cpp))
TEST_SOURCES := $(wildcard $(test_folders:%=%/*.cpp) $(if $(cuda_home),,tests/engine/cuda/*.cpp))
LIB_OBJECTS := $(LIB_SOURCES:%.cpp=$(BUILD)/%.o) $(foreach i,$(ISAS),$(CPU_SOURCES:%.cpp=$(BUILD)/%.$(i).o)) $(CUDA_SOURCES:%.cu=$(BUILD)/%.cu.o)
TOOL_OBJECTS := $(TOOL_SOURCES:%.cpp=$(BUILD)/%.o)
TEST_OBJECTS := $(TEST_SOURCES:%.cpp=$(BUILD)/%.o) $(if $(cuda_home),,$(patsubst %.cu,$(BUILD)/%.cu.o,$(wildcard tests/engine/cuda/*.cu)))
OBJECTS := $(LIB_OBJECTS) $(TOOL_OBJECTS) $(TEST_OBJECTS)
LIBRARY := $(BUILD)/libstflow.a

.PHONY: all test memory asan tsan bench ptxas bundle fuzz fuzzers format lint install clean FORCE
all: stflow

# ./stflow is always the release build, with CUDA where that is built; a sanitizer's binary stays in its build folder.
stflow: $(if $(cuda_home),$(BUILD),build/release)/stflow
	@cp -f $< $@
ifneq ($(MODE),release)
build/release/stflow: FORCE
	@$(MAKE) MODE=release $@
endif

$(BUILD)/stflow: $(TOOL_OBJECTS) $(LIBRARY)
	@echo "  $@"
	@$(CXX) $(LINK_FLAGS) -o $@ $^ $(LIBS)

# The tests run the command beside them and link its parts as well.
$(BUILD)/tests/all: $(TEST_OBJECTS) $(filter-out $(BUILD)/tools/main.o,$(TOOL_OBJECTS)) $(LIBRARY)
	@echo "  $@"
	@$(CXX) $(LINK_FLAGS) -o $@ $^ $(LIBS)

# A stand-in for NCCL, which the tests put in its place.
$(BUILD)/tests/libnccl_stub.so: tests/nccl/stub.cpp $(BUILD)/flags
	@mkdir -p $(@D)
	@echo "  $<"
	@$(CXX) $(filter-out -MMD -MP,$(FLAGS)) -fPIC -shared -pthread -o $@ $<

$(LIBRARY): $(LIB_OBJECTS)
	@rm -f $@
	@ar rcs $@ $^

$(BUILD)/%.o: %.cpp $(BUILD)/flags
	@mkdir -p $(@D)
	@echo "  $<"
	@$(CXX) $(FLAGS) -c -o $@ $<

ifdef cuda_home
$(BUILD)/%.cu.o: %.cu $(BUILD)/flags
	@mkdir -p $(@D)
	@echo "  $< [nvcc]"
	@$(NVCC) $(nvcc_flags) $(cuda_architectures) -Xptxas -v -MMD -MP -c -o $@ $< > $@.ptxas 2>&1 || { cat $@.ptxas; exit 1; }
else
$(BUILD)/%.cu.o: %.cu $(BUILD)/flags
	@mkdir -p $(@D)
	@echo "  $< [emulated]"
	@$(CXX) $(FLAGS) -x c++ -c -o $@ $<
endif

define kernel_rule
$(BUILD)/ops/cpu/%.$(1).o: ops/cpu/%.cpp $(BUILD)/flags
	@mkdir -p $$(@D)
	@echo "  $$< [$(1)]"
	@$$(CXX) $$(FLAGS) $($(1)) -c -o $$@ $$<
endef
$(foreach i,$(ISAS),$(eval $(call kernel_rule,$(i))))

# Changes when the compiler or its flags do: then everything is built anew.
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(CXX) $(FLAGS) $(if $(cuda_home),$(NVCC) $(nvcc_flags) $(cuda_architectures))' > $@.new
	@cmp -s $@.new $@ || cp $@.new $@

# The files that want this header.
$(BUILD)/data/slide/jpeg2000.o $(BUILD)/tests/data/slide/tiny_tiff.o: private FLAGS += $(OPENJPEG_INCLUDES)

# The tests' own code is half of what a sanitizer's build compiles, and none of what it spends its time in afterwards.
ifneq ($(filter asan memory,$(MODE)),)
$(BUILD)/tests/%.o $(BUILD)/tools/%.o: private FLAGS += -Og
endif

# What --version tells.
$(BUILD)/tools/version.o: private FLAGS += -DSTFLOW_FLAGS='"$(notdir $(lastword $(CXX))) $(strip $($(MODE)))"'

test: $(BUILD)/stflow $(BUILD)/tests/all $(BUILD)/tests/libnccl_stub.so $(if $(filter release,$(MODE)),stflow)
	@$(if $(filter release,$(MODE)),tools/build/check_isa_symbols.sh $(filter %.avx2.o %.avx512.o,$(LIB_OBJECTS)))
	tools/build/run_tests.sh $(BUILD)/tests/all $(TESTS)
	$(if $(TESTS),,tools/build/check_kernels.sh $(BUILD)/tests/kernels.txt)
	$(if $(TESTS)$(filter-out release,$(MODE)),,$(MAKE) memory)

asan:
	$(MAKE) MODE=$@ test

# What CUDA kernels do to memory, in every order of emulated threads: the operators' and the emulator's tests, and no more than they take.
KERNELS := $(wildcard engine/*.cpp engine/cuda/*.cpp engine/distributed/*.cpp ops/*.cpp ops/cuda/*.cpp tests/*.cpp tests/ops/*.cpp tests/engine/cuda/*.cpp)
$(BUILD)/tests/kernels: $(KERNELS:%.cpp=$(BUILD)/%.o) $(foreach i,$(ISAS),$(CPU_SOURCES:%.cpp=$(BUILD)/%.$(i).o)) $(patsubst %.cu,$(BUILD)/%.cu.o,$(CUDA_SOURCES) $(wildcard tests/engine/cuda/*.cu))
	@echo "  $@"
	@$(CXX) $(LINK_FLAGS) -o $@ $^ $(LIBS)
memory:
	$(MAKE) MODE=$@ build/$@/tests/kernels
	tools/build/run_tests.sh build/$@/tests/kernels

# What has threads of its own, and no more of the program than that takes: the pool, the store of ranks and the connections to it.
THREADED := $(wildcard engine/*.cpp engine/cuda/*.cpp engine/distributed/*.cpp) $(addprefix tests/,main.cpp run.cpp ranks.cpp engine/threads_test.cpp engine/distributed/team_test.cpp)
$(BUILD)/tests/threaded: $(THREADED:%.cpp=$(BUILD)/%.o) $(patsubst %.cu,$(BUILD)/%.cu.o,$(wildcard engine/cuda/*.cu))
	@echo "  $@"
	@$(CXX) $(LINK_FLAGS) -o $@ $^ $(LIBS)
tsan:
	$(MAKE) MODE=$@ build/$@/tests/threaded build/$@/tests/libnccl_stub.so
	TSAN_OPTIONS=suppressions=tests/tsan.txt tools/build/run_tests.sh build/$@/tests/threaded $(TESTS)

# libFuzzer on each format that is read from memory, then every reader on mutated files, under the sanitizers, for FUZZ_SECONDS each.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS := safetensors zip pickle json geojson tiff mtx positions
FUZZ_SOURCES := $(addprefix engine/,weights.cpp safetensors.cpp safetensors_write.cpp json.cpp file.cpp text.cpp hash.cpp hash_file.cpp nearest.cpp) $(wildcard data/weights/*.cpp) data/lines.cpp data/table.cpp data/coordinates.cpp data/scale.cpp data/section.cpp data/sparse_rows.cpp data/spatial/assemble.cpp data/spatial/mex.cpp data/spatial/positions.cpp data/child.cpp data/hdf5_file.cpp data/text_out.cpp data/tissue/contours.cpp data/tissue/geojson.cpp data/slide/tiff_directory.cpp tests/fuzz/targets.cpp tests/data/weights/builders.cpp
fuzz_flags := -std=c++20 -g1 -O1 -I. $(HDF5_INCLUDES) -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=all -DFUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
fuzz: fuzzers
	STFLOW_FUZZ_SECONDS=$(FUZZ_SECONDS) $(MAKE) MODE=asan TESTS='-tc=fuzz:*' test
.PHONY: $(FUZZ_TARGETS:%=build/fuzz/run-%)
fuzzers: $(FUZZ_TARGETS:%=build/fuzz/run-%)
$(FUZZ_TARGETS:%=build/fuzz/run-%): build/fuzz/run-%: build/fuzz/%
	tools/build/fuzz.sh $* $(FUZZ_SECONDS)
$(FUZZ_TARGETS:%=build/fuzz/%): build/fuzz/%: tests/fuzz/libfuzzer/main.cpp $(FUZZ_SOURCES:%.cpp=build/fuzz/%.o)
	@echo "  $@"
	@clang++ $(fuzz_flags) -fsanitize=fuzzer -DSTFLOW_TARGET='"$*"' -o $@ $^ -lfmt -lz $(HDF5_LIBS)
build/fuzz/%.o: %.cpp
	@mkdir -p $(@D)
	@echo "  $< [fuzz]"
	@clang++ $(fuzz_flags) -MMD -MP -c -o $@ $<

bench: stflow
	./stflow bench

ptxas:
	$(MAKE) CUDA=1 $(CUDA_SOURCES:%.cu=build/cuda/%.cu.o)
	tools/build/ptxas.sh $(CUDA_SOURCES:%.cu=build/cuda/%.cu.o.ptxas)

bundle:
	$(MAKE) CUDA=1 build/cuda/stflow build/cuda/tests/all
	tools/gpu/bundle.sh build/stflow-cuda.tar.gz

format:
	tools/build/lint.sh --fix

lint:
	tools/build/lint.sh

install: stflow
	install -D -m 755 stflow $(DESTDIR)$(PREFIX)/bin/stflow
	install -D -m 644 $(LIBRARY) $(DESTDIR)$(PREFIX)/lib/libstflow.a
	for h in $(wildcard $(library_folders:%=%/*.h)); do install -D -m 644 $$h $(DESTDIR)$(PREFIX)/include/stflow/$$h; done
	for f in tests/fixtures/denoiser_small.safetensors $(shell find weights data/samples -type f 2>/dev/null); do install -D -m 644 $$f $(DESTDIR)$(PREFIX)/share/stflow/$$f; done

clean:
	rm -rf build stflow

-include $(OBJECTS:.o=.d) $(FUZZ_SOURCES:%.cpp=build/fuzz/%.d)
