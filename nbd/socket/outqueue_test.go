package socket

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strconv"
	"testing"

	"nbdbench/internal/buffer"
	"nbdbench/nbd"
)

// stuck is a connection that takes nothing until the test says so.
type stuck struct {
	net.Conn
	bytes.Buffer
	err error
}

func (s *stuck) Write(b []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	return s.Buffer.Write(b)
}

func (s *stuck) Read([]byte) (int, error) { return 0, io.EOF }
func (s *stuck) Close() error             { return nil }

// queued pushes n messages, of which every third has data.
func queued(t *testing.T, to *stuck, n int) (q *outQueue, sum *freed) {
	real := newReal(t)
	q, sum = newOutQueue(to), &freed{}
	q.freed = func(f freed) {
		sum.messages, sum.reserved, sum.bytes = sum.messages+f.messages, sum.reserved+f.reserved, sum.bytes+f.bytes
	}
	real.Do(func() {
		for i := range n {
			m := message{size: 4, hold: nbd.Hold{Bytes: 10, Reserved: i%2 == 0}}
			binary.BigEndian.PutUint32(m.header[:], uint32(i))
			if i%3 == 0 {
				m.data = []byte{1, 2, 3}
			}
			q.push(&m, real)
		}
	})
	return q, sum
}

// TestAQueueKeepsTheOrder and gives back what each message held, however many wait.
func TestAQueueKeepsTheOrder(t *testing.T) {
	for _, n := range []int{1, slabSize - 1, slabSize, slabSize + 1, maxBatch, maxBatch + 1, 10*maxBatch + 7} {
		to := &stuck{}
		q, sum := queued(t, to, n)
		q.drain()
		for i := range n {
			if got := binary.BigEndian.Uint32(to.Next(4)); got != uint32(i) {
				t.Fatalf("of %d: %d came in place of %d", n, got, i)
			}
			if i%3 == 0 && !bytes.Equal(to.Next(3), []byte{1, 2, 3}) {
				t.Fatalf("of %d: the data of %d is another's", n, i)
			}
		}
		if want := (freed{n, (n + 1) / 2, int64(10 * n)}); *sum != want || to.Len() > 0 || q.work.Left() != 0 {
			t.Errorf("of %d: gave back %+v, expected %+v; %d bytes too many, backlog %d", n, *sum, want, to.Len(), q.work.Left())
		}
	}
}

// TestAQueueThatFailsGivesEverythingBack, what is pushed later too.
func TestAQueueThatFailsGivesEverythingBack(t *testing.T) {
	const n = 3*maxBatch + 5
	to := &stuck{err: errors.New("gone")}
	q, sum := queued(t, to, n)
	q.drain()
	real := newReal(t)
	real.Do(func() { q.push(&message{size: 4, hold: nbd.Hold{Buffer: buffer.Get(1), Bytes: 10}}, real) })
	if sum.messages != n+1 || sum.bytes != 10*(n+1) || q.work.Left() != 0 {
		t.Errorf("gave back %+v of %d, backlog %d", *sum, n+1, q.work.Left())
	}
}

// TestAnEmptyQueueRefersToNothing: its buffers can be freed.
func TestAnEmptyQueueRefersToNothing(t *testing.T) {
	q, _ := queued(t, &stuck{}, slabSize)
	q.drain()
	if q.first != nil || q.last != nil || q.batch != nil {
		t.Error("it has slabs")
	}
	for i, p := range q.short.pieces[:cap(q.short.pieces)] {
		if p != nil {
			t.Errorf("piece %d is left", i)
		}
	}
}

// BenchmarkQueue is the cost of one message while so many others wait.
func BenchmarkQueue(b *testing.B) {
	for _, n := range []int{1, 32, 1024, 100_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			real := newReal(b)
			q := newOutQueue(&discards{})
			q.raw = nil
			m := message{size: nbd.ReplySize}
			b.ReportAllocs()
			for i := 0; i < b.N; i += n {
				real.Do(func() {
					for range n {
						q.push(&m, real)
					}
				})
				q.drain()
			}
		})
	}
}

// discards is a connection that takes everything.
type discards struct{ stuck }

func (d *discards) Write(b []byte) (int, error) { return len(b), nil }
