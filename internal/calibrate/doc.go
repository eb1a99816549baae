// Package calibrate holds device profiles against measurements. CheckDevices asks each
// profile what was published about its drive. Fit makes a profile of what it measured
// on an NBD export, a file or a block device. FlushChart draws what a FLUSH costs after
// so much dirty data.
package calibrate
