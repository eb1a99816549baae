package nbd

import "nbdbench/devices"

// Multi is several connections to one export as one device. A request goes by
// connection r.Conn, modulo their number. A FLUSH covers what other connections
// wrote only if Info says MultiConn.
type Multi []*Client

// Info is the first connection's.
func (m Multi) Info() devices.Info { return m[0].Info() }

// Submit sends r by its connection.
func (m Multi) Submit(r *devices.Request) { m[int(r.Conn)%len(m)].Submit(r) }

// Counts are the commands that were sent.
func (m Multi) Counts() (sum Counts) {
	for _, c := range m {
		sum.Add(c.Counts())
	}
	return sum
}
