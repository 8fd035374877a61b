// SPDX-License-Identifier: Apache-2.0

package file

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

// Why a name is refused.
var (
	errForeignLink = errors.New("a symbolic link that another user could have put there")
	errForeignFile = errors.New("another user's file")
	errHardLink    = errors.New("a file with several names (hard links), one of which another user could have added")
	errLentLink    = errors.New("reached by a link of the invoking user, who may not write there")
	errKernelLink  = errors.New("a link that only the kernel can follow")
	errAppeared    = errors.New("somebody else has created it meanwhile")
	errNotReady    = errors.New("it exists, and no earlier trace has made it")
	errReadOnly    = errors.New("the descriptor is not open for writing")
)

// refusal says which name on the way is refused, and why.
type refusal struct {
	name string
	why  error
	// exposed is the directory in which others could have planted the name; nil
	// if that is not the reason.
	exposed *exposure
}

func (r *refusal) Error() string {
	text := r.name + " is " + r.why.Error()
	if r.exposed != nil {
		text += ", in or below " + r.exposed.dir + ", which " + r.exposed.how
	}
	return text
}

func (r *refusal) Unwrap() error { return r.why }

// noReader says that ctx ended while a pipe was waiting for its reader.
type noReader struct{ ended error }

func (*noReader) Error() string   { return "interrupted before anybody read the pipe" }
func (n *noReader) Unwrap() error { return n.ended }

// exposure is a directory that lets others plant names in it.
type exposure struct {
	dir string
	how string // follows "which"
}

// exposed says how a directory with that owner and mode lets others plant names;
// nil if it does not.
func (u user) exposed(dir string, st *unix.Stat_t) *exposure {
	switch {
	case !u.trusts(st.Uid):
		return &exposure{dir, fmt.Sprintf("belongs to user %d", st.Uid)}
	case st.Mode&unix.S_IWOTH != 0:
		return &exposure{dir, "everybody can write to"}
	case st.Mode&unix.S_IWGRP != 0:
		return &exposure{dir, fmt.Sprintf("group %d can write to", st.Gid)}
	}
	return nil
}

// advised completes an error about a path with what the user can do.
func advised(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w: %s", what, err, advice(err))
}

func advice(err error) string {
	switch {
	case errors.Is(err, errForeignLink), errors.Is(err, errForeignFile), errors.Is(err, errHardLink):
		return "name a file in a directory that only you and root can write to"
	case errors.Is(err, errLentLink), errors.Is(err, errKernelLink):
		return "name the file itself"
	case errors.Is(err, errAppeared), errors.Is(err, errNotReady):
		return "remove it, or choose another name"
	case errors.Is(err, errReadOnly):
		return "redirect it with > instead of <"
	case errors.As(err, new(*noReader)):
		return "start its reader first"
	case errors.Is(err, unix.EBADF):
		return "it is not open"
	case errors.Is(err, unix.ELOOP):
		return "the path has too many symbolic links: name the file itself"
	case errors.Is(err, fs.ErrNotExist):
		return "create the directory first"
	case errors.Is(err, fs.ErrPermission):
		return "name a file in a directory that you may write to"
	case errors.Is(err, unix.EISDIR):
		return "name a file in it"
	case errors.Is(err, unix.ENOTDIR):
		return "one part of the path is a file: name a directory there"
	case errors.Is(err, unix.EROFS), errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return "write to another file system"
	case errors.Is(err, unix.ENAMETOOLONG):
		return "choose a shorter name"
	}
	return "choose another file"
}
