package torture

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"nbdbench/internal/stack"
	"nbdbench/internal/text"
)

// The statuses of a check.
const (
	statusKept    = 0
	statusLost    = 1
	statusCorrupt = 2
)

// report is what a check said: its status, and lines such as "lost=3" and "torn=1".
type report struct {
	status     int
	lost, torn int
	said       string
}

// maxSaid bounds what is kept of a program's output, in bytes: its end.
const maxSaid = 16 << 10

// newReport reads what a check printed.
func newReport(status int, said []byte) report {
	r := report{status: status, said: string(said)}
	for line := range strings.Lines(r.said) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		n, err := strconv.Atoi(value)
		switch {
		case err != nil || n < 0:
		case key == "lost":
			r.lost = n
		case key == "torn":
			r.torn = n
		}
	}
	return r
}

// outcome is what a status says of a cut. One that says nothing is an error.
func (r report) outcome() (Outcome, error) {
	switch r.status {
	case statusKept:
		return Kept, nil
	case statusLost:
		return Lost, nil
	case statusCorrupt:
		return Corrupt, nil
	}
	return 0, fmt.Errorf("%w: --check ended with status %d, expected 0 (kept), 1 (lost) or 2 (corrupt)%s", stack.ErrInvalid, r.status, quoted(r.said))
}

// quoted is the end of what a program wrote, for an error.
func quoted(said string) string {
	var lines []string
	for line := range strings.Lines(said) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, text.Line(line))
		}
	}
	if len(lines) == 0 {
		return ""
	}
	return "; it wrote: " + strings.Join(lines[max(0, len(lines)-6):], "; ")
}

// tail keeps the end of what is written to it.
type tail struct{ bytes.Buffer }

// Write never fails.
func (t *tail) Write(b []byte) (int, error) {
	t.Buffer.Write(b[max(0, len(b)-maxSaid):])
	if over := t.Len() - 2*maxSaid; over > 0 {
		t.Next(over + maxSaid)
	}
	return len(b), nil
}

// arrival says up to which byte acknowledgements had arrived, and when.
type arrival struct {
	end int
	at  time.Duration
}

// journal are acknowledgements in the order of their arrival.
type journal struct {
	data     []byte
	arrivals []arrival
}

// add adds what arrived at an instant, which does not go back.
func (j *journal) add(b []byte, at time.Duration) {
	j.data = append(j.data, b...)
	j.arrivals = append(j.arrivals, arrival{len(j.data), at})
}

// clone is the journal of this moment. It shares its bytes, which do not change.
func (j *journal) clone() journal {
	return journal{j.data[:len(j.data):len(j.data)], j.arrivals[:len(j.arrivals):len(j.arrivals)]}
}

// lines is how many acknowledgements there are.
func (j *journal) lines() int { return bytes.Count(j.data, []byte{'\n'}) }

// until are the whole lines that had arrived by an instant.
func (j *journal) until(at time.Duration) []byte {
	end := 0
	for _, a := range j.arrivals {
		if a.at > at {
			break
		}
		end = a.end
	}
	return j.data[:bytes.LastIndexByte(j.data[:end], '\n')+1]
}

// window is how long before an instant the oldest of the n newest lines arrived.
func (j *journal) window(n int, at time.Duration) time.Duration {
	n = min(n, j.lines())
	if n == 0 {
		return 0
	}
	end := len(j.data)
	for range n {
		end = bytes.LastIndexByte(j.data[:end], '\n')
	}
	for _, a := range j.arrivals {
		if a.end > end {
			return at - a.at
		}
	}
	return 0
}
