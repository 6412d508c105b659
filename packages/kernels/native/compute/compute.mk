# Sources and per-file flags of the arithmetic, for inclusion by a Makefile that sets COMPUTE_DIR (this directory) and
# COMPUTE_BUILD (where objects go). Gives COMPUTE_OBJECTS, and the target `self-test`, which builds and runs the test.
#
# No flag may let the compiler contract, reassociate or flush: -ffp-contract=off, never -ffast-math or -march=native.
# A level's file for a foreign architecture compiles to nothing, with no special flags.
COMPUTE_SOURCES := scalar avx2 avx512 neon dispatch int8-pack int8-scalar int8-avx2 int8-avx512 int8-avx512-vnni int8-neon int8-neon-dot \
  pairs-pack pairs-scalar pairs-avx2 pairs-avx512 pairs-avx512-bf16 pairs-neon
COMPUTE_TEST_SOURCES := main harness emulated attention linear rows int8 int8-emulated pairs
COMPUTE_OBJECTS := $(COMPUTE_SOURCES:%=$(COMPUTE_BUILD)/compute/%.o)
COMPUTE_TEST_OBJECTS := $(COMPUTE_TEST_SOURCES:%=$(COMPUTE_BUILD)/compute/self-test/%.o)
COMPUTE_HEADERS := $(wildcard $(COMPUTE_DIR)/*.h $(COMPUTE_DIR)/self-test/*.h)
COMPUTE_CXXFLAGS := -std=c++17 -O3 -g1 -fPIC -Wall -Wextra -ffp-contract=off -fvisibility=hidden

ifneq ($(filter x86_64%,$(shell $(CXX) -dumpmachine)),)
# g++ 12 warns about its own header (GCC bug 105593).
COMPUTE_AVX512_FLAGS := -mavx2 -mfma -mavx512f -mavx512bw -mavx512vl -mavx512dq \
  -Wno-unknown-warning-option -Wno-uninitialized -Wno-maybe-uninitialized
$(COMPUTE_BUILD)/compute/avx2.o $(COMPUTE_BUILD)/compute/int8-avx2.o $(COMPUTE_BUILD)/compute/pairs-avx2.o: COMPUTE_LEVEL_FLAGS := -mavx2 -mfma
$(COMPUTE_BUILD)/compute/avx512.o $(COMPUTE_BUILD)/compute/int8-avx512.o $(COMPUTE_BUILD)/compute/pairs-avx512.o: COMPUTE_LEVEL_FLAGS := $(COMPUTE_AVX512_FLAGS)
$(COMPUTE_BUILD)/compute/int8-avx512-vnni.o: COMPUTE_LEVEL_FLAGS := $(COMPUTE_AVX512_FLAGS) -mavx512vnni
$(COMPUTE_BUILD)/compute/pairs-avx512-bf16.o: COMPUTE_LEVEL_FLAGS := $(COMPUTE_AVX512_FLAGS) -mavx512bf16
else ifneq ($(filter aarch64%,$(shell $(CXX) -dumpmachine)),)
$(COMPUTE_BUILD)/compute/int8-neon-dot.o: COMPUTE_LEVEL_FLAGS := -march=armv8.2-a+dotprod
endif
# Vectorised, the test's own loops crash g++ 12 for AArch64.
$(COMPUTE_TEST_OBJECTS): COMPUTE_LEVEL_FLAGS := -fno-tree-vectorize

$(COMPUTE_OBJECTS) $(COMPUTE_TEST_OBJECTS): $(COMPUTE_BUILD)/compute/%.o: $(COMPUTE_DIR)/%.cpp $(COMPUTE_HEADERS) $(COMPUTE_DIR)/compute.mk
	@mkdir -p $(@D)
	$(CXX) $(COMPUTE_CXXFLAGS) $(COMPUTE_LEVEL_FLAGS) $(SANITIZE_FLAGS) -c $< -o $@

$(COMPUTE_BUILD)/compute/self-test/run: $(COMPUTE_TEST_OBJECTS) $(COMPUTE_OBJECTS)
	$(CXX) $(SANITIZE_FLAGS) $^ $(COMPUTE_LDFLAGS) -o $@

.PHONY: self-test
self-test: $(COMPUTE_BUILD)/compute/self-test/run
	$(COMPUTE_RUNNER) $<
