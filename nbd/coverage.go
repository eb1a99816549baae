package nbd

import "slices"

// maxSpans bounds the parts of one READ that have come and do not touch: chunks
// in ascending order need one, and whatever the order a server would have to
// leave a thousand gaps at once to need more.
const maxSpans = 1024

// span is bytes of the device, up to but not including to.
type span struct{ from, to uint64 }

// coverage is the parts of a READ that have come: in order, apart from each other.
// It keeps its memory for the next READ.
type coverage []span

// add takes note of n bytes at an offset. "Structured reply types",
// OFFSET_DATA: chunks MUST NOT overlap, and MAY come in any order.
func (c *coverage) add(offset, n uint64) error {
	s, end := *c, offset+n
	if last := len(s) - 1; last >= 0 && s[last].to == offset {
		s[last].to = end // in ascending order
		return nil
	}
	i, _ := slices.BinarySearchFunc(s, offset, func(s span, at uint64) int {
		if s.to <= at {
			return -1
		}
		return 1
	}) // the first that ends behind offset
	switch {
	case i < len(s) && s[i].from < end:
		return violation("a READ's chunks do not overlap", "%d bytes at %d, after %d at %d", n, offset, s[i].to-s[i].from, s[i].from)
	case i > 0 && s[i-1].to == offset && i < len(s) && s[i].from == end:
		s[i-1].to = s[i].to
		*c = slices.Delete(s, i, i+1)
	case i > 0 && s[i-1].to == offset:
		s[i-1].to = end
	case i < len(s) && s[i].from == end:
		s[i].from = offset
	case len(s) == maxSpans:
		return violation("a READ's chunks leave few gaps", "more than %d", maxSpans)
	default:
		*c = slices.Insert(s, i, span{offset, end})
	}
	return nil
}
