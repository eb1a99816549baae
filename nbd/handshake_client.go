package nbd

import (
	"encoding/binary"
	"errors"
	"math/bits"
)

// ClientOptions are what a client asks for beyond the plain protocol. It goes on
// without what the server does not have, except for TLS.
type ClientOptions struct {
	Structured bool // replies in chunks
	Extended   bool // headers of 64 bits, else Structured
	Allocation bool // base:allocation, for BLOCK_STATUS; with Structured or Extended
	TLS        bool // before anything else, or not at all
}

// ClientHandshake is the client's end of the newstyle negotiation. It asks by
// GO, and falls back to EXPORT_NAME where the server does not know GO.
type ClientHandshake struct {
	handshake
	purpose Option // GO, INFO or LIST
	name    string
	options ClientOptions

	greeted  bool
	noZeroes bool
	plan     []Option // what is yet to be asked
	asked    Option
	replies  int
	known    bool // the server has sent INFO_EXPORT
	export   ExportInfo
	listed   []Listed
}

// Listed is an export that a server named in answer to LIST.
type Listed struct {
	Name        string
	Description string // for people to read
}

// NewClientHandshake asks, by GO to use the export of this name, by INFO to be
// get its information, or by LIST which exports there are. The empty name is the
// default export's. It waits for the server to greet.
func NewClientHandshake(purpose Option, name string) *ClientHandshake {
	return &ClientHandshake{purpose: purpose, name: name, export: ExportInfo{
		Name: name, MinBlock: 1, PreferredBlock: 4096, MaxPayload: DefaultMaxPayload,
	}}
}

// Export is what the server said about the export.
func (h *ClientHandshake) Export() ExportInfo { return h.export }

// Wish sets what is asked for; it comes before the first Feed.
func (h *ClientHandshake) SetOptions(o ClientOptions) { h.options = o }

// Listed are the exports that the server listed.
func (h *ClientHandshake) Listed() []Listed { return h.listed }

// Names are the names of these.
func (h *ClientHandshake) Names() (names []string) {
	for _, l := range h.listed {
		names = append(names, l.Name)
	}
	return names
}

// Awaited is what the server is to send next, in words.
func (h *ClientHandshake) Awaited() string {
	switch {
	case !h.greeted:
		return "greeting"
	case h.upgrade || h.asked == OptStartTLS:
		return "TLS handshake"
	}
	return "reply to " + h.asked.String()
}

// CheckRest refuses what a server sends after the handshake before it is asked.
func (h *ClientHandshake) CheckRest() error {
	if n := len(h.Rest()); n > 0 {
		return violation("a server is silent until it is asked", "%d bytes", n)
	}
	return nil
}

// Secured says that TLS has begun, as Upgrade asked for. The negotiation begins.
func (h *ClientHandshake) Secured() { h.advance() }

// Feed takes what the server sent.
func (h *ClientHandshake) Feed(b []byte) {
	h.in = append(h.in, b...)
	for !h.done && !h.upgrade && h.step() {
	}
}

func (h *ClientHandshake) step() bool {
	switch {
	case !h.greeted:
		return h.greeting()
	case h.asked == OptExportName:
		return h.exportName()
	default:
		return h.reply()
	}
}

func (h *ClientHandshake) greeting() bool {
	b, ok := h.take(GreetingSize)
	if !ok {
		return false
	}
	if m := binary.BigEndian.Uint64(b); m != magicInit {
		h.end(violation("a server greets with NBDMAGIC", "%#x", m))
		return true
	}
	if m := binary.BigEndian.Uint64(b[8:]); m != magicOption {
		h.end(violation("a server speaks newstyle", "%#x", m))
		return true
	}
	h.greeted = true
	flags := uint32(binary.BigEndian.Uint16(b[16:])) & (flagFixedNewstyle | flagNoZeroes)
	h.noZeroes = flags&flagNoZeroes != 0
	h.put32(flags)
	h.begin(flags&flagFixedNewstyle != 0)
	return true
}

func (h *ClientHandshake) begin(fixed bool) {
	switch {
	case !fixed && h.options.TLS:
		h.end(errors.New("nbd: the server's dialect has no TLS"))
	case !fixed && h.purpose != OptGo:
		h.end(errors.New("nbd: the server's dialect has no questions, only EXPORT_NAME"))
	case !fixed:
		h.ask(OptExportName, []byte(h.name))
	default:
		h.plan = h.options.plan(h.purpose)
		h.advance()
	}
}

// plan is what is to be asked, in order. Extended headers come before
// structured replies, which they make superfluous.
func (o *ClientOptions) plan(purpose Option) (plan []Option) {
	if o.TLS {
		plan = append(plan, OptStartTLS)
	}
	if purpose != OptList {
		if o.Extended {
			plan = append(plan, OptExtendedHeaders)
		}
		if o.Structured || o.Extended {
			plan = append(plan, OptStructuredReply)
		}
		if o.Allocation {
			plan = append(plan, OptSetMetaContext)
		}
	}
	return append(plan, purpose)
}

// advance asks the next question, without those that have become pointless.
func (h *ClientHandshake) advance() {
	d := &h.export.Dialect
	for h.plan[0] == OptStructuredReply && d.Structured || h.plan[0] == OptSetMetaContext && !d.Structured {
		h.plan = h.plan[1:]
	}
	opt := h.plan[0]
	h.plan = h.plan[1:]
	switch opt {
	case OptInfo, OptGo:
		h.ask(opt, infoRequest(h.name))
	case OptSetMetaContext:
		h.ask(opt, appendMetaRequest(nil, metaRequest{h.name, []string{contextAllocation}}))
	default:
		h.ask(opt, nil)
	}
}

// infoRequest asks for all there is to know about an export.
func infoRequest(name string) []byte {
	be := binary.BigEndian
	b := append(be.AppendUint32(nil, uint32(len(name))), name...)
	b = be.AppendUint16(b, 3)
	for _, i := range []uint16{infoName, infoDescription, infoBlockSize} {
		b = be.AppendUint16(b, i)
	}
	return b
}

func (h *ClientHandshake) ask(opt Option, data []byte) {
	h.asked = opt
	h.put64(magicOption)
	h.put32(uint32(opt))
	h.put32(uint32(len(data)))
	h.out = append(h.out, data...)
}

// exportName takes the answer to EXPORT_NAME, which has no header.
func (h *ClientHandshake) exportName() bool {
	n := ExportReplySize
	if !h.noZeroes {
		n += exportZeroes
	}
	b, ok := h.take(n)
	if ok {
		h.export.Size = binary.BigEndian.Uint64(b)
		h.export.Flags = TransmissionFlags(binary.BigEndian.Uint16(b[8:]))
		h.end(nil)
	}
	return ok
}

// reply takes one option reply.
func (h *ClientHandshake) reply() bool {
	if len(h.in) < OptionReplySize {
		return false
	}
	n := binary.BigEndian.Uint32(h.in[16:])
	if err := h.admit(n); err != nil {
		h.end(err)
		return true
	}
	b, ok := h.take(OptionReplySize + int(n))
	if ok {
		h.replies++
		h.answer(OptionReply(binary.BigEndian.Uint32(b[12:])), b[OptionReplySize:])
	}
	return ok
}

func (h *ClientHandshake) admit(n uint32) error {
	switch m, opt := binary.BigEndian.Uint64(h.in), Option(binary.BigEndian.Uint32(h.in[8:])); {
	case m != magicOptionReply:
		return violation("an option's reply begins with its magic", "%#x", m)
	case opt != h.asked:
		return violation("a reply is to the option that was asked", "%v", opt)
	case n > MaxOptionData:
		return violation("an option's reply is of reasonable length", "%d bytes", n)
	case h.replies == MaxExports+MaxOptions:
		return violation("a server comes to an end of its replies", "more than %d", h.replies)
	}
	return nil
}

func (h *ClientHandshake) answer(r OptionReply, data []byte) {
	switch {
	case r == RepErrUnsup && h.asked == OptGo && !h.export.Extended:
		h.ask(OptExportName, []byte(h.name))
	case r.isError() && h.dispensable():
		h.advance()
	case r.isError():
		h.leave(&OptionError{Option: h.asked, Reply: r, Message: string(data)})
	case r == RepServer && h.asked == OptList:
		h.server(data)
	case r == RepInfo && (h.asked == OptGo || h.asked == OptInfo):
		h.info(data)
	case r == RepMeta && h.asked == OptSetMetaContext:
		h.meta(data)
	case r == RepAck:
		h.ack()
	default:
		h.end(violation("a reply's type fits the option", "%v to %v", r, h.asked))
	}
}

// dispensable reports whether one can do without what was asked for. A server
// that wants TLS refuses it too, and then everything.
func (h *ClientHandshake) dispensable() bool {
	return h.asked == OptStructuredReply || h.asked == OptExtendedHeaders || h.asked == OptSetMetaContext
}

func (h *ClientHandshake) ack() {
	d := &h.export.Dialect
	switch h.asked {
	case OptStartTLS:
		h.upgrade = true
	case OptExtendedHeaders:
		d.Structured, d.Extended = true, true
		h.advance()
	case OptStructuredReply:
		d.Structured = true
		h.advance()
	case OptSetMetaContext:
		h.advance()
	case OptList:
		h.leave(nil)
	default:
		h.chosen()
	}
}

// chosen takes the ACK of INFO or GO.
func (h *ClientHandshake) chosen() {
	switch {
	case !h.known:
		h.end(violation("INFO_EXPORT comes before the ACK", "none"))
	case h.asked == OptInfo:
		h.leave(nil)
	default:
		h.end(nil)
	}
}

// meta takes a context that the server selected. It is only to answer what was
// asked for, but what else it may name is ignored.
func (h *ClientHandshake) meta(b []byte) {
	if len(b) < 4 {
		h.end(violation("a metadata context has an id", "%d bytes", len(b)))
		return
	}
	if string(b[4:]) == contextAllocation {
		h.export.Allocation, h.export.AllocationID = true, binary.BigEndian.Uint32(b)
	}
}

// leave ends the handshake by ABORT, of which the answer is not awaited.
func (h *ClientHandshake) leave(err error) {
	h.ask(OptAbort, nil)
	h.end(err)
}

func (h *ClientHandshake) server(b []byte) {
	if len(b) < 4 || uint64(binary.BigEndian.Uint32(b)) > uint64(len(b)-4) {
		h.end(violation("an export's name fits its reply", "%d bytes", len(b)))
		return
	}
	n := 4 + binary.BigEndian.Uint32(b)
	h.listed = append(h.listed, Listed{string(b[4:n]), string(b[n:])})
}

// info takes one piece of information; unknown ones are to be ignored.
func (h *ClientHandshake) info(b []byte) {
	if len(b) < 2 {
		h.end(violation("an information has a type", "%d bytes", len(b)))
		return
	}
	kind, b := binary.BigEndian.Uint16(b), b[2:]
	switch kind {
	case infoExport:
		h.infoExport(b)
	case infoName:
		h.export.Name = string(b)
	case infoDescription:
		h.export.Description = string(b)
	case infoBlockSize:
		h.infoBlockSize(b)
	}
}

func (h *ClientHandshake) infoExport(b []byte) {
	if len(b) != 10 {
		h.end(violation("INFO_EXPORT has 12 bytes", "%d", len(b)+2))
		return
	}
	h.known = true
	h.export.Size = binary.BigEndian.Uint64(b)
	h.export.Flags = TransmissionFlags(binary.BigEndian.Uint16(b[8:]))
}

// infoBlockSize: "Block size constraints": the minimum is a power of 2 up to 64
// KiB, the preferred size one that is no less. Where the maximum is no less
// than the preferred size either, it is taken; 0xffffffff is unlimited.
func (h *ClientHandshake) infoBlockSize(b []byte) {
	if len(b) != 12 {
		h.end(violation("INFO_BLOCK_SIZE has 14 bytes", "%d", len(b)+2))
		return
	}
	least, likes, most := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])
	if bits.OnesCount32(least) != 1 || least > 64<<10 || bits.OnesCount32(likes) != 1 || likes < least || most < least {
		h.end(violation("block sizes are in order", "minimum %d, preferred %d, maximum %d", least, likes, most))
		return
	}
	h.export.MinBlock, h.export.PreferredBlock, h.export.MaxPayload = least, likes, min(most, maxSkip)
}
