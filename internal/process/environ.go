// SPDX-License-Identifier: Apache-2.0

package process

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
)

const (
	// MaxEnviron is how many bytes of an environment are read. The kernel
	// accepts 6 MiB of arguments and environment at exec (3/4 of _STK_LIM).
	MaxEnviron = 6 << 20
	// MaxEnvironValue bounds one NAME=value entry; a longer one is left out.
	MaxEnvironValue = 128 << 10
)

// Environ returns the named variables of the environment that the process was
// given at exec; what the program set later is not seen, and a program can
// overwrite the area. A name that is not set is not in the map; of a name set
// twice the first counts, as in getenv. With no names it returns all of them.
// The error wraps ErrTruncated when a bound was reached; the map is valid then.
func (p *Process) Environ(names ...string) (map[string]string, error) {
	f, err := p.openMemory("environ")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	env, err := parseEnviron(f, names)
	if err != nil && !errors.Is(err, ErrTruncated) {
		return nil, p.fail("read the environment", err)
	}
	if len(env) == 0 {
		// An exiting process shows an empty environment.
		if err := p.Alive(); err != nil {
			return nil, err
		}
	}
	return env, err
}

func parseEnviron(r io.Reader, names []string) (map[string]string, error) {
	wanted := make(map[string]bool, len(names))
	for _, n := range names {
		wanted[n] = true
	}
	env := make(map[string]string)
	limited := &io.LimitedReader{R: r, N: MaxEnviron + 1}
	in := bufio.NewReaderSize(limited, MaxEnvironValue)
	var cut error
	for {
		entry, err := in.ReadSlice(0)
		if err == bufio.ErrBufferFull {
			cut = fmt.Errorf("environment variable %.40q is longer than %d bytes and left out: %w", entry, MaxEnvironValue, ErrTruncated)
			for err == bufio.ErrBufferFull {
				_, err = in.ReadSlice(0)
			}
			entry = nil
		}
		if limited.N <= 0 {
			return env, fmt.Errorf("environment cut at %d bytes: %w", MaxEnviron, ErrTruncated)
		}
		if err != nil && err != io.EOF {
			return env, err
		}
		name, value, ok := bytes.Cut(bytes.TrimSuffix(entry, []byte{0}), []byte{'='})
		if ok && (len(names) == 0 || wanted[string(name)]) {
			if _, have := env[string(name)]; !have {
				env[string(name)] = string(value)
			}
		}
		if err == io.EOF {
			return env, cut
		}
	}
}

// rankVariables are looked at in this order.
var rankVariables = []string{"RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID"}

// Rank returns the rank that the process's launcher gave it, and the variable
// that said so. If ok is false there is none, and source says why: "" when no
// variable is set, else what is wrong with it. A malformed rank is never replaced
// by that of a later variable.
func (p *Process) Rank() (rank int, source string, ok bool) {
	env, err := p.Environ(rankVariables...)
	if err != nil && !errors.Is(err, ErrTruncated) {
		return 0, err.Error(), false
	}
	return RankOf(env)
}

// RankOf is [Process.Rank] for an environment that is already known.
func RankOf(env map[string]string) (rank int, source string, ok bool) {
	for _, name := range rankVariables {
		value, set := env[name]
		if !set {
			continue
		}
		n, err := strconv.ParseUint(value, 10, 32)
		if err != nil || n > math.MaxInt32 {
			return 0, fmt.Sprintf("%s=%.40q of the process is not a rank (0 to %d)", name, value, math.MaxInt32), false
		}
		return int(n), name, true
	}
	return 0, "", false
}
