// SPDX-License-Identifier: Apache-2.0

package gpu

// Witness says what else may have moved memory. Its times are ns,
// CLOCK_MONOTONIC; [math.MaxInt64] stands for a read that did not come.
type Witness interface {
	// Between says what makes a reading doubtful whose reads enclose that time.
	Between(from, to int64) Doubt
	// Since says what makes a change doubtful that is measured from that time on.
	Since(from int64) Doubt
}

// nobody is the Witness of a Correlator without one.
type nobody struct{}

func (nobody) Between(int64, int64) Doubt { return 0 }
func (nobody) Since(int64) Doubt          { return 0 }

// Doubt is a set of reasons why a figure may not be the true one. The empty set
// means that the figure is certain, as far as reads now and then can tell: memory
// that was taken and given back between two reads stays unseen.
type Doubt uint8

// The reasons.
const (
	// DoubtOneSided: no read came before the moment, or none soon after it.
	DoubtOneSided Doubt = 1 << iota
	// DoubtMoved: the reads around the moment differ. What was in use at the
	// moment lies between them.
	DoubtMoved
	// DoubtPhases: the reads around the moment are the same, but a phase of the
	// process began and ended between them.
	DoubtPhases
	// DoubtThreads: another thread of the process was in a phase meanwhile.
	DoubtThreads
	// DoubtProcesses: another process on the device took or freed memory
	// meanwhile, or it is not known that none did.
	DoubtProcesses
)

const (
	// DoubtReads are the reasons that lie in the reads: the figure is approximate.
	DoubtReads = DoubtOneSided | DoubtMoved | DoubtPhases
	// DoubtShared are the reasons that lie in others: the figure is not of this
	// phase alone.
	DoubtShared = DoubtThreads | DoubtProcesses
)

// doubtWords are in the order of the bits.
var doubtWords = [...]string{"one_sided", "reads_differ", "phases_between", "other_threads", "other_processes"}

// All calls yield with the word of each reason in the set, as output has them.
func (d Doubt) All(yield func(string) bool) {
	for i, word := range doubtWords {
		if d&(1<<i) != 0 && !yield(word) {
			return
		}
	}
}

// DoubtOf returns the reason with that word, 0 for a word it does not know.
func DoubtOf(word string) Doubt {
	for i := range doubtWords {
		if doubtWords[i] == word {
			return 1 << i
		}
	}
	return 0
}
