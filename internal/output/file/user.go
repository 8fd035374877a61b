// SPDX-License-Identifier: Apache-2.0

package file

import "strconv"

// user is the user for whom the output is made.
type user struct {
	euid int // of this process
	// uid and gid are the user's who called sudo; without sudo uid is euid and
	// give is false.
	uid, gid int
	give     bool
}

// invoker finds out for whom to create files. getenv is os.Getenv.
func invoker(euid int, getenv func(string) string) user {
	u := user{euid: euid, uid: euid, gid: -1}
	if euid != 0 {
		return u
	}
	uid, err := strconv.ParseUint(getenv("SUDO_UID"), 10, 31)
	if err != nil {
		return u
	}
	u.uid, u.give = int(uid), true
	if gid, err := strconv.ParseUint(getenv("SUDO_GID"), 10, 31); err == nil {
		u.gid = int(gid)
	}
	return u
}

// trusts reports whether that user's names and files can be trusted: root's, this
// process's own, and under sudo the invoking user's. Anybody else may plant a
// name to get something overwritten.
func (u user) trusts(uid uint32) bool {
	return int64(uid) == int64(u.euid) || int64(uid) == int64(u.uid) || uid == 0
}

// lends reports whether that user is the invoking one, with fewer rights than
// this process has: a link of theirs must not reach further than they do.
func (u user) lends(uid uint32) bool {
	return u.give && u.uid != u.euid && int64(uid) == int64(u.uid)
}
