// Package stack wires a workload's device: what a server does for a strategy, the
// wire, and what the client does for it. Runs and crash tests share it.
//
// From the outside in, a stack in virtual time is
//
//	the client side of the strategy    devices/layer
//	OnWire                             what the caller puts there, as a recorder
//	nbd.Client ~ link ~ nbd.ServerConn
//	Served                             what the caller puts there, as a judge
//	the server side of the strategy    devices/layer
//	the device
//
// all on one sim.Loop. In real time a socket stands in place of the link. For that the
// package has what all who drive a workload through a socket need: how to connect to a
// target, how long to wait for a workload, and why the figures of a run are not valid.
package stack
