// Package honesty says whether a real drive kept its promises over a real power cut.
//
//	nbdbench honesty listen   on a machine that keeps its power: a Listener
//	nbdbench honesty write    on the machine that loses it: Write
//	nbdbench honesty verify   there, once it is back: Verify
//
// The writer numbers the versions of each unit of UnitSize bytes. Before it writes a
// version it sends the listener an intent, and waits until that is stored. When the
// device has acknowledged the durable write (a FUA write, or a FLUSH after writes), it
// sends a promise. A promise counts once the listener has stored it, so one on its way
// when the power goes is not counted.
//
// After the cut a unit may hold any version from its last promise to its last intent.
// An older one is a broken promise. Within a unit each sector says which version it is
// of: a unit of several such versions is torn, which is no broken promise.
//
// # Protocol
//
// Lines of at most MaxLine bytes over TCP. The listener sends
//
//	nbdbench-honesty 1 CHALLENGE
//
// and the client "write PROOF" or "read PROOF", where the proof is the hexadecimal
// HMAC-SHA256 of the mode and the challenge, keyed by the token: the token itself is not
// sent. What follows is neither encrypted nor authenticated line by line: the listener
// is for a network that is trusted. It answers "ok" or "no REASON". A writer then sends
// the lines of a record without their times, and "sync N" after some of them, which the
// listener answers with "stored N" once they are in its file. A reader is sent the
// record's lines, and "end".
//
// # Record
//
// A record is a file of lines, which only grows:
//
//	nbdbench-honesty-record 1
//	TIME start SESSION UNITS SECTOR DEVICE
//	TIME intent UNIT VERSION
//	TIME promise UNIT VERSION METHOD
//	TIME stop
//
// TIME is the listener's clock in nanoseconds since 1970. A start begins a session: all
// units were written and flushed as version 0. Lines are of the session before them.
//
// This package is a real-time shell: it talks over sockets and writes to a real drive.
package honesty
