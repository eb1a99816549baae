package nbd

import "nbdbench/devices"

// Magic numbers of the protocol.
const (
	magicInit        uint64 = 0x4e42444d41474943 // "NBDMAGIC"
	magicOption      uint64 = 0x49484156454f5054 // "IHAVEOPT"
	magicOptionReply uint64 = 0x0003e889045565a9
	magicRequest     uint32 = 0x25609513
	magicReply       uint32 = 0x67446698
)

// Sizes of what has a fixed size on the wire, in bytes.
const (
	RequestSize = 28 // a request's header
	ReplySize   = 16 // a simple reply's header

	GreetingSize     = 18
	clientFlagsSize  = 4
	optionHeaderSize = 16
	OptionReplySize  = 20
	ExportReplySize  = 10  // EXPORT_NAME's reply without the zeroes
	exportZeroes     = 124 // what follows it unless NO_ZEROES was negotiated
)

// Handshake flags, of the server and of the client alike.
const (
	flagFixedNewstyle = 1 << 0
	flagNoZeroes      = 1 << 1
)

// TransmissionFlags are what an export says about itself: NBD_FLAG_*.
type TransmissionFlags uint16

// The transmission flags.
const (
	HasFlags        TransmissionFlags = 1 << 0
	ReadOnly        TransmissionFlags = 1 << 1
	SendFlush       TransmissionFlags = 1 << 2
	SendFUA         TransmissionFlags = 1 << 3
	Rotational      TransmissionFlags = 1 << 4
	SendTrim        TransmissionFlags = 1 << 5
	SendWriteZeroes TransmissionFlags = 1 << 6
	SendDF          TransmissionFlags = 1 << 7
	CanMultiConn    TransmissionFlags = 1 << 8
	SendCache       TransmissionFlags = 1 << 10
	SendFastZero    TransmissionFlags = 1 << 11
)

// CmdDisc is NBD_CMD_DISC, the one command that no device sees.
const CmdDisc devices.Op = 2

// The metadata context that describes what is allocated, and the id by which
// this server knows it.
const (
	contextAllocation = "base:allocation"
	allocationID      = 1
)

// knownFlags are the command flags that the protocol defines for transmission
// with plain headers.
const knownFlags = devices.FUA | devices.NoHole | devices.DF | devices.ReqOne | devices.FastZero

// Option is an option's number: NBD_OPT_*.
type Option uint32

// The options.
const (
	OptExportName      Option = 1
	OptAbort           Option = 2
	OptList            Option = 3
	OptStartTLS        Option = 5
	OptInfo            Option = 6
	OptGo              Option = 7
	OptStructuredReply Option = 8
	OptListMetaContext Option = 9
	OptSetMetaContext  Option = 10
	OptExtendedHeaders Option = 11
)

// OptionReply is the type of a reply to an option: NBD_REP_*.
type OptionReply uint32

// The option replies. Those with the highest bit set are errors.
const (
	RepAck    OptionReply = 1
	RepServer OptionReply = 2
	RepInfo   OptionReply = 3
	RepMeta   OptionReply = 4 // NBD_REP_META_CONTEXT

	RepErrUnsup         OptionReply = 1<<31 + 1
	RepErrPolicy        OptionReply = 1<<31 + 2
	RepErrInvalid       OptionReply = 1<<31 + 3
	RepErrPlatform      OptionReply = 1<<31 + 4
	RepErrTLSReqd       OptionReply = 1<<31 + 5
	RepErrUnknown       OptionReply = 1<<31 + 6
	RepErrShutdown      OptionReply = 1<<31 + 7
	RepErrBlockSizeReqd OptionReply = 1<<31 + 8
	RepErrTooBig        OptionReply = 1<<31 + 9
	RepErrExtHeaderReqd OptionReply = 1<<31 + 10
)

// The kinds of information in a reply to INFO and GO: NBD_INFO_*.
const (
	infoExport      = 0
	infoName        = 1
	infoDescription = 2
	infoBlockSize   = 3
)

// Bounds of what a peer may ask for. A peer that goes beyond gets an error, is held
// up, or, where the protocol leaves no other way, disconnected.
const (
	// MaxString is the protocol's limit for a string, in bytes.
	MaxString = 4096
	// MaxOptions is how many options a client may send, and again for each
	// export that was listed to it, as in nbdkit.
	MaxOptions = 32
	// MaxExports is how many exports a server has.
	MaxExports = 1024
	// maxUnsent is how much of a handshake's output may wait to be sent before
	// the next option is looked at.
	maxUnsent = 64 << 10
	// MaxOptionData is the longest option that is looked at: a longest name and
	// every information request there could be. Longer ones are skipped.
	MaxOptionData = 64 << 10
	// maxOptionSkip is the longest option that is skipped rather than fatal.
	maxOptionSkip = 64 << 20

	// maxQueries is how many metadata contexts one option may ask about.
	maxQueries = 1024

	// DefaultMaxPayload is the data that a READ or WRITE may have where nothing
	// else is advertised: the protocol's 32 MiB.
	DefaultMaxPayload = 32 << 20
	// maxSkip is the longest payload of a refused WRITE that is read and thrown
	// away; a longer one ends the connection, as in nbdkit.
	maxSkip = 128 << 20

	// MaxInFlight is how many requests a connection may have in progress at the
	// server until its replies are written, and MaxInFlightBytes how many bytes of
	// data, in buffers of a Server, they may have in all. At either bound the server
	// stops reading; one request always goes through.
	MaxInFlight      = 1024
	MaxInFlightBytes = 128 << 20

	// maxStatusSpan is how much of a device is looked at for one BLOCK_STATUS: the
	// answer may be for less than was asked, and the loop is not held up.
	maxStatusSpan = 1 << 30

	// MaxClientInFlight is how many requests a client sends without a reply.
	// More wait in the client.
	MaxClientInFlight = 1024
)
