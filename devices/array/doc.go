// Package array has devices that are made of devices: a mirror, a stripe and a RAID 5
// by the rules of Linux' md, and a fast log device beside a pool.
//
// An [Array] splits each request among its members, which are simulated devices of any
// kind, arrays as well. All of them run on one loop. What the array says of itself
// follows from what they say:
//
//   - Its size is that of the smallest member, times those that hold data.
//   - FUA is native if it is of every member, and its cache is volatile if that of any
//     member is.
//   - FLUSH goes to all members at once and ends with the last one.
//   - TRIM and WRITE_ZEROES go to every leg of a mirror, are split by a stripe, and are
//     not offered by a RAID 5 or a log.
//   - The stages of a request are those of the member that ended last, of each step that
//     the request takes.
//
// # Members that fail
//
// A member that fails a command is dropped from a mirror or a RAID 5 as long as the others
// hold all data, and the command succeeds if they carried it out. CutMember is a member
// that loses its power alone: its cache is lost and it is dropped. A dropped member gets
// no commands. What it lacks since then is noted by pages, as md's write-intent bitmap
// does, and Resync writes that before the member counts again.
//
// # Where the data is
//
// The first leg of a mirror keeps the medium that the array was given, and the members of
// a stripe or of a RAID 5 are windows of it. So the medium of an array can be kept, looked
// at and opened again as that of any device. Parity is beside it, and after a restart it
// is what the data makes it, as after md's resync. The legs of a mirror begin as copies of
// the first.
//
// # Power cuts
//
// Cut takes all members at one instant. Of a mirror the first leg that is not dropped
// answers afterwards. Writes of overlapping ranges go to the legs of a mirror, and to the
// members of a RAID 5, one after another, so that all members end with the same one.
//
// A RAID 5 has no journal: a cut between the write of data and that of parity leaves a
// row of which the parity is wrong. Nothing is lost by that alone. If a member is lost at
// the same time, what it held in that row cannot be computed: the write hole. See
// CutWithout.
package array
