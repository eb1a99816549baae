// Package tidy is the house rules as a test: what may import what, who may
// touch the clock, how long a function may be, and what must be said in
// comments. It parses source and needs neither the go command nor the types.
//
// Check is a pure function of the files, so each rule is tested with a few lines
// of source that break it:
//
//	problems := tidy.House.Check(map[string][]byte{"nbd/x.go": src})
//
// The rules and all their exceptions are in house.go. Exceptions only shrink: one
// that is no longer needed is a problem too.
//
// Caveats: imports are told apart by their paths, so a clock behind another
// package's function goes unseen. Test files may be long, for their tables, and
// import what they like; goroutines and the clock they may use only beside a
// real-time shell.
package tidy
