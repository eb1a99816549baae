// Package drive has what a simulated drive is made of: the volatile write cache,
// the media that holds what is durable, the power cut, and the Mechanism, which
// says how long everything takes.
//
// A [Drive] is the part that all kinds share. The packages ssd, hdd and empirical
// implement [Mechanism] and embed a Drive; volume, whose devices have no mechanism,
// uses [Cache] and [Media] alone.
//
// Stored data is separate from injected faults: Media holds what is durable, Cache
// is an overlay of what is only acknowledged, and a [Cut] is a view of both that
// changes neither. What is in flight when the power goes, to the medium or into a
// protected cache, may be there in part: any of its atomic units. Of a write that
// was on its way into a volatile cache there is nothing.
package drive
