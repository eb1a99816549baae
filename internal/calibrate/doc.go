// Package calibrate compares device profiles with measurements. CheckDevices compares
// each profile with published figures of its drive. Fit makes a profile from
// measurements of an NBD export, a file or a block device. FlushChart draws the time of
// a FLUSH as a function of the amount of dirty data.
package calibrate
