package nbd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"nbdbench/devices"
	"nbdbench/internal/text"
)

// TLSPolicy is what a server has of TLS: "TLS versions" in the protocol.
type TLSPolicy uint8

// The policies, by the protocol's names.
const (
	NoTLS     TLSPolicy = iota // NOTLS: refused
	MayTLS                     // SELECTIVETLS: if the client wants it, for every export
	ForcedTLS                  // FORCEDTLS: nothing else is talked about before
)

// ServerHandshake is the server's end of the fixed newstyle negotiation.
type ServerHandshake struct {
	handshake
	exports []*Export
	conn    ConnInfo
	policy  TLSPolicy
	secure  bool  // TLS has begun
	refused error // why the client could not go on: TLS

	dialect    Dialect
	metaExport string // for which the context was selected

	greeted  bool // the client's flags have come
	noZeroes bool
	options  int
	listed   int    // exports, in answer to LIST
	skip     uint32 // bytes of an option's data yet to be skipped
	opened   map[string]opened
	slow     slow
	chosen   *Export
	dev      devices.Device
}

// opened is an export that was opened for this connection, so that INFO and GO
// get the same answer.
type opened struct {
	dev devices.Device
	err error
}

// NewServerHandshake begins by greeting the client: take its Output. The first
// export is also the default one, unless one has the empty name.
func NewServerHandshake(exports []*Export, conn ConnInfo) *ServerHandshake {
	h := &ServerHandshake{exports: exports, conn: conn}
	h.put64(magicInit)
	h.put64(magicOption)
	h.put16(flagFixedNewstyle | flagNoZeroes)
	return h
}

// Offer sets what the server has of TLS; it is NoTLS else.
func (h *ServerHandshake) Offer(p TLSPolicy) { h.policy = p }

// Dialect is what was agreed on.
func (h *ServerHandshake) Dialect() Dialect { return h.dialect }

// Chosen is the export that the client chose, and its device.
func (h *ServerHandshake) Chosen() (*Export, devices.Device) { return h.chosen, h.dev }

// TLSRefused is why the client was refused, if it is over TLS: this server requires
// it and the client did not begin it, or the client began it and this server has
// none. A client that then goes on as the server requires was not refused.
func (h *ServerHandshake) TLSRefused() error { return h.refused }

// Secured says that TLS has begun, as Upgrade asked for.
func (h *ServerHandshake) Secured() { h.conn.TLS = true }

// Feed takes what the client sent. What follows waits for the next Feed once
// there is much Output to be taken.
func (h *ServerHandshake) Feed(b []byte) {
	h.in = append(h.in, b...)
	h.again()
	for !h.done && !h.upgrade && h.slow.work == nil && len(h.out) < maxUnsent && h.step() {
	}
}

// Progress is how many options have been answered, and how many exports listed.
func (h *ServerHandshake) Progress() (steps, listed int) { return h.options, h.listed }

// step consumes one message, or reports that it has not come.
func (h *ServerHandshake) step() bool {
	if h.skip > 0 {
		n := min(int64(h.skip), int64(len(h.in)))
		h.in = h.in[n:]
		h.skip -= uint32(n)
		return h.skip == 0
	}
	if !h.greeted {
		return h.flags()
	}
	if len(h.in) < optionHeaderSize {
		return false
	}
	opt, n := Option(binary.BigEndian.Uint32(h.in[8:])), binary.BigEndian.Uint32(h.in[12:])
	if err := h.admit(n); err != nil {
		h.end(err)
		return true
	}
	if n > MaxOptionData {
		h.in = h.in[optionHeaderSize:]
		h.tooLong(opt, n)
		return true
	}
	msg, ok := h.take(optionHeaderSize + int(n))
	if ok {
		h.options++
		h.option(opt, msg[optionHeaderSize:])
	}
	return ok
}

// flags: "Newstyle negotiation": an unknown client flag MUST end the connection.
// "Client flags": a server MAY honour fixed newstyle without its flag, and this
// one does: clients that set none go on with GO or LIST.
func (h *ServerHandshake) flags() bool {
	b, ok := h.take(clientFlagsSize)
	if !ok {
		return false
	}
	f := binary.BigEndian.Uint32(b)
	h.greeted, h.noZeroes = true, f&flagNoZeroes != 0
	if f&^(flagFixedNewstyle|flagNoZeroes) != 0 {
		h.end(violation("client flags are among those offered", "%#x%s", f, asText(b)))
	}
	return true
}

// asText is what the first four bytes of another protocol are: a TLS record, which
// begins with its type (22: handshake) and a version of 3, or letters, such as HTTP's.
// It is empty if they are neither.
func asText(b []byte) string {
	if b[0] == 22 && b[1] == 3 {
		return " (TLS from the first byte: NBD begins it by STARTTLS)"
	}
	for _, c := range b {
		if c < ' ' || c > '~' {
			return ""
		}
	}
	return fmt.Sprintf(" (%q: another protocol?)", b)
}

// admit says whether an option with n bytes of data may be haggled over at all.
func (h *ServerHandshake) admit(n uint32) error {
	switch m := binary.BigEndian.Uint64(h.in); {
	case m != magicOption:
		return violation("an option begins with its magic", "%#x", m)
	case n > maxOptionSkip:
		return violation("an option's data is of reasonable length", "%d bytes", n)
	case h.options == MaxOptions*(1+h.listed):
		return violation("a client comes to an end of its options", "more than %d", h.options)
	}
	return nil
}

// tooLong answers an option of which the data is longer than any that makes
// sense, and has the data skipped.
func (h *ServerHandshake) tooLong(opt Option, n uint32) {
	h.options++
	h.skip = n
	switch opt {
	case OptExportName:
		h.end(violation("an export's name is at most 4096 bytes", "%d", n))
	case OptAbort, OptList, OptInfo, OptGo, OptListMetaContext:
		h.refuse(opt, RepErrTooBig, "the option's data is too long")
	case OptSetMetaContext:
		h.dialect.Allocation = false
		h.refuse(opt, RepErrTooBig, "the option's data is too long")
	default:
		h.option(opt, make([]byte, 1)) // too long is not empty
	}
}

// option: "Option types": ABORT MUST be acknowledged, and an option that is not
// known is answered with ERR_UNSUP.
func (h *ServerHandshake) option(opt Option, data []byte) {
	if h.policy == ForcedTLS && !h.secure && opt != OptStartTLS && opt != OptAbort {
		h.insecure(opt)
		return
	}
	switch opt {
	case OptExportName:
		h.exportName(string(data))
	case OptAbort:
		h.reply(opt, RepAck, nil)
		h.end(ErrEnded)
	case OptList:
		h.list(data)
	case OptInfo, OptGo:
		h.info(opt, data)
	case OptStartTLS:
		h.startTLS(data)
	case OptStructuredReply, OptExtendedHeaders:
		h.headers(opt, data)
	case OptListMetaContext, OptSetMetaContext:
		h.meta(opt, data)
	default:
		h.refuse(opt, RepErrUnsup, "")
	}
}

// Why a client leaves that cannot agree on TLS with this server.
var (
	errTLSRequired = errors.New("nbd: the client left where this server requires TLS")
	errNoTLS       = errors.New("nbd: the client left where this server has no TLS")
)

// insecure: "FORCEDTLS mode": all but STARTTLS and ABORT gets ERR_TLS_REQD, and
// EXPORT_NAME, which cannot be answered so, ends the session.
func (h *ServerHandshake) insecure(opt Option) {
	if opt == OptExportName {
		h.end(violation("this server wants TLS", "EXPORT_NAME before STARTTLS"))
		return
	}
	h.refuse(opt, RepErrTLSReqd, "this server wants TLS: begin with STARTTLS")
	h.refused = errTLSRequired
}

// startTLS: "Option types", STARTTLS. What was negotiated before MUST be
// forgotten, as somebody on the way may have had a hand in it.
func (h *ServerHandshake) startTLS(data []byte) {
	switch {
	case h.secure:
		h.refuse(OptStartTLS, RepErrInvalid, "TLS has begun already")
	case len(data) > 0:
		h.refuse(OptStartTLS, RepErrInvalid, "STARTTLS has no data")
	case h.policy == NoTLS:
		h.refuse(OptStartTLS, RepErrPolicy, "this server has no TLS")
		h.refused = errNoTLS
	default:
		h.reply(OptStartTLS, RepAck, nil)
		h.secure, h.upgrade, h.refused = true, true, nil
		h.dialect, h.metaExport, h.opened = Dialect{}, "", nil
		h.EndSession()
	}
}

// headers: "Option types", STRUCTURED_REPLY and EXTENDED_HEADERS. The latter
// brings structured replies with it and cannot be taken back. Either is
// negotiated once, as in QEMU and nbdkit.
func (h *ServerHandshake) headers(opt Option, data []byte) {
	switch {
	case len(data) > 0:
		h.refuse(opt, RepErrInvalid, opt.String()+" has no data")
	case opt == OptStructuredReply && h.dialect.Extended:
		h.refuse(opt, RepErrExtHeaderReqd, "extended headers have structured replies")
	case opt == OptStructuredReply && h.dialect.Structured || h.dialect.Extended:
		h.refuse(opt, RepErrInvalid, opt.String()+" was negotiated already")
	default:
		h.dialect.Structured = true
		h.dialect.Extended = h.dialect.Extended || opt == OptExtendedHeaders
		h.reply(opt, RepAck, nil)
	}
}

// exportName: "Option types", EXPORT_NAME: a failure MUST end the session.
func (h *ServerHandshake) exportName(name string) {
	if h.dialect.Extended {
		h.end(violation("extended headers go with GO", "EXPORT_NAME"))
		return
	}
	e, dev, err := h.open(OptExportName, []byte(name), name)
	if err != nil {
		h.end(err)
		return
	}
	if dev == nil {
		return // not yet
	}
	info := dev.Info()
	h.bind(name)
	x := e.describe(&info).in(h.dialect)
	h.put64(x.Size)
	h.put16(uint16(x.Flags))
	if !h.noZeroes {
		h.out = append(h.out, make([]byte, exportZeroes)...)
	}
	h.begin(e, dev)
}

// bind: "Metadata querying": contexts are of the export for which they were
// selected.
func (h *ServerHandshake) bind(name string) {
	if name != h.metaExport {
		h.dialect.Allocation = false
	}
}

func (h *ServerHandshake) begin(e *Export, dev devices.Device) {
	h.chosen, h.dev, h.refused = e, dev, nil
	h.end(nil)
}

// list: "Option types", LIST: one SERVER for each export, then ACK; data SHOULD
// be answered with ERR_INVALID. What follows a name is for people to read.
func (h *ServerHandshake) list(data []byte) {
	if len(data) > 0 {
		h.refuse(OptList, RepErrInvalid, "LIST has no data")
		return
	}
	names, err := h.names()
	switch {
	case h.slow.work != nil:
		return
	case err != nil:
		h.refuse(OptList, RepErrPlatform, text.Line(err.Error()))
		return
	}
	for _, e := range names {
		b := binary.BigEndian.AppendUint32(nil, uint32(len(e.Name)))
		h.reply(OptList, RepServer, append(append(b, e.Name...), e.Description...))
	}
	h.reply(OptList, RepAck, nil)
	h.listed = len(names)
}

// info: "Option types", INFO and GO.
func (h *ServerHandshake) info(opt Option, data []byte) {
	name, asked, ok := parseInfoRequest(data)
	if !ok {
		h.refuse(opt, RepErrInvalid, "malformed name or information requests")
		return
	}
	e, dev, err := h.open(opt, data, name)
	if err != nil {
		h.refuse(opt, RepErrUnknown, text.Line(err.Error()))
		return
	}
	if dev == nil {
		return // not yet
	}
	info := dev.Info()
	x := e.describe(&info).in(h.dialect)
	x.Name, x.Description = name, h.described(e, name)
	if !e.AnyName {
		x.Name = e.Name
	}
	if x.constrained() && !slices.Contains(asked, infoBlockSize) {
		h.refuse(opt, RepErrBlockSizeReqd, "")
		return
	}
	h.describe(opt, &x, asked)
	h.reply(opt, RepAck, nil)
	if opt == OptGo {
		h.bind(name)
		h.begin(e, dev)
	}
}

// constrained reports whether a client that was not sent the block sizes would
// send what is refused ("Block size constraints").
func (x *ExportInfo) constrained() bool {
	return x.MinBlock > 1 || x.MaxPayload < DefaultMaxPayload
}

// describe answers what was asked; EXPORT MUST be sent unasked.
func (h *ServerHandshake) describe(opt Option, x *ExportInfo, asked []uint16) {
	be := binary.BigEndian
	b := be.AppendUint64(be.AppendUint16(nil, infoExport), x.Size)
	h.reply(opt, RepInfo, be.AppendUint16(b, uint16(x.Flags)))
	if slices.Contains(asked, infoName) {
		h.reply(opt, RepInfo, append(be.AppendUint16(nil, infoName), x.Name...))
	}
	if slices.Contains(asked, infoDescription) && x.Description != "" {
		h.reply(opt, RepInfo, append(be.AppendUint16(nil, infoDescription), x.Description...))
	}
	if slices.Contains(asked, infoBlockSize) {
		b := be.AppendUint32(be.AppendUint16(nil, infoBlockSize), x.MinBlock)
		h.reply(opt, RepInfo, be.AppendUint32(be.AppendUint32(b, x.PreferredBlock), x.MaxPayload))
	}
}

// parseInfoRequest takes the data of INFO and GO apart: the name's length, the
// name, the number of requests, the requests.
func parseInfoRequest(b []byte) (name string, asked []uint16, ok bool) {
	if len(b) < 6 {
		return "", nil, false
	}
	n := uint64(binary.BigEndian.Uint32(b))
	if n > uint64(len(b)-6) {
		return "", nil, false
	}
	name, b = string(b[4:4+n]), b[4+n:]
	count := int(binary.BigEndian.Uint16(b))
	if b = b[2:]; len(b) != 2*count || !ValidString(name) {
		return "", nil, false
	}
	for ; len(b) > 0; b = b[2:] {
		asked = append(asked, binary.BigEndian.Uint16(b))
	}
	return name, asked, true
}

// ValidString: "Values": strings are UTF-8 without NUL, of at most 4096 bytes.
func ValidString(s string) bool {
	return len(s) <= MaxString && utf8.ValidString(s) && !slices.Contains([]byte(s), 0)
}

var (
	errNoExport = errors.New("there is no such export")
	errBadName  = errors.New("not a valid export name")
)

// open finds the export and opens its device, once for the connection. Without device
// and error it is not there yet: opt, with its data, is answered later.
func (h *ServerHandshake) open(opt Option, data []byte, name string) (*Export, devices.Device, error) {
	if !ValidString(name) {
		return nil, nil, errBadName
	}
	e := h.find(name)
	if e == nil {
		return nil, nil, errNoExport
	}
	if e.Connect != nil {
		dev, err := h.connect(e, opt, data, name)
		return e, dev, err
	}
	o, ok := h.opened[e.Name]
	if !ok {
		conn := h.conn
		conn.Export = name
		o.dev, o.err = e.open(conn)
		if h.opened == nil {
			h.opened = map[string]opened{}
		}
		h.opened[e.Name] = o
	}
	return e, o.dev, o.err
}

func (h *ServerHandshake) find(name string) *Export {
	for _, e := range h.exports {
		if e.Name == name {
			return e
		}
	}
	if name == "" && len(h.exports) > 0 {
		return h.exports[0]
	}
	for _, e := range h.exports {
		if e.AnyName {
			return e
		}
	}
	return nil
}

func (h *ServerHandshake) refuse(opt Option, r OptionReply, message string) {
	if len(message) > MaxString {
		message = strings.ToValidUTF8(message[:MaxString], "")
	}
	h.reply(opt, r, []byte(message))
}

func (h *ServerHandshake) reply(opt Option, r OptionReply, data []byte) {
	h.put64(magicOptionReply)
	h.put32(uint32(opt))
	h.put32(uint32(r))
	h.put32(uint32(len(data)))
	h.out = append(h.out, data...)
}
