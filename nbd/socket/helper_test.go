package socket

import "nbdbench/nbd"

// dialects are all that two ends can agree on, by name.
var dialects = map[string]nbd.ClientOptions{
	"simple":     {},
	"structured": {Structured: true, Allocation: true},
	"extended":   {Extended: true, Allocation: true},
}

// encode is a request with compact headers and its data.
func encode(h nbd.Header, data ...byte) []byte {
	var b [nbd.RequestSize]byte
	nbd.EncodeHeader(&b, &h)
	return append(b[:], data...)
}

// encodeExt is a request with extended headers and its data.
func encodeExt(h nbd.Header, data ...byte) []byte {
	var b [nbd.ExtRequestSize]byte
	nbd.EncodeExtHeader(&b, &h)
	return append(b[:], data...)
}
