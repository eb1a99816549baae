package socket

import (
	"fmt"
	"slices"
	"strings"
)

// DrainError says that connections were closed before they had drained, and why.
type DrainError struct {
	Clients []Held
	Err     error // why the wait ended
}

// Held is what a client has a server hold.
type Held struct {
	Client   string // its address, or on a Unix socket its process
	Export   string
	InFlight int   // requests that the device has not completed
	Replies  int   // that the client has not read
	Bytes    int64 // of memory
}

// maxListed is how many clients an error names.
const maxListed = 8

func (e *DrainError) Error() string {
	var all []string
	for _, h := range e.Clients[:min(len(e.Clients), maxListed)] {
		all = append(all, h.String())
	}
	if more := len(e.Clients) - maxListed; more > 0 {
		all = append(all, fmt.Sprintf("and %d more", more))
	}
	return fmt.Sprintf("closed before they had drained: %s: %v", strings.Join(all, "; "), e.Err)
}

// Unwrap returns why the wait ended.
func (e *DrainError) Unwrap() error { return e.Err }

func (h Held) String() string {
	return fmt.Sprintf("client %s of export %q with %d requests in flight and %d replies not read, %d KiB", h.Client, h.Export, h.InFlight, h.Replies, h.Bytes>>10)
}

// holding is what k holds now, and whether that is anything. It belongs to the
// loop.
func (k *serverSocket) holding() (h Held, any bool) {
	h = Held{Client: k.client, Bytes: k.held.Load()}
	if k.sc == nil {
		return h, false
	}
	h.Export, h.InFlight = k.export.Name, k.sc.InFlight()
	h.Replies = max(int(k.requests.Load())-h.InFlight, 0)
	return h, h.InFlight > 0 || h.Replies > 0
}

// undrained are the clients among conns that hold something, the greatest first.
func (s *Server) undrained(conns []*serverSocket) (out []Held) {
	s.real.Do(func() {
		for _, k := range conns {
			if h, any := k.holding(); any {
				out = append(out, h)
			}
		}
	})
	slices.SortFunc(out, func(a, b Held) int { return int(b.Bytes - a.Bytes) })
	return out
}
