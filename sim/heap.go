package sim

// entry is one place in the heap. The key is repeated here so that ordering
// does not follow the pointer.
type entry struct {
	when Time
	seq  uint64
	t    *Timer
}

func (e entry) before(f entry) bool {
	return e.when < f.when || (e.when == f.when && e.seq < f.seq)
}

// heap is a 4-ary min-heap: half the depth of a binary one, and the four
// children of a node lie beside each other.
type heap []entry

const arity = 4

func (h *heap) push(e entry) {
	*h = append(*h, e)
	h.up(len(*h)-1, e)
}

func (h *heap) pop() *Timer {
	t := (*h)[0].t
	h.remove(0)
	return t
}

// remove takes the entry at i out and makes its timer idle.
func (h *heap) remove(i int) {
	old := *h
	old[i].t.pos = 0
	n := len(old) - 1
	last := old[n]
	old[n] = entry{}
	*h = old[:n]
	if i < n {
		h.fix(i, last)
	}
}

// fix puts e at i and restores the order around it.
func (h *heap) fix(i int, e entry) {
	if i > 0 && e.before((*h)[(i-1)/arity]) {
		h.up(i, e)
		return
	}
	h.down(i, e)
}

func (h *heap) up(i int, e entry) {
	s := *h
	for i > 0 {
		parent := (i - 1) / arity
		if !e.before(s[parent]) {
			break
		}
		s[i] = s[parent]
		s[i].t.pos = int32(i + 1)
		i = parent
	}
	s[i] = e
	e.t.pos = int32(i + 1)
}

func (h *heap) down(i int, e entry) {
	s := *h
	for {
		first := i*arity + 1
		if first >= len(s) {
			break
		}
		least := first
		for c := first + 1; c < min(first+arity, len(s)); c++ {
			if s[c].before(s[least]) {
				least = c
			}
		}
		if !s[least].before(e) {
			break
		}
		s[i] = s[least]
		s[i].t.pos = int32(i + 1)
		i = least
	}
	s[i] = e
	e.t.pos = int32(i + 1)
}
