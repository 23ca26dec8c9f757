/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hash of files by name and a binary heap of them by time. Does not look at any file.
 */
#include "filetable.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_BUCKETS 256u

static size_t bucket_of(const struct mr_filetable *t, uint32_t watch, const char *path)
{
    uint64_t hash = 14695981039346656037u ^ watch; /* FNV-1a */
    for (const char *c = path; *c != '\0'; c++)
        hash = (hash ^ (uint8_t)*c) * 1099511628211u;
    return (hash ^ hash >> 32) & (t->bucket_count - 1);
}

static void free_file(struct mr_file *file)
{
    free(file->view);
    free(file);
}

void mr_filetable_fini(struct mr_filetable *t)
{
    for (size_t i = 0; i < t->bucket_count; i++)
        for (struct mr_file *file = t->buckets[i], *next; file != NULL; file = next) {
            next = file->next;
            free_file(file);
        }
    free(t->buckets);
    free(t->due);
    *t = (struct mr_filetable){0};
}

struct mr_file *mr_filetable_find(const struct mr_filetable *t, uint32_t watch, const char *path)
{
    if (t->bucket_count == 0)
        return NULL;
    struct mr_file *file = t->buckets[bucket_of(t, watch, path)];
    while (file != NULL && (file->watch != watch || strcmp(file->path, path) != 0))
        file = file->next;
    return file;
}

/* Room for one more in both; the heap never needs memory later, so scheduling cannot fail. */
static bool make_room(struct mr_filetable *t)
{
    if (t->count == t->due_capacity) {
        size_t capacity = t->due_capacity ? t->due_capacity * 2 : FIRST_BUCKETS;
        struct mr_file **due = realloc(t->due, capacity * sizeof(struct mr_file *));
        if (due == NULL)
            return false;
        t->due = due;
        t->due_capacity = capacity;
    }
    if (t->count < t->bucket_count)
        return true;
    struct mr_filetable next = {.bucket_count =
                                    t->bucket_count ? t->bucket_count * 2 : FIRST_BUCKETS};
    next.buckets = calloc(next.bucket_count, sizeof(struct mr_file *));
    if (next.buckets == NULL)
        return false;
    for (size_t i = 0; i < t->bucket_count; i++)
        for (struct mr_file *file = t->buckets[i], *after; file != NULL; file = after) {
            after = file->next;
            struct mr_file **bucket = &next.buckets[bucket_of(&next, file->watch, file->path)];
            file->next = *bucket;
            *bucket = file;
        }
    free(t->buckets);
    t->buckets = next.buckets;
    t->bucket_count = next.bucket_count;
    return true;
}

struct mr_file *mr_filetable_add(struct mr_filetable *t, uint32_t watch, const char *path)
{
    assert(mr_filetable_find(t, watch, path) == NULL);
    size_t bytes = strlen(path) + 1;
    struct mr_file *file = calloc(1, sizeof(*file) + bytes);
    if (file == NULL || !make_room(t)) {
        free(file);
        return NULL;
    }
    memcpy(file->path, path, bytes);
    file->number = ++t->last_number;
    file->watch = watch;
    file->source = mr_source_of(path);
    file->due_ns = MR_SOURCE_NEVER;
    struct mr_file **bucket = &t->buckets[bucket_of(t, watch, path)];
    file->next = *bucket;
    *bucket = file;
    t->count++;
    return file;
}

void mr_filetable_remove(struct mr_filetable *t, struct mr_file *file)
{
    mr_filetable_schedule(t, file, MR_SOURCE_NEVER);
    struct mr_file **at = &t->buckets[bucket_of(t, file->watch, file->path)];
    while (*at != file)
        at = &(*at)->next;
    *at = file->next;
    t->count--;
    free_file(file);
}

void mr_filetable_each(const struct mr_filetable *t, mr_filetable_visit visit, void *ctx)
{
    for (size_t i = 0; i < t->bucket_count; i++)
        for (struct mr_file *file = t->buckets[i]; file != NULL; file = file->next)
            visit(ctx, file);
}

static void place(struct mr_filetable *t, size_t at, struct mr_file *file)
{
    t->due[at] = file;
    file->due_at = at;
}

static void sift_up(struct mr_filetable *t, struct mr_file *file)
{
    size_t at = file->due_at;
    for (; at > 0 && t->due[(at - 1) / 2]->due_ns > file->due_ns; at = (at - 1) / 2)
        place(t, at, t->due[(at - 1) / 2]);
    place(t, at, file);
}

static void sift_down(struct mr_filetable *t, struct mr_file *file)
{
    size_t at = file->due_at;
    for (size_t child; (child = 2 * at + 1) < t->due_count; at = child) {
        if (child + 1 < t->due_count && t->due[child + 1]->due_ns < t->due[child]->due_ns)
            child++;
        if (t->due[child]->due_ns >= file->due_ns)
            break;
        place(t, at, t->due[child]);
    }
    place(t, at, file);
}

void mr_filetable_schedule(struct mr_filetable *t, struct mr_file *file, int64_t due_ns)
{
    bool queued = file->due_ns != MR_SOURCE_NEVER, wanted = due_ns != MR_SOURCE_NEVER;
    if (!queued && !wanted)
        return;
    if (!queued)
        place(t, t->due_count++, file);
    file->due_ns = due_ns;
    if (wanted) {
        sift_up(t, file);
        sift_down(t, file);
        return;
    }
    struct mr_file *last = t->due[--t->due_count];
    if (last == file)
        return;
    place(t, file->due_at, last);
    sift_up(t, last);
    sift_down(t, last);
}

struct mr_file *mr_filetable_first(const struct mr_filetable *t)
{
    return t->due_count > 0 ? t->due[0] : NULL;
}
