// Nil dereferences that Go recovers, and callbacks that fault, on the same threads. A program, or
// a library (c-shared) of which go.c calls Mix.
package main

/*
#include "guest.h"
*/
import "C"

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
)

func dereference(p *int) (caught bool) {
	defer func() { caught = recover() != nil }()
	return *p == 0
}

// Mix returns 0 if every fault has gone where it belongs.
//
//export Mix
func Mix(rounds C.int) C.int {
	for round := C.int(0); round < rounds; round++ {
		if !dereference(nil) {
			return 1
		}
		if C.guest_mix(round) != 0 {
			return 2
		}
		if round%1000 == 0 {
			runtime.GC()
		}
	}
	return 0
}

func main() {
	rounds, err := strconv.Atoi(os.Getenv("ROUNDS"))
	if err != nil {
		os.Exit(2)
	}
	if C.guest_start() != 0 {
		os.Exit(3)
	}
	var all sync.WaitGroup
	for i := 0; i < 4; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			if failed := Mix(C.int(rounds)); failed != 0 {
				fmt.Fprintln(os.Stderr, "check failed:", failed)
				os.Exit(1)
			}
		}()
	}
	all.Wait()
	C.guest_finish()
	os.Exit(200)
}
