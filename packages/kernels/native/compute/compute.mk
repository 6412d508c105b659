# Sources and per-file flags of the arithmetic, for inclusion by a Makefile that sets COMPUTE_DIR (this directory) and
# COMPUTE_BUILD (where objects go). Gives COMPUTE_OBJECTS, and the target `self-test`, which builds and runs the test.
#
# No flag may let the compiler contract, reassociate or flush: -ffp-contract=off, never -ffast-math or -march=native.
# A level's file for a foreign architecture compiles to nothing, with no special flags.
COMPUTE_LEVELS := scalar avx2 avx512 neon dispatch
COMPUTE_OBJECTS := $(COMPUTE_LEVELS:%=$(COMPUTE_BUILD)/compute/%.o)
COMPUTE_CXXFLAGS := -std=c++17 -O3 -g1 -fPIC -Wall -Wextra -ffp-contract=off -fvisibility=hidden

COMPUTE_MACHINE := $(shell $(CXX) -dumpmachine)
ifneq ($(filter x86_64%,$(COMPUTE_MACHINE)),)
$(COMPUTE_BUILD)/compute/avx2.o: COMPUTE_LEVEL_FLAGS := -mavx2 -mfma
$(COMPUTE_BUILD)/compute/avx512.o: COMPUTE_LEVEL_FLAGS := -mavx2 -mfma -mavx512f -mavx512bw -mavx512vl -mavx512dq -mprefer-vector-width=512
endif

$(COMPUTE_BUILD)/compute/%.o: $(COMPUTE_DIR)/%.cpp $(wildcard $(COMPUTE_DIR)/*.h) $(COMPUTE_DIR)/compute.mk
	@mkdir -p $(@D)
	$(CXX) $(COMPUTE_CXXFLAGS) $(COMPUTE_LEVEL_FLAGS) -c $< -o $@

$(COMPUTE_BUILD)/compute/self-test: $(COMPUTE_BUILD)/compute/self-test.o $(COMPUTE_OBJECTS)
	$(CXX) $^ -o $@

.PHONY: self-test
self-test: $(COMPUTE_BUILD)/compute/self-test
	$<
