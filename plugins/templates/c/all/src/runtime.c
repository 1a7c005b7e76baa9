// The part of the C library that plugins and their bindings need. A plugin runs for one call and is gone, so memory is kept simple:
// blocks of powers of two, one list of free ones for each size.

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

// Where the linker ends what the program brings along.
extern unsigned char __heap_base;

#define PAGE 65536
#define HEADER 16 // keeps blocks aligned to 16 bytes
#define SIZES 32

static uintptr_t top;
static void *free_blocks[SIZES];

// The power of two that a block of this size, with its header, is kept in.
static unsigned size_of_block(size_t size) {
    unsigned power = 5;
    while (((size_t)1 << power) < size + HEADER) power += 1;
    return power;
}

void *malloc(size_t size) {
    if (size > ((size_t)1 << (SIZES - 2))) return NULL;
    unsigned power = size_of_block(size);
    if (free_blocks[power] != NULL) {
        void *block = free_blocks[power];
        free_blocks[power] = *(void **)block;
        return block;
    }
    if (top == 0) top = ((uintptr_t)&__heap_base + HEADER - 1) & ~(uintptr_t)(HEADER - 1);
    uintptr_t end = top + ((uintptr_t)1 << power);
    uintptr_t have = (uintptr_t)__builtin_wasm_memory_size(0) * PAGE;
    if (end < top) return NULL;
    if (end > have && __builtin_wasm_memory_grow(0, (end - have + PAGE - 1) / PAGE) == (size_t)-1) return NULL;
    *(unsigned *)top = power;
    void *block = (void *)(top + HEADER);
    top = end;
    return block;
}

void free(void *block) {
    if (block == NULL) return;
    unsigned power = *(unsigned *)((uintptr_t)block - HEADER);
    *(void **)block = free_blocks[power];
    free_blocks[power] = block;
}

void *realloc(void *old, size_t size) {
    if (old == NULL) return malloc(size);
    unsigned power = *(unsigned *)((uintptr_t)old - HEADER);
    size_t room = ((size_t)1 << power) - HEADER;
    if (size <= room) return old;
    void *block = malloc(size);
    if (block == NULL) return NULL;
    memcpy(block, old, room);
    free(old);
    return block;
}

void *calloc(size_t count, size_t size) {
    if (size != 0 && count > SIZE_MAX / size) return NULL;
    void *block = malloc(count * size);
    return block == NULL ? NULL : memset(block, 0, count * size);
}

void abort(void) { __builtin_trap(); }

void *memcpy(void *restrict to, const void *restrict from, size_t size) { return memmove(to, from, size); }

void *memmove(void *to, const void *from, size_t size) {
    unsigned char *a = to;
    const unsigned char *b = from;
    if ((uintptr_t)a < (uintptr_t)b) {
        for (size_t i = 0; i < size; i += 1) a[i] = b[i];
    } else {
        for (size_t i = size; i > 0; i -= 1) a[i - 1] = b[i - 1];
    }
    return to;
}

void *memset(void *to, int byte, size_t size) {
    unsigned char *a = to;
    for (size_t i = 0; i < size; i += 1) a[i] = (unsigned char)byte;
    return to;
}

int memcmp(const void *a, const void *b, size_t size) {
    const unsigned char *x = a, *y = b;
    for (size_t i = 0; i < size; i += 1) {
        if (x[i] != y[i]) return x[i] < y[i] ? -1 : 1;
    }
    return 0;
}

size_t strlen(const char *text) {
    size_t length = 0;
    while (text[length] != '\0') length += 1;
    return length;
}
