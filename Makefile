# SPDX-License-Identifier: Apache-2.0
#
# Building needs Go and a C compiler. The other targets say what else they need;
# "make help" lists them.

GO      ?= go
CLANG   ?= clang
DIST    ?= dist
export CGO_ENABLED ?= 1
# The NVML binding needs lazy binding: with its symbols bound at start, the program
# would not run without NVIDIA's library. The other flags are cgo's defaults, plus
# one that silences the binding's deprecated declarations.
export CGO_LDFLAGS ?= -O2 -g -Wl,-z,lazy
export CGO_CFLAGS  ?= -O2 -g -Wno-deprecated-declarations

MULTIARCH := $(shell $(CC) -print-multiarch 2>/dev/null)

.PHONY: build help demo test test-race bench bench-instructions generate check-generated lint structure fuzz soak soak-rebuild hostile gpu-check real-programs postgres-questions test-kernels dist clean gpu-loops

build: ## compile ./phasetrace
	$(GO) build -o phasetrace ./cmd/phasetrace

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-19s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: build ## trace a small multi-threaded program, live
	@if [ "$$(id -u)" = 0 ]; then ./phasetrace demo; else echo "tracing needs privileges: sudo ./phasetrace demo"; sudo ./phasetrace demo; fi

# Tests that need BPF skip where it is not available. With CI or
# PHASETRACE_REQUIRE_BPF=1 set, such a skip is a failure. What was skipped, and for
# want of what, is listed at the end.
test: build ## vet, and run every test this machine can run
	$(GO) vet ./...
	@GO='$(GO)' $(GO) run ./test/skips ./...

# Only packages whose goroutines share something. The hostile run is left out: it
# bounds memory. Of the session's tests, only those that do not depend on timing:
# the detector makes the tracer ten times slower.
RACE = ./cmd/... ./internal/loader ./internal/gpu ./internal/nvsample ./internal/output/... ./internal/recorder ./internal/process
RACE_TRACE = ^Test(Engine|OwnMarkers|ColdName|AttachMidPhase|Misnested|SampleAge|DeviceDies|TwoSemaphores)
test-race: ## run the concurrent packages' tests under the race detector
	$(GO) test -race -skip '^Test(Hold|GPUFaults|HostileRun)' $(RACE)
	$(GO) test -race -run '$(RACE_TRACE)' ./internal/session

bench: build ## measure what a boundary costs, next to an empty probe and other tracers
	$(GO) run ./bench $(if $(PEERS),-peers $(PEERS))

# UPDATE=1 writes the table; BOOTS=3 shows that three boots count the same.
bench-instructions: ## count a boundary's instructions on an emulated machine; fails if more than bench/instructions.txt says
	@$(GO) run ./bench instructions $(if $(UPDATE),-update) $(if $(BOOTS),-boots $(BOOTS))

# clang's bpf target does not search the multiarch folder for kernel headers.
generate: ## recompile the BPF objects and bindings (needs clang, llvm, libbpf-dev)
	@for tool in $(CLANG) llvm-strip; do command -v $$tool >/dev/null || \
		{ echo "generate: $$tool is missing: apt-get install clang llvm libbpf-dev" >&2; exit 1; }; done
	C_INCLUDE_PATH=/usr/include/$(MULTIARCH) BPF2GO_CC=$(CLANG) $(GO) generate .

check-generated: generate ## fail if the committed BPF objects are out of date
	git diff --exit-code -- bpf bench/parts

lint: ## run gofmt, vet and staticcheck
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); echo "run gofmt -w on these" >&2; exit 1; }
	$(GO) vet ./...
	$(GO) tool -modfile=tools/go.mod staticcheck ./...

structure: ## measure the packages: references between files, long files and functions
	$(GO) run -C tools ./structure ./internal/... ./cmd/... ./bench

FUZZTIME ?= 10s
fuzz: ## run each fuzz target for FUZZTIME (10s)
	@for pkg in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' $$pkg 2>/dev/null | grep '^Fuzz'); do \
			echo "$$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; \
		done; done

gpu-check: build ## check traced GPU memory against a known program (needs an NVIDIA GPU)
	$(GO) run ./internal/gpucheck -phasetrace ./phasetrace
	$(GO) run ./internal/gpucheck -phasetrace ./phasetrace -loops

gpu-loops: build ## check GPU memory of phases that follow each other at once, over fake libraries (2 minutes, as root)
	$(GO) run ./internal/gpucheck -phasetrace ./phasetrace -fake -loops

SOAKTIME ?= 10m
soak: ## attach and detach for SOAKTIME (10m) while the traced program checks itself
	$(GO) test -run '^TestSoak$$' -v -count 1 -timeout 0 ./internal/session -soak $(SOAKTIME)

REBUILDS ?= 200
soak-rebuild: ## overwrite a program and a library in place REBUILDS times while others run and load them
	$(GO) test -run '^TestRebuiltUnderLoad$$' -v -count 1 -timeout 0 ./internal/session -rebuilds $(REBUILDS)

HOSTILETIME ?= 10m
hostile: ## trace hostile programs for HOSTILETIME (10m) and report peak memory
	$(GO) test -run '^TestHostileRun$$' -v -count 1 -timeout 0 ./cmd/phasetrace -hostile $(HOSTILETIME)

# PROGRAMS are scripts of test/realprograms; ROOT is where another release of
# PostgreSQL, Java or Python is unpacked.
real-programs: build ## trace real programs with no --pair and compare with what they did (installs nothing)
	@[ "$$(id -u)" = 0 ] || { echo "real-programs: run it as root" >&2; exit 1; }
	ROOT='$(ROOT)' test/realprograms/all.sh $(PROGRAMS)

# QUESTIONS and PROTOCOLS are some of 1,2,3,4,5 and simple,extended,prepared.
postgres-questions: build ## ask PostgreSQL the questions of docs/postgresql.md and compare with what it says itself (installs nothing)
	$(GO) run ./test/postgres -root '$(ROOT)' -phasetrace ./phasetrace \
		$(if $(QUESTIONS),-questions $(QUESTIONS)) $(if $(PROTOCOLS),-protocols $(PROTOCOLS))

test-kernels: ## run the privileged tests on older and newer kernels and on arm64, in qemu
	$(GO) run ./test/kernels $(if $(KERNELS),-only $(KERNELS),-doc docs/kernels.md)

dist: ## build release archives for both architectures, with checksums
	tools/dist.sh $(DIST)

clean: ## remove build output
	rm -rf phasetrace build $(DIST)
