// Package plugin has backends as nbdkit has them: a Plugin opens a Conn for each
// connection, whose functions read, write and flush, and whose can functions
// declare what the backend does, above all whether its FUA is none, emulated or
// native.
package plugin
