package main

import "os"

// notifyCuts does nothing: there is no SIGUSR1.
func notifyCuts(chan<- os.Signal) {}
