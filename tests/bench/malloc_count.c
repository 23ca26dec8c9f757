/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Under LD_PRELOAD: counts what the program itself allocates, apart from its libraries, and writes
 * "ours others" to the file MALLOC_COUNT at its end. Ours are calls whose return address lies in
 * the executable's own code; what a library allocates for it (libzmq a message, libc a strdup)
 * counts as others. x86-64 and arm64 with glibc.
 */
#include <link.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *p, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);

static uintptr_t code_begin, code_end;
static atomic_ullong ours, others;

static int find_code(struct dl_phdr_info *info, size_t size, void *ctx)
{
    (void)size;
    (void)ctx;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        if (part->p_type != PT_LOAD || !(part->p_flags & PF_X))
            continue;
        code_begin = info->dlpi_addr + part->p_vaddr;
        code_end = code_begin + part->p_memsz;
    }
    return 1; /* the executable comes first */
}

__attribute__((constructor)) static void begin(void)
{
    dl_iterate_phdr(find_code, NULL);
}

__attribute__((destructor)) static void end(void)
{
    const char *path = getenv("MALLOC_COUNT");
    unsigned long long a = atomic_load(&ours), b = atomic_load(&others);
    FILE *out = path == NULL ? NULL : fopen(path, "w");
    if (out == NULL)
        return;
    fprintf(out, "%llu %llu\n", a, b);
    fclose(out);
}

static void count(const void *caller)
{
    if ((uintptr_t)caller >= code_begin && (uintptr_t)caller < code_end)
        atomic_fetch_add_explicit(&ours, 1, memory_order_relaxed);
    else
        atomic_fetch_add_explicit(&others, 1, memory_order_relaxed);
}

void *malloc(size_t bytes)
{
    count(__builtin_return_address(0));
    return __libc_malloc(bytes);
}

void *calloc(size_t n, size_t bytes)
{
    count(__builtin_return_address(0));
    return __libc_calloc(n, bytes);
}

void *realloc(void *p, size_t bytes)
{
    count(__builtin_return_address(0));
    return __libc_realloc(p, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
    count(__builtin_return_address(0));
    return __libc_memalign(alignment, bytes);
}
