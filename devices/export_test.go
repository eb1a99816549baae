package devices

// The deliberate defects of a Cache, for tests of the tests.
const (
	FaultNone                   = faultNone
	FaultStaleCopyAfterFUA      = faultStaleCopyAfterFUA
	FaultOldFlightLandsAfterFUA = faultOldFlightLandsAfterFUA
	FaultFlushMissesFlights     = faultFlushMissesFlights
	FaultFlushForgetsZeroes     = faultFlushForgetsZeroes
	FaultOverwriteForgets       = faultOverwriteForgets
	FaultFlightsOvertake        = faultFlightsOvertake
)

// Fault is a deliberate defect.
type Fault = fault

// Break gives c a defect.
func Break(c *Cache, f Fault) { c.fault = f }
