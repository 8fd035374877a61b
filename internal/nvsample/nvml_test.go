// SPDX-License-Identifier: Apache-2.0

//go:build linux && cgo && !nonvml

package nvsample

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/phasetrace/phasetrace/internal/gpu"
	"github.com/phasetrace/phasetrace/internal/nvsample/fakenvml"
)

const childLibrary = "PHASETRACE_TEST_NVML_LIBRARY"

// withFake runs the rest of the test in a child process, since a process can use
// one NVML library in its life: it returns false in the parent, which has run
// the child, and the library and its control file in the child.
func withFake(t *testing.T, old bool, devices int) (library string, c *fakenvml.Control, child bool) {
	t.Helper()
	if library = os.Getenv(childLibrary); library != "" {
		c, err := fakenvml.Attach(os.Getenv(fakenvml.Env))
		if err != nil {
			t.Fatal(err)
		}
		return library, c, true
	}
	dir := t.TempDir()
	library, err := fakenvml.BuildNVML(dir, old)
	if err != nil {
		t.Fatal(err)
	}
	control := filepath.Join(dir, "control")
	if _, err := fakenvml.Create(control, devices); err != nil {
		t.Fatal(err)
	}
	runChild(t, childLibrary+"="+library, fakenvml.Env+"="+control)
	return "", nil, false
}

// runChild runs this test alone in a process of its own.
func runChild(t *testing.T, env ...string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("child process: %v", err)
	}
}

func mustOpen(t *testing.T, library string) gpu.Source {
	t.Helper()
	src, err := Open(library)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := src.Close(); err != nil {
			t.Error(err)
		}
	})
	return src
}

func wantMemory(t *testing.T, src gpu.Source, device int, want gpu.Memory, status gpu.Status) {
	t.Helper()
	m, err := src.Memory(device)
	if m != want || gpu.StatusOf(err) != status {
		t.Errorf("memory of device %d: %+v, %v; want %+v, %v", device, m, err, want, status)
	}
}

func TestNVMLReads(t *testing.T) {
	library, c, child := withFake(t, false, 2)
	if !child {
		return
	}
	src := mustOpen(t, library)
	if info := src.Info(); info.Driver != fakenvml.Version || info.Library != library || info.NVML == "" {
		t.Errorf("info %+v", info)
	}
	devices := src.Devices()
	if len(devices) != 2 || devices[1] != (gpu.Device{ID: 1, Index: 1, MIG: -1, UUID: "GPU-fake-1", Name: "NVIDIA Fake"}) {
		t.Errorf("devices %+v", devices)
	}
	d := &c.Device[0]
	d.Used.Set(3 << 30)
	d.Reserved.Set(1 << 30)
	wantMemory(t, src, 0, gpu.Memory{Total: gpu.Bytes(16 << 30), Free: gpu.Bytes(12 << 30), Used: gpu.Bytes(3 << 30), Reserved: gpu.Bytes(1 << 30)}, gpu.StatusOK)
	for _, code := range []uint64{13, 25} { // the second version is there and does not work
		d.MemoryV2Return.Set(code)
		wantMemory(t, src, 0, gpu.Memory{Total: gpu.Bytes(16 << 30), Free: gpu.Bytes(12 << 30), Used: gpu.Bytes(4 << 30)}, gpu.StatusOK)
	}
	if _, err := src.Memory(2); gpu.StatusOf(err) != gpu.StatusError {
		t.Errorf("a device that is not there: %v", err)
	}
	again := mustOpen(t, library)
	wantMemory(t, again, 1, gpu.Memory{Total: gpu.Bytes(16 << 30), Free: gpu.Bytes(16 << 30), Used: gpu.Bytes(0), Reserved: gpu.Bytes(0)}, gpu.StatusOK)
	if _, err := Open("/other/libnvidia-ml.so"); gpu.StatusOf(err) != gpu.StatusNoLibrary || !strings.Contains(err.Error(), library) {
		t.Errorf("another library in one process: %v", err)
	}
}

func TestNVMLErrors(t *testing.T) {
	library, c, child := withFake(t, false, 2)
	if !child {
		return
	}
	src := mustOpen(t, library)
	healthy := gpu.Memory{Total: gpu.Bytes(16 << 30), Free: gpu.Bytes(16 << 30), Used: gpu.Bytes(0), Reserved: gpu.Bytes(0)}
	for _, tt := range []struct {
		code uint64
		want gpu.Status
	}{
		{1, gpu.StatusClosed}, {3, gpu.StatusNotSupported}, {4, gpu.StatusNoPermission}, {9, gpu.StatusNoDriver}, {10, gpu.StatusTimeout},
		{15, gpu.StatusLost}, {16, gpu.StatusResetRequired}, {18, gpu.StatusMismatch}, {27, gpu.StatusNotReady}, {28, gpu.StatusNoDevice}, {999, gpu.StatusError},
	} {
		c.Device[0].MemoryReturn.Set(tt.code)
		wantMemory(t, src, 0, gpu.Memory{}, tt.want)
		wantMemory(t, src, 1, healthy, gpu.StatusOK)
		c.Device[0].ProcessesReturn.Set(tt.code)
		if list, err := src.Processes(0); list != nil || gpu.StatusOf(err) != tt.want {
			t.Errorf("process list with code %d: %v, %v", tt.code, list, err)
		}
	}
	_, err := src.Memory(0)
	var e *gpu.Error
	if !errors.As(err, &e) || e.Code != 999 || !strings.Contains(e.Error(), "999") || !strings.Contains(e.Error(), "GPU 0") {
		t.Errorf("the message does not name the code and the GPU: %v", err)
	}
}

func TestNVMLProcesses(t *testing.T) {
	library, c, child := withFake(t, false, 1)
	if !child {
		return
	}
	src := mustOpen(t, library)
	// A process in both lists, one without accounting, and PID 0 as drivers
	// give it in containers.
	c.Device[0].SetCompute(100, 5<<20, 200, fakenvml.NoValue, 0, 7)
	c.Device[0].SetGraphics(100, 5<<20, 300, 1)
	list, err := src.Processes(0)
	want := []gpu.Process{{PID: 100, Used: gpu.Bytes(5 << 20)}, {PID: 200}, {PID: 300, Used: gpu.Bytes(1)}}
	if err != nil || len(list) != len(want) {
		t.Fatalf("processes %+v, %v", list, err)
	}
	for i := range want {
		if list[i] != want[i] {
			t.Errorf("process %+v, want %+v", list[i], want[i])
		}
	}
}

func TestNVMLPartitionedGPU(t *testing.T) {
	library, c, child := withFake(t, false, 2)
	if !child {
		return
	}
	c.Device[0].MIG.Set(2)
	c.Device[0].Used.Set(8 << 30)
	src := mustOpen(t, library)
	devices := src.Devices()
	if len(devices) != 3 || devices[0].MIG != 0 || devices[1] != (gpu.Device{ID: 1, Index: 0, MIG: 1, UUID: "MIG-fake-0-1", Name: "NVIDIA Fake"}) || devices[2].MIG != -1 {
		t.Fatalf("devices %+v", devices)
	}
	wantMemory(t, src, 1, gpu.Memory{Total: gpu.Bytes(2 << 30), Free: gpu.Bytes(1<<30 - 1), Used: gpu.Bytes(1<<30 + 1), Reserved: gpu.Bytes(0)}, gpu.StatusOK)
}

// On a partitioned GPU whose instances this process may not see, the GPU itself
// stays in the list and says why it has no numbers.
func TestNVMLPartitionAfterOpen(t *testing.T) {
	library, c, child := withFake(t, false, 1)
	if !child {
		return
	}
	src := mustOpen(t, library)
	c.Device[0].MIG.Set(1)
	wantMemory(t, src, 0, gpu.Memory{}, gpu.StatusNoPermission)
}

func TestNVMLOneGPUCannotBeHad(t *testing.T) {
	library, c, child := withFake(t, false, 2)
	if !child {
		return
	}
	c.Device[0].HandleReturn.Set(15)
	src := mustOpen(t, library)
	if n := len(src.Devices()); n != 2 {
		t.Fatalf("%d devices", n)
	}
	wantMemory(t, src, 0, gpu.Memory{}, gpu.StatusLost)
	if _, err := src.Memory(1); err != nil {
		t.Error(err)
	}
	c.Device[0].HandleReturn.Set(0) // it has been reset
	if _, err := src.Memory(0); err != nil {
		t.Errorf("after the GPU came back: %v", err)
	}
}

func TestNVMLOldLibrary(t *testing.T) {
	library, c, child := withFake(t, true, 1)
	if !child {
		return
	}
	c.Device[0].Used.Set(3 << 30)
	c.Device[0].Reserved.Set(1 << 30)
	src := mustOpen(t, library)
	wantMemory(t, src, 0, gpu.Memory{Total: gpu.Bytes(16 << 30), Free: gpu.Bytes(12 << 30), Used: gpu.Bytes(4 << 30)}, gpu.StatusOK)
	if _, err := src.Processes(0); gpu.StatusOf(err) != gpu.StatusMissingSymbol {
		t.Errorf("process list of an old library: %v", err)
	}
}

func TestNVMLDoesNotStart(t *testing.T) {
	library, c, child := withFake(t, false, 1)
	if !child {
		return
	}
	for code, want := range map[uint64]gpu.Status{9: gpu.StatusNoDriver, 27: gpu.StatusNotReady, 12: gpu.StatusNoLibrary, 4: gpu.StatusNoPermission} {
		c.InitReturn.Set(code)
		if src, err := Open(library); src != nil || gpu.StatusOf(err) != want {
			t.Errorf("with code %d: %v", code, err)
		}
	}
	c.InitReturn.Set(18)
	_, err := Open(library)
	if gpu.StatusOf(err) != gpu.StatusMismatch || !strings.Contains(err.Error(), "library "+fakenvml.Version+", kernel driver ") {
		t.Errorf("version mismatch: %v", err)
	}
	c.InitReturn.Set(0)
	c.Count.Set(0)
	if _, err := Open(library); gpu.StatusOf(err) != gpu.StatusNoDevice {
		t.Errorf("without a GPU: %v", err)
	}
	c.Count.Set(1)
	mustOpen(t, library) // and later it works
}

func TestNVMLNoLibrary(t *testing.T) {
	if os.Getenv(childLibrary) == "" {
		runChild(t, childLibrary+"=none")
		return
	}
	dir := t.TempDir()
	missing := filepath.Join(dir, "libnvidia-ml.so.1")
	if _, err := Open(missing); gpu.StatusOf(err) != gpu.StatusNoLibrary || !strings.Contains(err.Error(), missing) {
		t.Errorf("a missing library: %v", err)
	}
	if err := os.WriteFile(missing, []byte("no ELF file"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(missing); gpu.StatusOf(err) != gpu.StatusNoLibrary {
		t.Errorf("a file that is no library: %v", err)
	}
}

// A binary with the NVML backend must start where no NVIDIA library is.
func TestBinaryStartsWithoutLibrary(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "probe")
	build := exec.Command("go", "build", "-o", binary, "./testdata/probe")
	build.Env = append(os.Environ(), "CGO_LDFLAGS=-O2 -g -Wl,-z,lazy")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	run := exec.Command(binary, filepath.Join(t.TempDir(), "missing.so"))
	out, err := run.CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != gpu.StatusNoLibrary.String() {
		t.Errorf("started without a library: %v\n%s", err, out)
	}
}
