/* SPDX-License-Identifier: Apache-2.0 */
/* malloc() and its kin, from a heap that is part of the image.
 *
 * The linker leads all callers here (--wrap). While the image is made everything is
 * taken from the heap, block behind block, so that what belongs together lies together:
 * each page that a call writes to costs a page fault. A finished program takes its small
 * objects from what is left or was freed, and the others, or when that is used up, from
 * libc. There is one thread only.
 */
#include "image.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

enum { HEAP_BYTES = 2 << 20, UNIT = 16, LARGEST_SMALL = 1024 };

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void __real_free(void *block);
void __wrap_free(void *block);

enum image_state image_state = IMAGE_ABSENT;

/* Its size, a whole number of units, and the block that the caller gets, which begins
 * at a unit. */
struct chunk {
    size_t size;
    union {
        struct chunk *next; /* while it is free */
        char block[1];
    };
};

enum { OVERHEAD = sizeof(size_t) };

static _Alignas(UNIT) char heap[HEAP_BYTES];
static size_t used = UNIT - OVERHEAD;
static struct chunk *free_chunks[LARGEST_SMALL / UNIT + 1]; /* by size in units */

static struct chunk *chunk_of(void *block)
{
    return (struct chunk *)((char *)block - OVERHEAD);
}

static int is_in_heap(const void *block)
{
    return (uintptr_t)block - (uintptr_t)heap < HEAP_BYTES;
}

static size_t chunk_size(size_t size)
{
    return (size + OVERHEAD + UNIT - 1) / UNIT * UNIT;
}

static int is_last(const struct chunk *chunk)
{
    return (const char *)chunk + chunk->size == heap + used;
}

/* What libc gave instead would not be in the image. */
static void refuse_if_begun(void)
{
    static const char full[] = "the heap of the image is full: enlarge HEAP_BYTES in memory.c\n";

    if (image_state == IMAGE_BEGUN)
        _exit(write(STDERR_FILENO, full, sizeof full - 1) == -1 ? 2 : 1);
}

/* Whether the heap has room for chunks of this size at this time. What libc takes before
 * main() is no part of the image: libc starts anew in each process. */
static int serves(size_t size)
{
    return image_state == IMAGE_BEGUN || (image_state == IMAGE_COMPLETE && size <= LARGEST_SMALL);
}

/* A block of the heap, or NULL where it has none. */
static void *take(size_t size)
{
    size_t wanted = size < HEAP_BYTES ? chunk_size(size) : HEAP_BYTES;
    struct chunk *chunk = wanted <= LARGEST_SMALL ? free_chunks[wanted / UNIT] : NULL;

    if (chunk) {
        free_chunks[wanted / UNIT] = chunk->next;
    } else if (wanted < HEAP_BYTES - used && serves(wanted)) {
        chunk = (struct chunk *)(heap + used);
        chunk->size = wanted;
        used += wanted;
    } else {
        refuse_if_begun();
        return NULL;
    }
    return chunk->block;
}

static void give_back(struct chunk *chunk)
{
    if (is_last(chunk)) {
        used -= chunk->size;
    } else if (chunk->size <= LARGEST_SMALL) {
        chunk->next = free_chunks[chunk->size / UNIT];
        free_chunks[chunk->size / UNIT] = chunk;
    }
}

void *__wrap_malloc(size_t size)
{
    void *block = take(size);

    return block ? block : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    size_t all;
    void *block = __builtin_mul_overflow(count, size, &all) ? NULL : take(all);

    return block ? memset(block, 0, all) : __real_calloc(count, size);
}

void *__wrap_realloc(void *block, size_t size)
{
    struct chunk *chunk = chunk_of(block);
    void *other;

    if (!block)
        return __wrap_malloc(size);
    if (!is_in_heap(block))
        return __real_realloc(block, size);
    if (size <= chunk->size - OVERHEAD)
        return block;
    other = __wrap_malloc(size);
    if (other) {
        memcpy(other, block, chunk->size - OVERHEAD);
        give_back(chunk);
    }
    return other;
}

void __wrap_free(void *block)
{
    if (is_in_heap(block))
        give_back(chunk_of(block));
    else
        __real_free(block);
}
