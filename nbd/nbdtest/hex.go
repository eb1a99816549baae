package nbdtest

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

// Pieces of transcripts, as hexadecimal digits; spaces do not count.
const (
	HexOption          = "49484156454f5054"
	HexGoF             = HexOption + "00000007 00000007" + "00000001 66 0000" // GO for export f
	HexStructuredReply = HexOption + "00000008 00000000"
	HexExtendedHeaders = HexOption + "0000000b 00000000"
	HexBase            = "626173653a" // base:
	HexBaseAllocation  = HexBase + "616c6c6f636174696f6e"
)

// Unhex returns the bytes of hexadecimal digits; spaces do not count. Other
// characters fail the test.
func Unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// HexString is s as the protocol has strings: its length in 32 bits, and its bytes.
func HexString(s string) string { return fmt.Sprintf("%08x%x", len(s), s) }

// setMeta is SET_META_CONTEXT for an export and one query, each in hexadecimal.
func HexSetMeta(opt, export, query string) string {
	data := HexMeta(export, query)
	return HexOption + opt + HexLength(data) + data
}

// HexMeta is the data of SET_META_CONTEXT and LIST_META_CONTEXT for an export and
// queries, each in hexadecimal.
func HexMeta(export string, queries ...string) string {
	s := HexLength(export) + export + HexLength(strings.Repeat("00", len(queries)))
	for _, q := range queries {
		s += HexLength(q) + q
	}
	return s
}

// HexLength is how many bytes s is the hexadecimal form of, at most 255, in 32 bits.
func HexLength(s string) string {
	return hex.EncodeToString([]byte{0, 0, 0, byte(len(s) / 2)})
}
