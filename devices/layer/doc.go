// Package layer has the strategies, the places where a write can be made durable,
// and other wrappers. Each is a Device around a Device, and works on either side of the
// wire.
//
//	strategy, ok := layer.Lookup("none-grouped")
//	export, err := strategy.Server(ssd, layer.Options{Loop: loop})   // the exported device
//	client, err := strategy.Client(remote, layer.Options{Loop: loop}) // the application's device
//
// Without a wire, remote is export. A strategy that the device cannot execute is an
// *Unsupported error, never a silent emulation.
//
// The server sides are nbdkit's fuamodes, which devices/fua resolves and executes, and
// emulate-grouped, which nbdkit does not have. A fuamode is not a strategy: it emulates
// FUA on some devices where the strategy of the same name is unsupported.
//
// # Cost
//
// A command that a layer does not change is forwarded as the same request, without
// interception. A layer that changes a command submits a child request from a Freelist.
// The time of the child is added to the parent, so the stages of the parent still sum
// to its latency. Time between two children is charged to the queue of the layer's side.
//
// # Semantics shared by all layers
//
// FUA on a command that modifies nothing has no effect and is forwarded; see
// devices.Request.Durable. MultiConn is that of the inner device: no layer holds data,
// so the inner device decides which connections a FLUSH or FUA covers. A shared flush
// has the connection, stream and transaction of the first request that waits for it, so
// its time is split into media and flush_others as for that request.
package layer
