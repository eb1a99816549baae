package hdd

import "nbdbench/sim"

// The intervals that a Watch receives.
const (
	TheArm = theArm
	TheBus = theBus
)

// Resource is what does one job at a time.
type Resource = resource

// Watch calls f for each interval in which the arm or the bus is taken, when it
// begins or before.
func (d *Device) Watch(f func(what Resource, from, to sim.Time)) { d.watch = f }
