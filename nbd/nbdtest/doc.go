// Package nbdtest has what the tests of nbd and of its sockets share: a device of
// plain memory, and the pieces of transcripts of a negotiation.
package nbdtest
