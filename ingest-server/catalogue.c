/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalogue's file and its tables. Entries are made once, never changed or freed before close;
 * the mutex guards the tables' chains, never I/O. Does not judge what a movie is or move files:
 * that an old revision's file is gone is seal's word.
 */
#include "catalogue.h"

#include "base/fs.h"
#include "base/text.h"
#include "catalogue_line.h"
#include "lease_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_NAME  "catalogue.log"
#define SOURCE_MAX (3 * MR_PATH_MAX + 1) /* escaped */
#define ROOM_BYTES (UINT64_C(1) << 20)   /* kept on the disk for lines of a full disk */

enum table { BY_ID, BY_SOURCE, TABLES };

struct node {
    struct mr_catalogue_entry entry; /* texts point behind the node */
    uint64_t hash[TABLES];
    struct node *next[TABLES]; /* of the same bucket, newer entries first */
    bool expired;
};

struct mr_catalogue {
    int fd;
    char name[MR_CATALOGUE_NAME];
    bool broken;                  /* writer */
    uint64_t bytes, synced_bytes; /* writer: of the file */
    pthread_mutex_t lock;
    struct node **nodes; /* in order of their lines */
    size_t count, room, expired;
    struct node **buckets[TABLES];
    size_t bucket_count; /* power of two, or 0 */
};

/* ---- tables ---- */

static uint64_t hash_bytes(uint64_t h, const void *data, size_t bytes) /* FNV-1a */
{
    const unsigned char *p = data;
    for (size_t i = 0; i < bytes; i++)
        h = (h ^ p[i]) * 0x100000001b3u;
    return h;
}

static uint64_t hash_text(uint64_t h, const char *s)
{
    return hash_bytes(h, s, strlen(s) + 1);
}

#define HASH_START 0xcbf29ce484222325u

static uint64_t hash_source(const char *agent, const char *source)
{
    return hash_text(hash_text(HASH_START, agent), source);
}

static struct node **bucket(struct mr_catalogue *c, enum table t, uint64_t hash)
{
    return &c->buckets[t][(hash ^ (hash >> 32)) & (c->bucket_count - 1)];
}

static void chain(struct mr_catalogue *c, struct node *n)
{
    for (enum table t = BY_ID; t < TABLES; t++) {
        struct node **head = bucket(c, t, n->hash[t]);
        n->next[t] = *head;
        *head = n;
    }
}

static int grow_buckets(struct mr_catalogue *c)
{
    size_t wanted = c->bucket_count > 0 ? 2 * c->bucket_count : 256;
    struct node **all = calloc(TABLES * wanted, sizeof(struct node *));
    if (!all)
        return -ENOMEM;
    free(c->buckets[0]);
    for (size_t t = 0; t < TABLES; t++)
        c->buckets[t] = all + t * wanted;
    c->bucket_count = wanted;
    for (size_t i = 0; i < c->count; i++) /* in order, so that chains stay newest first */
        chain(c, c->nodes[i]);
    return 0;
}

static int grow_nodes(struct mr_catalogue *c)
{
    size_t wanted = c->room > 0 ? 2 * c->room : 256;
    struct node **more = realloc(c->nodes, wanted * sizeof(struct node *));
    if (!more)
        return -ENOMEM;
    c->nodes = more;
    c->room = wanted;
    return 0;
}

static const char *keep_text(char **at, const char *text)
{
    size_t bytes = strlen(text) + 1;
    char *kept = memcpy(*at, text, bytes);
    *at += bytes;
    return kept;
}

static struct node *make_node(const struct mr_catalogue_entry *e)
{
    size_t texts = strlen(e->agent) + strlen(e->source) + strlen(e->path) + strlen(e->event) + 4;
    struct node *n = calloc(1, sizeof(*n) + texts);
    if (!n)
        return NULL;
    char *at = (char *)(n + 1);
    n->entry = *e;
    n->entry.agent = keep_text(&at, e->agent);
    n->entry.source = keep_text(&at, e->source);
    n->entry.path = keep_text(&at, e->path);
    n->entry.event = keep_text(&at, e->event);
    n->hash[BY_ID] = hash_bytes(HASH_START, e->id.bytes, sizeof(e->id.bytes));
    n->hash[BY_SOURCE] = hash_source(e->agent, e->source);
    return n;
}

static int insert(struct mr_catalogue *c, struct node *n)
{
    int r = c->count == c->room ? grow_nodes(c) : 0;
    if (r == 0 && c->count >= c->bucket_count)
        r = grow_buckets(c);
    if (r < 0)
        return r;
    c->nodes[c->count++] = n;
    chain(c, n);
    return 0;
}

static int insert_locked(struct mr_catalogue *c, struct node *n)
{
    pthread_mutex_lock(&c->lock);
    int r = insert(c, n);
    pthread_mutex_unlock(&c->lock);
    return r;
}

/* ---- looking up; under the lock ---- */

static bool is_id(const struct node *n, const struct mr_ulid *id)
{
    return mr_ulid_equal(&n->entry.id, id);
}

static struct node *id_chain(struct mr_catalogue *c, const struct mr_ulid *id)
{
    uint64_t hash = hash_bytes(HASH_START, id->bytes, sizeof(id->bytes));
    return c->bucket_count > 0 ? *bucket(c, BY_ID, hash) : NULL;
}

static struct node *newest(struct mr_catalogue *c, const struct mr_ulid *id)
{
    struct node *best = NULL;
    for (struct node *n = id_chain(c, id); n; n = n->next[BY_ID])
        if (is_id(n, id) && !n->expired && (!best || n->entry.revision > best->entry.revision))
            best = n;
    return best;
}

/* Whatever its state. */
static struct node *exact(struct mr_catalogue *c, const struct mr_ulid *id, uint32_t revision)
{
    for (struct node *n = id_chain(c, id); n; n = n->next[BY_ID])
        if (is_id(n, id) && n->entry.revision == revision)
            return n;
    return NULL;
}

static struct node *next_of_source(struct node *n, uint64_t hash, const char *agent,
                                   const char *source)
{
    for (; n; n = n->next[BY_SOURCE])
        if (n->hash[BY_SOURCE] == hash && !n->expired && strcmp(n->entry.agent, agent) == 0 &&
            strcmp(n->entry.source, source) == 0)
            return n;
    return NULL;
}

/* ---- the file ---- */

struct loading {
    struct mr_catalogue *c;
    struct mr_err *err;
};

static int load_expire(struct mr_catalogue *c, const struct mr_catalogue_entry *e)
{
    struct node *n = exact(c, &e->id, e->revision);
    if (n && !n->expired) {
        n->expired = true;
        c->expired++;
    }
    return 0;
}

static int load_commit(struct mr_catalogue *c, const struct mr_catalogue_entry *e)
{
    if (exact(c, &e->id, e->revision))
        return 0;
    struct node *n = make_node(e);
    int r = n ? insert(c, n) : -ENOMEM;
    if (r < 0)
        free(n);
    return r;
}

static int load_line(void *ctx, const char *text, size_t bytes, uint64_t offset)
{
    struct loading *l = ctx;
    struct mr_catalogue_line line;
    struct mr_err why = {.code = 0};
    int r = mr_catalogue_line_parse(text, bytes, &line, &why);
    if (r == -EPROTO)
        return mr_err_set(l->err, -EUCLEAN, "%s: no catalogue line at offset %" PRIu64 ": %s",
                          l->c->name, offset, why.text);
    if (r == 0)
        r = line.expire ? load_expire(l->c, &line.entry) : load_commit(l->c, &line.entry);
    mr_catalogue_line_fini(&line);
    return r;
}

void mr_catalogue_name(uint32_t epoch, char ret[MR_CATALOGUE_NAME])
{
    if (epoch == 0)
        (void)snprintf(ret, MR_CATALOGUE_NAME, FILE_NAME);
    else
        (void)snprintf(ret, MR_CATALOGUE_NAME, "catalogue.e%" PRIu32 ".log", epoch);
}

static int open_file(struct mr_catalogue *c, int dir, struct mr_err *err)
{
    struct mr_epochs epochs;
    int r = mr_epochs_load(dir, &epochs, err);
    if (r < 0)
        return r;
    mr_catalogue_name(mr_epochs_last(&epochs), c->name);
    c->fd = openat(dir, c->name, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (c->fd < 0)
        return mr_err_errno(err, -errno, "%s: opening", c->name);
    r = mr_fs_sync_dir(dir);
    return r < 0 ? mr_err_errno(err, r, "%s: syncing its directory", c->name) : 0;
}

int mr_catalogue_open(int millrace_dir, struct mr_catalogue **ret, struct mr_mend_note *note,
                      struct mr_err *err)
{
    struct mr_err local = {.code = 0};
    err = err ? err : &local;
    struct mr_catalogue *c = calloc(1, sizeof(*c));
    if (!c)
        return mr_err_errno(err, -ENOMEM, FILE_NAME);
    pthread_mutex_init(&c->lock, NULL);
    struct loading l = {.c = c, .err = err};
    int r = open_file(c, millrace_dir, err);
    if (r == 0)
        r = mr_mend_scan(c->fd, c->name, true, load_line, &l, note, err);
    struct stat st;
    if (r == 0 && fstat(c->fd, &st) < 0)
        r = mr_err_errno(err, -errno, "%s", c->name);
    if (r < 0) {
        mr_catalogue_close(c);
        return r;
    }
    c->bytes = c->synced_bytes = (uint64_t)st.st_size;
    mr_fs_reserve(c->fd, ROOM_BYTES);
    *ret = c;
    return 0;
}

void mr_catalogue_close(struct mr_catalogue *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->count; i++)
        free(c->nodes[i]);
    free(c->nodes);
    free(c->buckets[0]);
    mr_fs_close(&c->fd);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

/* ---- writing ---- */

static int broken(struct mr_catalogue *c, int code, struct mr_err *err, const char *what)
{
    c->broken = true;
    mr_err_errno(err, code, "%s: %s", c->name, what);
    return -EIO;
}

/* Takes text. */
static int write_line(struct mr_catalogue *c, char *text, struct mr_err *err)
{
    size_t bytes = text ? strlen(text) : 0, line_bytes = 0;
    char *line = text ? malloc(bytes + MR_RECORD_AROUND) : NULL;
    int r = line == NULL ? -ENOMEM
            : c->bytes == c->synced_bytes
                ? mr_recordlog_format(text, bytes, line, bytes + MR_RECORD_AROUND, &line_bytes)
                : mr_recordlog_format_behind(c->synced_bytes, text, bytes, line,
                                             bytes + MR_RECORD_AROUND, &line_bytes);
    mr_fs_reserve(c->fd, ROOM_BYTES);
    if (r < 0)
        mr_err_errno(err, r, FILE_NAME ": a line");
    else if (mr_recordlog_is_whole(r = mr_recordlog_append_whole(c->fd, line, line_bytes)))
        mr_err_errno(err, r, FILE_NAME ": appending");
    else if (r < 0)
        r = broken(c, r, err, "appending");
    else
        c->bytes += line_bytes;
    free(line);
    free(text);
    return r;
}

static void escape_source(const char *source, char ret[SOURCE_MAX])
{
    struct mr_text t = mr_text_init(ret, SOURCE_MAX);
    mr_text_append_escaped(&t, source);
}

static int check_entry(const struct mr_catalogue_entry *e, struct mr_err *err)
{
    if (strlen(e->source) > MR_PATH_MAX)
        return mr_err_set(err, -EINVAL, FILE_NAME ": source path over %d bytes", MR_PATH_MAX);
    if (!mr_text_is_utf8(e->agent, strlen(e->agent)) ||
        !mr_text_is_utf8(e->path, strlen(e->path)) || !mr_text_is_utf8(e->event, strlen(e->event)))
        return mr_err_set(err, -EINVAL, FILE_NAME ": a name that is not UTF-8");
    if (e->revision == 0 || e->bytes > INT64_MAX || e->source_bytes > INT64_MAX ||
        e->sequence > INT64_MAX || e->output < MR_OUTPUT_KEEP || e->output > MR_OUTPUT_HDF5)
        return mr_err_set(err, -EINVAL, FILE_NAME ": a number out of range");
    return 0;
}

int mr_catalogue_add(struct mr_catalogue *c, const struct mr_catalogue_entry *entry,
                     struct mr_err *err)
{
    char source[SOURCE_MAX];
    struct mr_catalogue_entry e = *entry;
    if (c->broken)
        return mr_err_set(err, -EIO, FILE_NAME ": broken by an earlier error");
    int r = check_entry(entry, err);
    if (r < 0)
        return r;
    if (exact(c, &e.id, e.revision)) /* no lock: this thread alone changes chains */
        return -EEXIST;
    escape_source(entry->source, source);
    e.source = source;
    struct node *n = make_node(&e);
    if (!n)
        return mr_err_errno(err, -ENOMEM, FILE_NAME);
    r = write_line(c, mr_catalogue_line_commit(&e), err);
    if (r == 0 && (r = insert_locked(c, n)) < 0)
        r = broken(c, r, err, "indexing");
    if (r < 0)
        free(n);
    return r;
}

int mr_catalogue_expire(struct mr_catalogue *c, const struct mr_ulid *id, uint32_t revision,
                        struct mr_err *err)
{
    if (c->broken)
        return mr_err_set(err, -EIO, FILE_NAME ": broken by an earlier error");
    struct node *n = exact(c, id, revision);
    if (!n || n->expired)
        return mr_err_set(err, -ENOENT, FILE_NAME ": no such revision");
    int r = write_line(c, mr_catalogue_line_expire(id, revision), err);
    if (r < 0)
        return r;
    pthread_mutex_lock(&c->lock);
    n->expired = true;
    c->expired++;
    pthread_mutex_unlock(&c->lock);
    return 0;
}

int mr_catalogue_sync(struct mr_catalogue *c, struct mr_err *err)
{
    if (c->broken)
        return mr_err_set(err, -EIO, FILE_NAME ": broken by an earlier error");
    if (fdatasync(c->fd) < 0)
        return broken(c, -errno, err, "syncing");
    c->synced_bytes = c->bytes;
    return 0;
}

/* ---- questions ---- */

static const struct mr_catalogue_entry *entry_of(const struct node *n)
{
    return n ? &n->entry : NULL;
}

const struct mr_catalogue_entry *mr_catalogue_find(struct mr_catalogue *c, const struct mr_ulid *id)
{
    pthread_mutex_lock(&c->lock);
    const struct node *n = newest(c, id);
    pthread_mutex_unlock(&c->lock);
    return entry_of(n);
}

const struct mr_catalogue_entry *mr_catalogue_find_revision(struct mr_catalogue *c,
                                                            const struct mr_ulid *id,
                                                            uint32_t revision)
{
    pthread_mutex_lock(&c->lock);
    const struct node *n = exact(c, id, revision);
    if (n && n->expired)
        n = NULL;
    pthread_mutex_unlock(&c->lock);
    return entry_of(n);
}

static bool same_content(const struct mr_catalogue_entry *e, const struct mr_catalogue_content *w)
{
    if (e->output != w->output || e->geometry != w->geometry)
        return false;
    /* kept byte for byte: the same pixels under another header are another file */
    if (e->output != MR_OUTPUT_KEEP && e->has_pixels && w->has_pixels)
        return e->digest_pixels == w->digest_pixels;
    return w->has_file && e->digest_file == w->digest_file;
}

int mr_catalogue_is_unchanged(int root, const struct mr_catalogue_entry *e)
{
    struct mr_fs_facts facts;
    MR_CLEANUP(mr_fs_close) int fd = mr_fs_open_beneath(root, e->path, O_PATH | O_NOFOLLOW, 0);
    int r = fd < 0 ? fd : mr_fs_stat(fd, "", &facts);
    if (r == -ENOENT || r == -ENOTDIR || r == -ELOOP || r == -EXDEV)
        return 0;
    return r < 0 ? r
                 : S_ISREG(facts.mode) && facts.size == e->bytes && facts.mtime_ns == e->mtime_ns;
}

int mr_catalogue_find_content(struct mr_catalogue *c, int root,
                              const struct mr_catalogue_content *what,
                              const struct mr_catalogue_entry **ret)
{
    char source[SOURCE_MAX];
    escape_source(what->source, source);
    uint64_t hash = hash_source(what->agent, source);
    struct node *n = NULL;
    for (bool begun = false;; begun = true) {
        pthread_mutex_lock(&c->lock);
        if (begun)
            n = n->next[BY_SOURCE]; /* chains keep their order when tables grow in between */
        else
            n = c->bucket_count > 0 ? *bucket(c, BY_SOURCE, hash) : NULL;
        n = next_of_source(n, hash, what->agent, source);
        bool current = n && newest(c, &n->entry.id) == n;
        pthread_mutex_unlock(&c->lock);
        if (!n)
            return -ENOENT;
        if (!current || !same_content(&n->entry, what))
            continue;
        int unchanged = mr_catalogue_is_unchanged(root, &n->entry);
        if (unchanged < 0)
            return unchanged;
        if (unchanged > 0) {
            *ret = &n->entry;
            return 0;
        }
    }
}

/* The next revision after n's, or NULL. Writer's thread. */
static const struct node *successor(struct mr_catalogue *c, const struct node *n)
{
    const struct node *best = NULL;
    for (struct node *m = id_chain(c, &n->entry.id); m; m = m->next[BY_ID])
        if (is_id(m, &n->entry.id) && m->entry.revision > n->entry.revision &&
            (!best || m->entry.revision < best->entry.revision))
            best = m;
    return best;
}

int mr_catalogue_superseded(struct mr_catalogue *c, int64_t before_real_ns,
                            mr_catalogue_visit visit, void *ctx)
{
    for (size_t i = 0; i < c->count; i++) {
        const struct node *n = c->nodes[i], *by = n->expired ? NULL : successor(c, n);
        if (!by || by->entry.committed_real_ns >= before_real_ns)
            continue;
        int r = visit(ctx, &n->entry, &by->entry);
        if (r != 0)
            return r;
    }
    return 0;
}

size_t mr_catalogue_count(struct mr_catalogue *c)
{
    pthread_mutex_lock(&c->lock);
    size_t count = c->count - c->expired;
    pthread_mutex_unlock(&c->lock);
    return count;
}

uint64_t mr_catalogue_geometry_key(const struct mr_geometry *g)
{
    const uint64_t parts[] = {g->layout,
                              g->source_pixel,
                              g->pixel,
                              g->swap_bytes,
                              g->width,
                              g->height,
                              g->data_offset,
                              g->source_data_offset,
                              g->source_frame_bytes};
    uint64_t h = HASH_START;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        for (unsigned shift = 0; shift < 64; shift += 8)
            h = (h ^ (parts[i] >> shift & 0xff)) * 0x100000001b3u;
    return h;
}
