// Package crash cuts the power of simulated devices, many times, and says what
// survives.
//
// A Cell is a workload on a device under a strategy. Its runs are ordinary runs
// in virtual time. At a cut two sets of images are judged:
//
//   - what the device would leave: its medium, with any of the atomic units that
//     were on their way to it. This shows whether the device keeps its promises;
//   - what its contract allows: for each sector any version that the rules of
//     package history leave, from the requests and replies at the device alone.
//     It contains the first set if the device is sound, and shows whether the
//     strategy and the application are, on any such device.
//
// Three judges look at them. The wire's (history.Judge) and the application's
// (history.Ledger) look at each sector by itself, so that trying every version
// of every sector decides them for all images at once. The workload's invariant
// relates sectors: for it images are built, all of them where there are at most
// MaxImages, else corner images and seeded random ones. Only sectors that the
// invariant reads are varied for that; others cannot change its verdict.
//
// Cuts are after events of the run's loop, of which the state changes between
// two no more: with as many cuts as events, every moment is covered.
//
// A violation is shrunk to the shortest history that still shows it: first the
// commits, then depth and connections, then single requests, by delta debugging
// (Zeller and Hildebrandt 2002); the others are answered without reaching the
// device. What is left is printed with the command that replays it.
package crash
