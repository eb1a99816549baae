// Package layer has the strategies, the places where durability can be made,
// and the other one-word wrappers. Each is a Device around a Device and serves
// on either side of the wire.
//
//	strategy, ok := layer.Lookup("none-grouped")
//	export, err := strategy.Server(ssd, layer.Options{Loop: loop})   // what the server serves
//	client, err := strategy.Client(remote, layer.Options{Loop: loop}) // what the application sees
//
// Without a wire, remote is export. A strategy that the device cannot carry
// out is an *Unsupported error, never a silent emulation.
//
// The server's halves are nbdkit's fuamodes, decided and carried out by
// devices/fua; that of emulate-grouped, which nbdkit does not have, is here. A
// fuamode is not a strategy: it has some devices' FUA emulated where the strategy
// of the same name is unsupported.
//
// # Cost
//
// A command that a layer has nothing to do with is forwarded as it is: the same
// request, no interception. A layer that has to change a command submits a
// child on its behalf, from a Freelist, and the parent absorbs the time of the
// child, so that the stages of the parent still sum to its latency. What passes
// between two children is charged to the queue of the layer's side.
//
// # Semantics shared by all layers
//
// FUA on a command that modifies nothing means nothing and is forwarded; see
// devices.Request.Durable. MultiConn is the inner device's: no layer keeps data,
// so what a FLUSH or FUA on one connection holds for is decided below. A shared
// flush bears the connection, stream and transaction of the first that waits
// for it, so the split of its time between media and flush_others is that one's.
package layer
