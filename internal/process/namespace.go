// SPDX-License-Identifier: Apache-2.0

package process

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Namespace is one namespace of a process.
type Namespace struct {
	Inode uint64 // what /proc/PID/ns/… shows in brackets
	Dev   uint64 // device of that inode; together they name the namespace uniquely
	Ours  bool   // this process is in the same one
}

// Namespaces are those of a process that matter to a tracer.
type Namespaces struct {
	PID, Mount, User Namespace
}

// Container reports whether the process numbers processes, names files or maps
// users in another way than we do.
func (n Namespaces) Container() bool { return !n.PID.Ours || !n.Mount.Ours || !n.User.Ours }

// Namespaces returns the namespaces that the process is in.
func (p *Process) Namespaces() (Namespaces, error) {
	var all Namespaces
	prefix, err := p.memoryDir() // a main thread that has ended is in none
	if err != nil {
		return all, err
	}
	for name, ns := range map[string]*Namespace{"pid": &all.PID, "mnt": &all.Mount, "user": &all.User} {
		theirs, err := p.dir.stat(prefix + "ns/" + name)
		if errors.Is(err, unix.ENOENT) && p.Alive() == nil {
			continue // a kernel without this kind of namespace
		}
		if err != nil {
			return all, p.fail("read the namespaces", err)
		}
		var ours unix.Stat_t
		if err := unix.Stat("/proc/thread-self/ns/"+name, &ours); err != nil {
			return all, fmt.Errorf("read our own %s namespace: %w", name, err)
		}
		ns.Inode, ns.Dev = theirs.Ino, uint64(theirs.Dev)
		ns.Ours = fileIDOf(&theirs) == fileIDOf(&ours)
	}
	return all, nil
}
