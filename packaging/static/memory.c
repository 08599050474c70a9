/* SPDX-License-Identifier: Apache-2.0 */
/* malloc() and its kin, from a heap that is part of the image.
 *
 * The linker leads all callers here (--wrap). While the image is made everything is
 * taken from the heap, block behind block, so that what belongs together lies together:
 * each page that a call writes to costs a page fault. A finished program takes its small
 * objects from what is left or was freed, later from an extension of the heap, and all
 * others from libc. There is one thread only.
 */
#include "image.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { HEAP_BYTES = 2 << 20, EXTENSION_BYTES = 64 << 20, UNIT = 16, LARGEST_SMALL = 1024 };

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void __real_free(void *block);

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
static char *extension;
static char *next = heap + UNIT - OVERHEAD, *end = heap + HEAP_BYTES;
static struct chunk *free_chunks[LARGEST_SMALL / UNIT + 1]; /* by size in units */

static struct chunk *chunk_of(void *block)
{
    return (struct chunk *)((char *)block - OVERHEAD);
}

static int is_ours(const void *block)
{
    return (uintptr_t)block - (uintptr_t)heap < HEAP_BYTES
           || (extension && (uintptr_t)block - (uintptr_t)extension < EXTENSION_BYTES);
}

static size_t chunk_size(size_t size)
{
    return (size + OVERHEAD + UNIT - 1) / UNIT * UNIT;
}

static int is_last(const struct chunk *chunk)
{
    return (const char *)chunk + chunk->size == next;
}

static void refuse(void)
{
    static const char full[] = "the heap of the image is full: enlarge HEAP_BYTES in memory.c\n";

    _exit(write(STDERR_FILENO, full, sizeof full - 1) == -1 ? 2 : 1);
}

/* Go on elsewhere; the pages exist when they are used. Without success nothing is left. */
static void extend(void)
{
    void *pages = mmap(NULL, EXTENSION_BYTES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (pages != MAP_FAILED) {
        extension = pages;
        next = extension + UNIT - OVERHEAD;
        end = extension + EXTENSION_BYTES;
    }
}

/* A new chunk, or NULL where there is no room for it. */
static struct chunk *cut(size_t size)
{
    struct chunk *chunk;

    if (size > (size_t)(end - next) && image_state == IMAGE_BEGUN)
        refuse(); /* what libc gave instead would not be in the image */
    if (size > (size_t)(end - next) && !extension)
        extend();
    if (size > (size_t)(end - next))
        return NULL;
    chunk = (struct chunk *)next;
    chunk->size = size;
    next += size;
    return chunk;
}

/* A block of the heap, or NULL where libc is to give one. So it is before main(): libc's
 * own memory is no part of the image. */
static void *take(size_t size)
{
    size_t wanted = chunk_size(size);
    int is_small = size <= LARGEST_SMALL - OVERHEAD;
    struct chunk *chunk = is_small ? free_chunks[wanted / UNIT] : NULL;

    if (chunk)
        free_chunks[wanted / UNIT] = chunk->next;
    else if (image_state == IMAGE_BEGUN || (image_state == IMAGE_COMPLETE && is_small))
        chunk = cut(wanted);
    return chunk ? chunk->block : NULL;
}

static void give_back(struct chunk *chunk)
{
    if (is_last(chunk)) {
        next = (char *)chunk;
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
    if (!is_ours(block))
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
    if (is_ours(block))
        give_back(chunk_of(block));
    else
        __real_free(block);
}
