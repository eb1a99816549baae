// Package tidy checks the house rules: which packages may import which, which may use
// the clock, the length of functions, and required comments. It parses source and needs
// neither the go command nor type information.
//
// Check is a pure function of the files, so each rule is tested with a few lines
// of source that break it:
//
//	problems := tidy.House.Check(map[string][]byte{"nbd/x.go": src})
//
// The rules and all their exceptions are in house.go. An exception that is no longer
// needed is a problem too, so the list of exceptions only shrinks.
//
// Caveats: imports are identified by their paths, so a use of the clock through
// another package's function is not found. Test files may have long functions, for their
// tables, and any imports; goroutines and the clock only beside a real-time package.
package tidy
