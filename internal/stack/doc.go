// Package stack connects the layers that serve a workload: the client side of a
// strategy, the wire, and the server. Runs and crash tests share it.
//
// From the outside in, a stack in virtual time is
//
//	the client side of the strategy    devices/layer
//	OnWire                             inserted by the caller, such as a recorder
//	nbd.Client ~ link ~ nbd.ServerConn
//	Served                             inserted by the caller, such as a judge
//	the server side of the strategy    devices/layer
//	the device
//
// with, for each proxy of Hops between client and server, from its server to the client's
// side of the next, the same again in place of the device:
//
//	the client side of the proxy's strategy, at who is before it
//	nbd.Client ~ the proxy's link ~ nbd.ServerConn
//	the server side of the proxy's strategy
//	InHop                              inserted by the caller
//
// all on one sim.Loop. In real time a socket replaces the link. The package therefore
// also has what every workload over a socket needs: connecting to a target, waiting for
// a workload with a time limit, and the reasons that make a run invalid.
package stack
