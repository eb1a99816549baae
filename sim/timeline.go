package sim

// Timeline is a resource that does one job at a time, first come first served,
// and therefore needs no queue and one event a job: the job's end is known when
// it arrives.
type Timeline struct {
	free Time
	busy Duration
}

// Reserve takes the resource for a job of length service that arrives at now,
// and returns when the job starts and when it is done.
func (t *Timeline) Reserve(now Time, service Duration) (start, done Time) {
	start = max(now, t.free)
	done = start.Add(service)
	t.free = done
	t.busy += service
	return start, done
}

// Free is the instant from which nothing is reserved.
func (t *Timeline) Free() Time { return t.free }

// Busy is the sum of all reservations.
func (t *Timeline) Busy() Duration { return t.busy }

// Link is one direction of a wire: bytes leave one after another at its
// bandwidth and arrive its latency later, in order.
type Link struct {
	latency   Duration
	nsPerByte float64
	sender    Timeline
	bytes     uint64
}

// NewLink returns a link with the given one-way latency and bandwidth in bytes
// per second; bandwidth 0 is unlimited.
func NewLink(latency Duration, bytesPerSecond float64) *Link {
	l := &Link{latency: latency}
	if bytesPerSecond > 0 {
		l.nsPerByte = 1e9 / bytesPerSecond
	}
	return l
}

// Arrival puts a frame of n bytes on the wire at now and returns when its last
// byte arrives.
func (l *Link) Arrival(now Time, n uint64) Time {
	l.bytes += n
	_, sent := l.sender.Reserve(now, Duration(float64(n)*l.nsPerByte))
	return sent.Add(l.latency)
}

// Bytes counts what has been sent.
func (l *Link) Bytes() uint64 { return l.bytes }
