// Package sh makes a plugin of a script that speaks the protocol of nbdkit's sh
// plugin (nbdkit-sh-plugin(3)): the script, or any program, is run once for each
// method, with the method's name and arguments.
//
//	s, err := sh.Load(ctx, sh.Options{Path: "./plugin.sh", Args: []string{"file=disk.img"}})
//	...
//	defer s.Unload()
//	serve(s.Plugin())
//
// The reference is nbdkit 1.32.5, and tests run the same scripts under both.
// Differences:
//
//   - A method other than pwrite has an empty stdin, where nbdkit leaves a pipe open
//     that nobody writes to.
//   - Answers are bounded (MaxAnswer, MaxList), and a NUL byte in a handle is an error
//     instead of the end of the handle.
//   - preconnect is called with open, so not for a client that only lists exports, and
//     export_description for all clients, not only for those that ask for it.
//   - block_size, is_rotational, can_extents, extents and dump_plugin are not called:
//     a plugin.Conn has no function for them.
//
// A script runs in real time only. Each call is a process group of its own, which is
// killed when the call's context ends. Its process also ends when the server's process
// ends for any reason.
package sh
