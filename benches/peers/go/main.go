// Measures C threads that call into Go.
package main

/*
#cgo CFLAGS: -O2
#include "../measure.h"
void goCall(void);
void goFault(void);
*/
import "C"

//export goCall
func goCall() {}

//export goFault
func goFault() {
	defer func() {
		if recover() == nil {
			panic("no fault")
		}
	}()
	var nowhere *int
	*nowhere = 1
}

func main() {
	C.measure((*[0]byte)(C.goCall), (*[0]byte)(C.goFault))
}
