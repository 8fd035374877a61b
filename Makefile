# SPDX-License-Identifier: Apache-2.0
#
# Building needs Go and a C compiler. The other targets name what they miss.

GO      ?= go
CLANG   ?= clang
DIST    ?= dist
export CGO_ENABLED ?= 1
# The NVML binding needs lazy binding: bound at start, the program would not run
# where there is no NVIDIA library. The rest are cgo's own defaults, and silence
# for the binding's deprecated declarations.
export CGO_LDFLAGS ?= -O2 -g -Wl,-z,lazy
export CGO_CFLAGS  ?= -O2 -g -Wno-deprecated-declarations

MULTIARCH := $(shell $(CC) -print-multiarch 2>/dev/null)

.PHONY: build demo test test-race bench generate check-generated lint structure fuzz soak hostile gpu-check test-kernels dist clean

build: ## compile ./phasetrace
	$(GO) build -o phasetrace ./cmd/phasetrace

demo: build ## trace a small multi-threaded program, live
	@if [ "$$(id -u)" = 0 ]; then ./phasetrace demo; else echo "tracing needs privileges: sudo ./phasetrace demo"; sudo ./phasetrace demo; fi

# Tests that load BPF run when they can; CI and PHASETRACE_REQUIRE_BPF=1 make a
# skip a failure. What was skipped, and for want of what, is listed at the end.
test: build ## run every test that this machine can run
	$(GO) vet ./...
	@GO='$(GO)' $(GO) run ./test/skips ./...

# The packages whose goroutines share something; the others have nothing to
# race. Not the hostile run, whose memory is bounded. Of the session's tests those that do not hang on time: the detector
# makes the tracer ten times slower.
RACE = ./cmd/... ./internal/loader ./internal/gpu ./internal/nvsample ./internal/output/... ./internal/recorder ./internal/process
RACE_TRACE = ^Test(Engine|OwnMarkers|ColdName|AttachMidPhase|Misnested|SampleAge|DeviceDies|TwoSemaphores)
test-race: ## tests under the race detector
	$(GO) test -race -skip '^Test(Hold|GPUFaults|HostileRun)' $(RACE)
	$(GO) test -race -run '$(RACE_TRACE)' ./internal/session

bench: build ## compare the cost of a boundary with the floor and with peers
	$(GO) run ./bench

# Paths for the kernel's headers: clang's bpf target does not know multiarch.
generate: ## regenerate the BPF objects and bindings (needs clang, llvm, libbpf-dev)
	@for tool in $(CLANG) llvm-strip; do command -v $$tool >/dev/null || \
		{ echo "generate: $$tool is missing: apt-get install clang llvm libbpf-dev" >&2; exit 1; }; done
	C_INCLUDE_PATH=/usr/include/$(MULTIARCH) BPF2GO_CC=$(CLANG) $(GO) generate .

check-generated: generate ## fail when the committed objects are not what the sources give
	git diff --exit-code -- bpf bench/parts

lint: ## gofmt, vet, staticcheck
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); echo "run gofmt -w on these" >&2; exit 1; }
	$(GO) vet ./...
	$(GO) tool -modfile=tools/go.mod staticcheck ./...

structure: ## count how the files of each package refer to each other, and what is long
	$(GO) run -C tools ./structure ./internal/... ./cmd/... ./bench

FUZZTIME ?= 10s
fuzz: ## run every fuzz target for FUZZTIME
	@for pkg in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' $$pkg 2>/dev/null | grep '^Fuzz'); do \
			echo "$$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; \
		done; done

gpu-check: build ## compare traced GPU memory with what a program did (needs an NVIDIA GPU)
	$(GO) run ./internal/gpucheck -phasetrace ./phasetrace

SOAKTIME ?= 10m
soak: ## attach and detach for SOAKTIME while a program checks itself
	$(GO) test -run '^TestSoak$$' -v -count 1 -timeout 0 ./internal/session -soak $(SOAKTIME)

HOSTILETIME ?= 10m
hostile: ## trace hostile programs for HOSTILETIME; tells the peak of its memory
	$(GO) test -run '^TestHostileRun$$' -v -count 1 -timeout 0 ./cmd/phasetrace -hostile $(HOSTILETIME)

test-kernels: ## run the privileged tests on older kernels and on arm64, under qemu
	$(GO) run ./test/kernels $(if $(KERNELS),-only $(KERNELS),-doc docs/kernels.md)

dist: ## release archives of both architectures, with checksums
	tools/dist.sh $(DIST)

clean:
	rm -rf phasetrace build $(DIST)
