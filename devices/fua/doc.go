// Package fua decides how a backend serves FUA, as nbdkit does: NONE, where the
// client has to flush, EMULATE, a call and then a flush, or NATIVE, a call with
// the flag. A Backend says what it declares, a Mode what nbdkit's fua filter over
// it does, and Resolve what a connection is promised and which calls each command
// becomes.
//
//	r, err := fua.Resolve(fua.Backend{API: 2, Flush: true}, fua.ModeAbsent, false)
//	fmt.Println(r.FUA, r.WriteFUA) // true pwrite;flush
//
// NewDevice carries that out on a device that takes the calls. The rules are those
// of nbdkit 1.32 (server/plugins.c, server/backend.c, filters/fua/fua.c), and
// internal/interop compares them with nbdkit itself.
package fua
