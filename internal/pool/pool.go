// Package pool runs independent work on many cores.
package pool

import (
	"runtime"
	"sync"
)

// Each calls f with 0 to n-1, taken up in that order, by at most jobs goroutines at
// once, and returns when all calls have returned. With jobs of 0 or less there is one
// goroutine for each processor that Go may use.
func Each(jobs, n int, f func(i int)) {
	if jobs <= 0 {
		jobs = runtime.GOMAXPROCS(0)
	}
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(jobs, n) {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for i := range next {
				f(i)
			}
		}()
	}
	for i := range n {
		next <- i
	}
	close(next)
	workers.Wait()
}
