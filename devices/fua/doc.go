// Package fua decides how a backend serves FUA, as nbdkit does: NONE, where the
// client has to flush, EMULATE, a call and then a flush, or NATIVE, a call with
// the flag. A Backend has the declarations, a Mode is the mode of nbdkit's fua filter,
// and Resolve computes what is advertised on a connection and which backend calls each
// command becomes.
//
//	r, err := fua.Resolve(fua.Backend{API: 2, Flush: true}, fua.ModeAbsent, false)
//	fmt.Println(r.FUA, r.WriteFUA) // true pwrite;flush
//
// NewDevice applies the result to a device that executes the calls. The rules are those
// of nbdkit 1.32 (server/plugins.c, server/backend.c, filters/fua/fua.c), and
// internal/interop compares them with nbdkit itself.
package fua
