package tracefit

import (
	"math"
	"math/bits"
	"time"
)

const (
	gapParts = 16 // buckets to twice a time
	gapCount = 64 * gapParts
)

// gaps is a histogram of the times between requests, with the sum in each bucket.
type gaps struct {
	n       [gapCount]uint64
	sum     [gapCount]float64 // seconds
	count   uint64
	total   float64
	squares float64
}

func (g *gaps) add(d time.Duration) {
	x := d.Seconds()
	i := gapBucket(d)
	g.n[i]++
	g.sum[i] += x
	g.count++
	g.total += x
	g.squares += x * x
}

// gapBucket is the bucket of a time: gapParts to a power of two of nanoseconds.
func gapBucket(d time.Duration) int {
	if d < gapParts {
		return int(max(d, 0))
	}
	top := bits.Len64(uint64(d)) - 1
	return top*gapParts + int(uint64(d)>>(top-4))&(gapParts-1)
}

func (g *gaps) mean() float64 { return g.total / float64(max(g.count, 1)) }

// cv is the coefficient of variation: 0 of even times, 1 of independent arrivals.
func (g *gaps) cv() float64 {
	m := g.mean()
	if m == 0 {
		return 0
	}
	return math.Sqrt(max(g.squares/float64(g.count)-m*m, 0)) / m
}

// bursts are alternating times with and without requests.
type bursts struct {
	on, off time.Duration
	rate    float64 // a second, while they are on
}

// farApart is by how many mean gaps within a burst two of them are apart: of independent
// arrivals one gap in 20,000 is as long.
const farApart = 10

// bursts finds the gap from which on two requests are of different bursts: farApart times
// the mean of all shorter ones. It begins with all of them, and comes down. ok is false
// where no gap is as long, or bursts are of one request or two.
func (g *gaps) bursts() (b bursts, ok bool) {
	short, sum, n := gapCount, g.total, g.count
	for {
		edge := gapBucket(time.Duration(farApart * sum / float64(max(n, 1)) * 1e9))
		if edge >= short {
			break
		}
		short, sum, n = edge, 0, 0
		for i := range short {
			sum += g.sum[i]
			n += g.n[i]
		}
		if n == 0 {
			return b, false
		}
	}
	long := g.count - n
	if long < 2 || n < 3*long || sum == 0 {
		return b, false
	}
	each := sum / float64(long+1)
	b = bursts{on: seconds(each), off: seconds((g.total - sum) / float64(long)), rate: float64(n) / sum}
	return b, b.on > 0 && b.off > 0
}

func seconds(s float64) time.Duration { return time.Duration(math.Round(s * 1e9)) }
