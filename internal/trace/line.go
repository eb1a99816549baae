package trace

import (
	"math"
	"time"
)

// cursor goes through a line. The first thing that is wrong stays.
type cursor struct {
	line []byte
	at   int
}

func blank(c byte) bool { return c == ' ' || c == '\t' }

// word is the next word between blanks, and where it begins.
func (c *cursor) word() ([]byte, int) {
	for c.at < len(c.line) && blank(c.line[c.at]) {
		c.at++
	}
	from := c.at
	for c.at < len(c.line) && !blank(c.line[c.at]) {
		c.at++
	}
	return c.line[from:c.at], from
}

// field is what comes before the next comma, and where it begins.
func (c *cursor) field() ([]byte, int) {
	from := c.at
	for c.at < len(c.line) && c.line[c.at] != ',' {
		c.at++
	}
	out := c.line[from:c.at]
	if c.at < len(c.line) {
		c.at++
	}
	return out, from
}

// decimal reads only digits; an empty word is none.
func decimal(b []byte) (n uint64, ok bool) {
	for _, c := range b {
		if c < '0' || c > '9' || n > (math.MaxUint64-9)/10 {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return n, len(b) > 0
}

// hexadecimal reads 0x and digits.
func hexadecimal(b []byte) (n uint64, ok bool) {
	if len(b) < 3 || len(b) > 18 || b[0] != '0' || b[1] != 'x' {
		return 0, false
	}
	for _, c := range b[2:] {
		switch {
		case c >= '0' && c <= '9':
			n = n<<4 | uint64(c-'0')
		case c >= 'a' && c <= 'f':
			n = n<<4 | uint64(c-'a'+10)
		default:
			return 0, false
		}
	}
	return n, true
}

// maxSeconds bounds times, so that sums of them fit.
const maxSeconds = 1 << 33

// seconds reads SECONDS or SECONDS.FRACTION, of up to nine digits that matter.
func seconds(b []byte) (time.Duration, bool) {
	dot := len(b)
	for i, c := range b {
		if c == '.' {
			dot = i
			break
		}
	}
	whole, ok := decimal(b[:dot])
	if !ok || whole > maxSeconds {
		return 0, false
	}
	nanos, scale := uint64(0), uint64(1e9)
	for i := dot + 1; i < len(b); i++ {
		if b[i] < '0' || b[i] > '9' {
			return 0, false
		}
		if scale /= 10; scale > 0 {
			nanos += uint64(b[i]-'0') * scale
		}
	}
	if dot == len(b)-1 {
		return 0, false
	}
	return time.Duration(whole*1e9 + nanos), true
}

// ticks reads a number of that many nanoseconds each.
func ticks(b []byte, each uint64) (time.Duration, bool) {
	n, ok := decimal(b)
	if !ok || n > maxSeconds*1e9/each {
		return 0, false
	}
	return time.Duration(n * each), true
}

// sectors are 512 bytes each.
func sectors(b []byte) (uint64, bool) {
	n, ok := decimal(b)
	return n * 512, ok && n <= MaxOffset/512
}
