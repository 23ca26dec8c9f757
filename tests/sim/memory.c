/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory of simulated processes: each block knows whose it is, so that what a process holds can be
 * bounded, what it leaks be found, and all of it be taken back when it is killed.
 */
#include "memory.h"

#include "fibre.h"
#include "serverside.h"
#include "wrapped.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define MAGIC      0x51ab51ab51ab51abu
#define HEAD       64u
#define MAPPED_MAX 512
#define CODECS_MAX 128

struct block {
    LIST_ENTRY(block) link;
    struct serverside *owner; /* NULL: the world's */
    void *base;
    size_t bytes;
    uint64_t magic;
};
_Static_assert(sizeof(struct block) <= HEAD, "");

static struct mapped {
    uint8_t *at;
    size_t bytes;
    const struct serverside *owner;
} mapped[MAPPED_MAX];

static struct kept_codec {
    struct mr_codec *codec; /* made once, used by one process after the other */
    size_t bytes;
    bool used;
    const struct serverside *owner;
} codecs[CODECS_MAX];
static bool making_codec; /* its memory is nobody's */

/* ---- blocks ---- */

static struct block *block_of(void *p)
{
    struct block *b = (void *)((uint8_t *)p - HEAD);
    assert(b->magic == MAGIC);
    return b;
}

static void own(struct block *b, struct serverside *owner)
{
    b->owner = owner;
    if (owner == NULL)
        return;
    LIST_INSERT_HEAD(&owner->memory.blocks, b, link);
    owner->memory.bytes += b->bytes;
}

static void disown(struct block *b)
{
    if (b->owner == NULL)
        return;
    LIST_REMOVE(b, link);
    b->owner->memory.bytes -= b->bytes;
    b->owner = NULL;
}

/* base: room for a head in front of the bytes. */
static void *begin_block(uint8_t *base, size_t head, size_t bytes)
{
    if (base == NULL)
        return NULL;
    struct block *b = (void *)(base + head - HEAD);
    *b = (struct block){.base = base, .bytes = bytes, .magic = MAGIC};
    own(b, making_codec ? NULL : fibre_process());
    return base + head;
}

void *__wrap_malloc(size_t bytes)
{
    return begin_block(__real_malloc(HEAD + bytes), HEAD, bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    size_t all;
    if (__builtin_mul_overflow(count, bytes, &all))
        return NULL;
    return begin_block(__real_calloc(1, HEAD + all), HEAD, all);
}

void *__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
    size_t head = alignment > HEAD ? alignment : HEAD;
    size_t whole = (bytes + head + head - 1) / head * head;
    return begin_block(__real_aligned_alloc(head, whole), head, bytes);
}

void __wrap_free(void *p)
{
    if (p == NULL)
        return;
    struct block *b = block_of(p);
    disown(b);
    b->magic = 0;
    __real_free(b->base);
}

void *__wrap_realloc(void *p, size_t bytes)
{
    if (p == NULL)
        return __wrap_malloc(bytes);
    void *larger = __wrap_malloc(bytes);
    if (larger == NULL)
        return NULL;
    struct block *b = block_of(p);
    memcpy(larger, p, b->bytes < bytes ? b->bytes : bytes);
    __wrap_free(p);
    return larger;
}

char *__wrap_strdup(const char *text)
{
    char *copy = __wrap_malloc(strlen(text) + 1);
    return copy == NULL ? NULL : strcpy(copy, text);
}

/* What a memory stream grew is libc's own. */
char *__wrap_mr_json_dump(const struct mr_json *json)
{
    char *text = __real_mr_json_dump(json);
    char *copy = text == NULL ? NULL : __wrap_strdup(text);
    __real_free(text);
    return copy;
}

/* ---- mappings ---- */

void *__wrap_mmap64(void *at, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    void *p = __real_mmap64(at, bytes, protection, flags, fd, offset);
    for (size_t i = 0; p != MAP_FAILED && i < MAPPED_MAX; i++)
        if (mapped[i].at == NULL) {
            mapped[i] = (struct mapped){.at = p, .bytes = bytes, .owner = fibre_process()};
            return p;
        }
    return p;
}

int __wrap_munmap(void *p, size_t bytes)
{
    uint8_t *at = p;
    for (size_t i = 0; i < MAPPED_MAX; i++) {
        struct mapped *m = &mapped[i];
        if (m->at == NULL || at < m->at || at >= m->at + m->bytes)
            continue;
        m->bytes -= bytes; /* only edges are given back */
        if (at == m->at)
            m->at = m->bytes == 0 ? NULL : m->at + bytes;
        break;
    }
    return __real_munmap(p, bytes);
}

int __wrap_madvise(void *p, size_t bytes, int advice)
{
    (void)p;
    (void)bytes;
    (void)advice;
    return 0;
}

/* ---- codecs: scratch without a state, and dear to make ---- */

static struct kept_codec *unused_codec(size_t bytes)
{
    struct kept_codec *k = codecs;
    while (k < codecs + CODECS_MAX && k->codec != NULL && (k->used || k->bytes != bytes))
        k++;
    return k == codecs + CODECS_MAX ? NULL : k;
}

int __wrap_mr_codec_new(size_t bytes, struct mr_codec **ret)
{
    struct kept_codec *k = unused_codec(bytes);
    assert(k != NULL);
    making_codec = true;
    int r = k->codec != NULL ? 0 : __real_mr_codec_new(bytes, &k->codec);
    making_codec = false;
    if (r < 0)
        return r;
    k->bytes = bytes;
    k->used = true;
    k->owner = fibre_process();
    *ret = k->codec;
    return 0;
}

void __wrap_mr_codec_free(struct mr_codec *codec)
{
    for (size_t i = 0; codec != NULL && i < CODECS_MAX; i++)
        if (codecs[i].codec == codec)
            codecs[i].used = false;
}

/* ---- the end of a process ---- */

size_t memory_take_back(struct serverside *owner)
{
    size_t count = 0;
    for (size_t i = 0; i < CODECS_MAX; i++)
        if (codecs[i].used && codecs[i].owner == owner) {
            codecs[i].used = false;
            count++;
        }
    for (size_t i = 0; i < MAPPED_MAX; i++)
        if (mapped[i].at != NULL && mapped[i].owner == owner) {
            __real_munmap(mapped[i].at, mapped[i].bytes);
            mapped[i].at = NULL;
        }
    struct block *b;
    while ((b = LIST_FIRST(&owner->memory.blocks)) != NULL) {
        count++;
        disown(b);
        b->magic = 0;
        __real_free(b->base);
    }
    return count;
}
