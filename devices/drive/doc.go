// Package drive has the parts of a simulated drive: the volatile write cache, the
// media with the durable data, the power cut, and the Mechanism, which determines
// service times.
//
// A [Drive] is the part that all kinds share. Packages ssd, hdd and empirical
// implement [Mechanism] and embed a Drive. Package volume, whose devices have no
// mechanism, uses only [Cache] and [Media].
//
// Stored data is separate from injected faults: Media holds the durable data, Cache
// is an overlay of data that is only acknowledged, and a [Cut] is a view of both that
// changes neither. A power cut may leave any of the atomic units of a request in flight
// to the medium or to a protected cache. A write in flight to a volatile cache leaves
// nothing.
package drive
