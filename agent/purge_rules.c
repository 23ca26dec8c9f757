/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of freeing sources, the cheap ones first. Unlinks nothing and asks no server. */
#include "purge_rules.h"

#include "base/clock.h"
#include "base/text.h"
#include "watch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

static int say(char why[MR_PURGE_WHY], int code, const char *text)
{
    snprintf(why, MR_PURGE_WHY, "%.*s", MR_PURGE_WHY - 1, text);
    return code;
}

/* ---- names ---- */

static bool begins_with(const char *name, const char *start)
{
    return strncasecmp(name, start, strlen(start)) == 0;
}

static bool ends_with(const char *name, const char *end)
{
    size_t a = strlen(name), b = strlen(end);
    return a >= b && strcasecmp(name + a - b, end) == 0;
}

/* SerialEM's and Leginon's names for what the plug-in wrote, and the habits of others. */
bool mr_purge_is_reference(const char *name)
{
    static const char *const parts[] = {"gainref",  "gain_ref", "gain-ref",
                                        "gain ref", "_gain.",   "-gain."};
    if (begins_with(name, "CountRef") || begins_with(name, "SuperRef") ||
        begins_with(name, "gain.") || ends_with(name, ".gain") ||
        (begins_with(name, "defects") && ends_with(name, ".txt")))
        return true;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        if (strcasestr(name, parts[i]) != NULL)
            return true;
    return false;
}

static bool continues(const char *name, const char *start, size_t bytes, const char *with)
{
    return strncmp(name, start, bytes) == 0 && name[bytes] != '\0' &&
           strchr(with, name[bytes]) != NULL;
}

bool mr_purge_belongs(const char *name, const char *other, bool movie)
{
    const char *dot = strrchr(other, '.');
    size_t whole = strlen(other),
           stem = dot == NULL || dot == other ? whole : (size_t)(dot - other);
    return continues(name, other, whole, "._") || continues(name, other, stem, ".") ||
           (!movie && continues(name, other, stem, "_"));
}

/* ---- its namesakes ---- */

static struct mr_watch_config shown_by(const struct mr_agent_watch *w)
{
    return (struct mr_watch_config){.include = (const char *const *)w->include.items,
                                    .exclude = (const char *const *)w->exclude.items,
                                    .include_count = w->include.count,
                                    .exclude_count = w->exclude.count};
}

/* As it lies there now. */
static int check_committed(const struct mr_purge_case *c, const char *path, bool *ret, char *why)
{
    static _Thread_local struct mr_journal_movie m; /* large */
    struct mr_fs_facts now;
    struct mr_err err = {0};
    *ret = true;
    if (mr_fs_stat(c->root, path, &now) < 0 || !S_ISREG(now.mode))
        return 0;
    int r = mr_journal_find_name(c->journal, c->watch->path, path, &m, &err);
    if (r < 0 && r != -ENOENT)
        return say(why, r, err.text);
    bool done = r == 0 && mr_journal_is_committed(m.state);
    *ret = done && m.identity.inode == now.identity.inode && m.size == now.size &&
           m.mtime_ns == now.mtime_ns;
    return 0;
}

static int check_namesake(const struct mr_purge_case *c, const struct mr_journal_movie *m,
                          const char *name, const char *other, char *why)
{
    char path[MR_PATH_MAX + 1];
    bool committed;
    const struct mr_watch_config shown = shown_by(c->watch);
    if (strcmp(other, name) == 0 || !mr_purge_belongs(name, other, m->kind == MR_KIND_MOVIE))
        return 0;
    int folder = (int)(strlen(m->path) - strlen(name));
    if (snprintf(path, sizeof(path), "%.*s%s", folder, m->path, other) >= (int)sizeof(path) ||
        !mr_watch_wants(&shown, path))
        return 0;
    int r = check_committed(c, path, &committed, why);
    if (r < 0 || committed)
        return r;
    snprintf(why, MR_PURGE_WHY, "it belongs to %.180s, which is not committed", other);
    return -EBUSY;
}

static int check_namesakes(const struct mr_purge_case *c, const struct mr_journal_movie *m,
                           const struct mr_purge_file *f, char *why)
{
    const char *name = "";
    MR_CLEANUP(mr_fs_close) int fd = mr_fs_open_straight(f->parent, ".", O_RDONLY | O_DIRECTORY);
    MR_CLEANUP(mr_fs_list_close) DIR *dir = NULL;
    int r = 0, listed = fd < 0 ? fd : mr_fs_list(fd, &dir);
    while (r == 0 && listed == 0 && (listed = mr_fs_next_name(dir, &name)) == 0 && name != NULL)
        r = check_namesake(c, m, f->name, name, why);
    return r == 0 && listed < 0 ? say(why, listed, "its directory cannot be listed") : r;
}

/* ---- the rules ---- */

static int check_record(const struct mr_purge_case *c, const struct mr_journal_movie *m, char *why)
{
    const struct mr_agent_purge *p = &c->watch->purge;
    const struct mr_watch_config shown = shown_by(c->watch);
    if (mr_purge_is_reference(mr_text_last(m->path)))
        return say(why, -EPERM, "it is a gain reference or a list of defects");
    for (size_t i = 0; i < p->exclude.count; i++)
        if (mr_text_glob_path(p->exclude.items[i], m->path))
            return say(why, -EPERM, "purge.exclude");
    if (!mr_watch_wants(&shown, m->path))
        return say(why, -EPERM, "the watch leaves it out by now");
    if (m->output != MR_OUTPUT_KEEP && !p->allow_converted)
        return say(why, -EPERM, "it was stored converted: purge.allow_converted is false");
    if (m->source.ctime_ns == 0)
        return say(why, -ESTALE, "it is not known what it was when it was read");
    if (m->source.fresh && m->output != MR_OUTPUT_KEEP)
        return say(why, -ESTALE, "it was still changing when it was read");
    return 0;
}

static int check_time(const struct mr_purge_case *c, const struct mr_journal_movie *m, char *why)
{
    char age[MR_QUANTITY_TEXT], after[MR_QUANTITY_TEXT];
    int64_t age_ns = c->real_ns - m->updated_real_ns;
    mr_text_duration_about(age_ns > 0 ? age_ns : 0, age);
    snprintf(why, MR_PURGE_WHY, "committed %s ago; purge.after is %s", age,
             mr_text_duration(c->watch->purge.after_ns, after));
    return age_ns < c->watch->purge.after_ns ? -EAGAIN : 0;
}

/* Of the file's own file system: another may be mounted below the watch. */
static int check_space(const struct mr_purge_case *c, const struct mr_purge_file *f, char *why)
{
    uint64_t free_bytes, total;
    int r = mr_fs_space(f->fd, &free_bytes, &total);
    if (r < 0)
        return say(why, r, "it is not known how much is free");
    uint32_t limit = c->watch->purge.when_free_below;
    double part = total == 0 ? 100.0 : 100.0 * (double)free_bytes / (double)total;
    size_t used = strlen(why);
    snprintf(why + used, MR_PURGE_WHY - used, "; %.1f %% free, purge.when_free_below is %g %%",
             part, limit / 100.0);
    return limit < 10000 && part * 100 >= limit ? -EAGAIN : 0;
}

/* A change in the same tick as the last one that was seen would be seen by now. */
static int check_tick(const struct mr_purge_case *c, const struct mr_journal_movie *m, char *why)
{
    bool settled = c->real_ns - m->source.ctime_ns >= MR_JOURNAL_TICK_S_NS;
    return !m->source.fresh || settled ? 0 : say(why, -EAGAIN, "it changed a moment ago");
}

/* The newest of that name: an older one's record says nothing about what is being shipped now. */
static int check_newest(const struct mr_purge_case *c, const struct mr_journal_movie *m, char *why)
{
    static _Thread_local struct mr_journal_movie newest;
    struct mr_err err = {0};
    int r = mr_journal_find_name(c->journal, c->watch->path, m->path, &newest, &err);
    if (r < 0)
        return say(why, r, r == -ENOENT ? "the journal does not know it" : err.text);
    if (!mr_ulid_equal(&newest.id, &m->id) || newest.revision != m->revision)
        return say(why, -ENOENT, "a newer file or revision of that name is known");
    return 0;
}

static int check_all(const struct mr_purge_case *c, const struct mr_journal_movie *m,
                     const struct mr_purge_file *f, char why[MR_PURGE_WHY])
{
    char due[MR_PURGE_WHY] = "";
    int r = check_newest(c, m, why);
    if (r == 0)
        r = check_record(c, m, why);
    if (r == 0)
        r = check_tick(c, m, why);
    if (r == 0)
        r = check_time(c, m, why);
    if (r == 0)
        r = check_space(c, f, why);
    memcpy(due, why, sizeof(due));
    if (r == 0)
        r = check_namesakes(c, m, f, why);
    if (r == 0)
        r = mr_purge_file_probe(f, why);
    if (r == 0)
        memcpy(why, due, sizeof(due));
    return r;
}

int mr_purge_judge(const struct mr_purge_case *c, const struct mr_journal_movie *m,
                   struct mr_purge_file *ret, char why[MR_PURGE_WHY])
{
    struct mr_purge_file f;
    int r = mr_purge_file_open(c->root, m, &f, why);
    if (r < 0)
        return r;
    r = check_all(c, m, &f, why);
    if (r < 0) {
        mr_purge_file_close(&f);
        return r;
    }
    *ret = f;
    return 0;
}
