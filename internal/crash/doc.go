// Package crash cuts the power of simulated devices many times and checks what
// survives.
//
// A Cell is a workload on a device under a strategy. Its runs are ordinary runs in
// virtual time. At each cut two sets of images are checked:
//
//   - the images that the device could leave: its medium with any of the atomic units in
//     flight. They show whether the device keeps its promises;
//   - the images that its contract allows: for each sector any version that the rules of
//     package history permit, given only the requests and replies at the device.
//     If the device is correct they include the first set. They show whether strategy
//     and application are correct on any such device.
//
// Three checkers examine them. The checker at the wire (history.Judge) and that of the
// application (history.Ledger) examine each sector independently, so trying every version
// of every sector decides them for all images at once. The workload's invariant relates
// sectors, so images are built for it: all of them if there are at most MaxImages,
// otherwise corner cases and seeded random ones. Only sectors that the invariant reads
// are varied; others cannot change its result.
//
// Cuts follow events of the run's loop. The state does not change between two events,
// so as many cuts as events cover every moment.
//
// A violation is reduced to the shortest history that still shows it: first the number
// of commits, then depth and connections, then single requests, by delta debugging
// (Zeller and Hildebrandt 2002); removed requests are answered without reaching the
// device. The result is printed with the command that replays it.
package crash
