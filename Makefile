# make            build ./stflow (installs missing system packages when it may, else prints the line to run)
# make test       build and run every test
# make asan|tsan  the same tests under sanitizers        make bench   ./stflow bench
# make format|lint|install|clean
SHELL := /bin/bash
.DEFAULT_GOAL := all
MODE ?= release
BUILD := build/$(MODE)
PREFIX ?= /usr/local

CXX ?= g++
ARCH := $(shell uname -m)
# -fno-tree-slp-vectorize: g++ 12 drops a double->float->double round trip otherwise (tests/engine/compiler_test.cpp).
# -ffp-contract=off: a multiply-add is fused where the source says so and nowhere else.
COMMON := -std=c++20 -I. -MMD -MP -g1 -fPIE -fno-tree-slp-vectorize -ffp-contract=off -fstack-protector-strong \
          -Wall -Wextra -Wshadow -Wno-psabi $(WERROR)
release := -O2 -D_FORTIFY_SOURCE=2
asan := -O1 -fsanitize=address,undefined,float-cast-overflow,float-divide-by-zero -fno-sanitize-recover=all -D_GLIBCXX_ASSERTIONS -fno-omit-frame-pointer
tsan := -O1 -fsanitize=thread
CXXFLAGS += $(COMMON) $($(MODE))
LDFLAGS += $($(MODE)) -pie -Wl,-z,relro,-z,now -pthread
LDLIBS += -lfmt $(shell pkg-config --libs hdf5) -ljpeg -lpng -lz

# One back end per CPU instruction set: ops/cpu/X.cpp is compiled for each.
ISAS := plain
plain := -DSTFLOW_ISA=Plain
ifeq ($(ARCH),x86_64)
ISAS += avx2 avx512
avx2 := -DSTFLOW_ISA=Avx2 -mavx2 -mfma
avx512 := -DSTFLOW_ISA=Avx512 -mavx2 -mfma -mavx512f -mavx512bw -mavx512dq -mavx512vl -mprefer-vector-width=512
endif

-include tools/build/packages.mk

LIB_SOURCES := $(wildcard engine/*.cpp ops/*.cpp model/*.cpp data/*.cpp)
CPU_SOURCES := $(wildcard ops/cpu/*.cpp)
TOOL_SOURCES := $(wildcard tools/*.cpp)
TEST_SOURCES := $(wildcard tests/*.cpp tests/*/*.cpp)
OBJECTS_LIB := $(LIB_SOURCES:%.cpp=$(BUILD)/%.o) $(foreach i,$(ISAS),$(CPU_SOURCES:%.cpp=$(BUILD)/%.$(i).o))
OBJECTS_TOOL := $(TOOL_SOURCES:%.cpp=$(BUILD)/%.o)
OBJECTS_TEST := $(TEST_SOURCES:%.cpp=$(BUILD)/%.o)
LIBRARY := $(BUILD)/libstflow.a

.PHONY: all test asan tsan bench clean
all: stflow

stflow: $(BUILD)/stflow
	@cp -f $< $@

$(BUILD)/stflow: $(OBJECTS_TOOL) $(LIBRARY)
	$(CXX) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(BUILD)/tests/all: $(OBJECTS_TEST) $(LIBRARY)
	$(CXX) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(LIBRARY): $(OBJECTS_LIB)
	@rm -f $@
	@ar rcs $@ $^

$(BUILD)/%.o: %.cpp
	@mkdir -p $(@D)
	@echo "  $<"
	@$(CXX) $(CXXFLAGS) -c -o $@ $<

define kernel_rule
$(BUILD)/ops/cpu/%.$(1).o: ops/cpu/%.cpp
	@mkdir -p $$(@D)
	@echo "  $$< [$(1)]"
	@$(CXX) $(CXXFLAGS) $($(1)) -c -o $$@ $$<
endef
$(foreach i,$(ISAS),$(eval $(call kernel_rule,$(i))))

test: stflow $(BUILD)/tests/all
	$(BUILD)/tests/all

asan tsan:
	$(MAKE) MODE=$@ test

bench: stflow
	./stflow bench

clean:
	rm -rf build stflow

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
