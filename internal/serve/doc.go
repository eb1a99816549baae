// Package serve serves simulated devices and plugins in real time, to NBD clients and
// to the kernel: sockets, exports, images and logs, power cuts, and the control socket.
package serve
