//! The guest's heap: std's own allocator, which begins with what is left of the memory that an instance starts with.
//!
//! std's instance of it grows the memory with the first allocation. A plugin that needs little never has to: growing, and taking back
//! what was grown, are system calls of the host that cost more than the rest of a short call. The feature `heap` leaves it out, for
//! plugins with an allocator of their own.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::{Cell, UnsafeCell};
use std::ptr;

use dlmalloc::{Allocator, Dlmalloc};

/// Bytes of a page of WebAssembly.
const PAGE: usize = 64 << 10;
/// Less is not worth a region of its own.
const LEAST: usize = 1 << 10;

#[global_allocator]
static HEAP: Heap = Heap(UnsafeCell::new(Dlmalloc::new_with_allocator(Pages { begun: Cell::new(false) })));

struct Heap(UnsafeCell<Dlmalloc<Pages>>);

// SAFETY: an instance of a core module without shared memory has one thread, and no method of `Heap` calls out to code that could
// enter it again.
unsafe impl Sync for Heap {}

impl Heap {
    /// Asks twice: the first region may be too small for what is asked for, and the second time a new one is added.
    fn twice(&self, mut ask: impl FnMut(&mut Dlmalloc<Pages>) -> *mut u8) -> *mut u8 {
        // SAFETY: one thread, and never entered again: this is the only reference as long as it lives.
        let heap = unsafe { &mut *self.0.get() };
        let first = ask(heap);
        if first.is_null() { ask(heap) } else { first }
    }
}

// SAFETY: `Dlmalloc` keeps the contract of `GlobalAlloc` over the regions of `Pages`; asking again after null changes nothing about it.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's layout.
        self.twice(|heap| unsafe { heap.malloc(layout.size(), layout.align()) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's layout.
        self.twice(|heap| unsafe { heap.calloc(layout.size(), layout.align()) })
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        self.twice(|heap| {
            // SAFETY: the caller's pointer, which `alloc` gave for this layout.
            unsafe { heap.free(pointer, layout.size(), layout.align()) };
            // Not null: once is enough.
            pointer
        });
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's pointer, which `alloc` gave for this layout; null leaves it as it is.
        self.twice(|heap| unsafe { heap.realloc(pointer, layout.size(), layout.align(), size) })
    }
}

unsafe extern "C" {
    /// Where the linker's own data and the stack end. Only its address means anything.
    static __heap_base: u8;
}

/// Where the heap gets its regions from.
struct Pages {
    begun: Cell<bool>,
}

// SAFETY: every region is given out once: first what lies between the linker's data and the end of the memory at the start, which nobody
// else knows of, then pages that the memory grew by. All of it is zero, as WebAssembly has it. The first region may be smaller than
// asked for, which `Dlmalloc` answers with null, see `Heap::twice`.
unsafe impl Allocator for Pages {
    fn alloc(&self, size: usize) -> (*mut u8, usize, u32) {
        if !self.begun.replace(true) {
            let start = &raw const __heap_base as usize;
            let left = (core::arch::wasm32::memory_size(0) * PAGE).saturating_sub(start);
            if left >= LEAST {
                return (ptr::with_exposed_provenance_mut(start), left, 0);
            }
        }
        let pages = size.div_ceil(PAGE);
        match core::arch::wasm32::memory_grow(0, pages) {
            usize::MAX => (ptr::null_mut(), 0, 0),
            before => (ptr::with_exposed_provenance_mut(before * PAGE), pages * PAGE, 0),
        }
    }

    fn remap(&self, _: *mut u8, _: usize, _: usize, _: bool) -> *mut u8 {
        ptr::null_mut()
    }

    fn free_part(&self, _: *mut u8, _: usize, _: usize) -> bool {
        false
    }

    fn free(&self, _: *mut u8, _: usize) -> bool {
        false
    }

    fn can_release_part(&self, _: u32) -> bool {
        false
    }

    fn allocates_zeros(&self) -> bool {
        true
    }

    fn page_size(&self) -> usize {
        PAGE
    }
}
