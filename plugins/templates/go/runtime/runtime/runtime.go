// Package runtime has what the bindings need of memory: pieces of it that stay where they are while the host writes to them, and the
// numbers of resources.
package runtime

import (
	"runtime"
	"unsafe"
)

// Handle is the number of a resource; 0 once it was handed on.
type Handle struct{ number int32 }

// MakeHandle takes a number that the host gave.
func MakeHandle(number int32) *Handle { return &Handle{number} }

// Use is the number; it panics where the resource was handed on.
func (h *Handle) Use() int32 {
	if h.number == 0 {
		panic("the resource was handed on or dropped")
	}
	return h.number
}

// Take is the number, for the last time.
func (h *Handle) Take() int32 {
	number := h.Use()
	h.number = 0
	return number
}

// TakeOrNil is the number for the last time, or 0.
func (h *Handle) TakeOrNil() int32 {
	number := h.number
	h.number = 0
	return number
}

// Set gives it a number where it has none.
func (h *Handle) Set(number int32) {
	if h.number != 0 {
		panic("the resource has a number already")
	}
	h.number = number
}

// Allocate is memory that stays where it is until the pinner lets it go.
func Allocate(pinner *runtime.Pinner, size, align uintptr) unsafe.Pointer {
	if size == 0 {
		return nil
	}
	var memory unsafe.Pointer
	if align > 1 {
		// 8 is the contract's largest alignment.
		memory = unsafe.Pointer(unsafe.SliceData(make([]uint64, (size+7)/8)))
	} else {
		memory = unsafe.Pointer(unsafe.SliceData(make([]byte, size)))
	}
	pinner.Pin(memory)
	return memory
}

// What the host wrote arguments and results into, until the call that they are for has them.
var given runtime.Pinner

// Unpin lets go of it: Go's own references hold what is still in use.
func Unpin() { given.Unpin() }

// The host asks for memory by this; it never makes a piece larger.
//
//go:wasmexport cabi_realloc
func cabiRealloc(old unsafe.Pointer, oldSize, align, size uintptr) unsafe.Pointer {
	if old != nil || oldSize != 0 {
		panic("the host enlarges memory")
	}
	return Allocate(&given, size, align)
}
