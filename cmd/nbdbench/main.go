// Command nbdbench simulates block devices, serves them over NBD, and compares
// the places where a write can be made durable. See nbdbench --help.
package main

import "os"

func main() { os.Exit(run(os.Stdout, os.Stderr, os.Args[1:])) }
