// SPDX-License-Identifier: Apache-2.0

package process

// RSSBound returns by how many bytes a resident set size that is read without
// summing the kernel's per-CPU parts may be off, above or below: each of the
// kernel's counters holds back less than max(32, 2·cpus) pages on every CPU
// (percpu_counter_batch, lib/percpu_counter.c; used for memory counters since
// Linux 6.2). counters is how many were added up: 3 for anonymous, file and
// shared memory together. cpus is the number of CPUs online.
func RSSBound(counters, cpus, pageSize int) uint64 {
	batch := max(32, 2*cpus)
	return uint64(counters) * uint64(batch) * uint64(cpus) * uint64(pageSize)
}
