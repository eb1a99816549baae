package array

import "nbdbench/devices"

// logInfo is what a pool with a log says of itself.
func (c *Config) logInfo(members []devices.Info) devices.Info { return members[1] }
