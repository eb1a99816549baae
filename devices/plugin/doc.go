// Package plugin has backends with the interface of nbdkit's plugins: a Plugin opens a
// Conn for each connection, whose functions read, write and flush, and whose Can
// functions declare what the backend can do, above all whether its FUA is none,
// emulated or native.
package plugin
