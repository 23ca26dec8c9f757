/* SPDX-License-Identifier: Apache-2.0 */
/* The libc functions that list.cmake has the linker wrap, and a few of ours. */
#ifndef MR_TESTS_WRAPPED_H
#define MR_TESTS_WRAPPED_H

#include "base/counter.h"
#include "base/json.h"
#include "base/log.h"
#include "base/tally_sheet.h"
#include "control.h"
#include "landing.h"
#include "lease_file.h"
#include "publish.h"
#include "wire/codec.h"

#include <dirent.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>

/* ---- threads and clocks ---- */
int __wrap_pthread_create(pthread_t *ret, const pthread_attr_t *attr, void *(*body)(void *),
                          void *arg);
int __wrap_pthread_join(pthread_t id, void **ret);
int __wrap_pthread_setname_np(pthread_t id, const char *name);
int __wrap_pthread_sigmask(int how, const sigset_t *set, sigset_t *old);
int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_trylock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex);
int __wrap_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex);
int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
                                  const struct timespec *until);
int __wrap_pthread_cond_signal(pthread_cond_t *cond);
int __wrap_pthread_cond_broadcast(pthread_cond_t *cond);
int64_t __wrap_mr_clock_monotonic_ns(void);
int64_t __wrap_mr_clock_boottime_ns(void);
int64_t __wrap_mr_clock_real_ns(void);
void fibre_forget_mutexes(const struct serverside *process);

/* ---- files ---- */
int __wrap_open64(const char *path, int flags, ...);
int __wrap_openat64(int dir, const char *path, int flags, ...);
long __wrap_syscall(long number, ...);
int __wrap_close(int fd);
ssize_t __wrap_read(int fd, void *data, size_t bytes);
ssize_t __wrap_write(int fd, const void *data, size_t bytes);
ssize_t __wrap_pread64(int fd, void *data, size_t bytes, off_t offset);
ssize_t __wrap_pwrite64(int fd, const void *data, size_t bytes, off_t offset);
off_t __wrap_lseek64(int fd, off_t offset, int whence);
int __wrap_fsync(int fd);
int __wrap_fdatasync(int fd);
int __wrap_syncfs(int fd);
int __wrap_ftruncate64(int fd, off_t size);
int __wrap_fallocate64(int fd, int mode, off_t from, off_t bytes);
int __wrap_posix_fadvise64(int fd, off_t from, off_t bytes, int advice);
int __wrap_mkdirat(int dir, const char *name, mode_t mode);
int __wrap_unlinkat(int dir, const char *name, int flags);
int __wrap_renameat(int from, const char *name, int to, const char *new_name);
int __wrap_renameat2(int from, const char *name, int to, const char *new_name, unsigned flags);
int __wrap_linkat(int from, const char *name, int to, const char *new_name, int flags);
int __wrap_fstat64(int fd, struct stat *ret);
int __wrap_fstatat64(int dir, const char *path, struct stat *ret, int flags);
int __wrap_statx(int dir, const char *path, int flags, unsigned mask, struct statx *ret);
int __wrap_fstatvfs64(int fd, struct statvfs *ret);
int __wrap_fstatfs64(int fd, struct statfs *ret);
int __wrap_futimens(int fd, const struct timespec times[2]);
int __wrap_fchmod(int fd, mode_t mode);
int __wrap_fchown(int fd, uid_t user, gid_t group);
ssize_t __wrap_fgetxattr(int fd, const char *name, void *ret, size_t size);
int __wrap_flock(int fd, int operation);
int __wrap_fcntl64(int fd, int command, ...);
DIR *__wrap_fdopendir(int fd);
struct dirent *__wrap_readdir64(DIR *dir);
int __wrap_closedir(DIR *dir);
int __wrap_eventfd(unsigned count, int flags);
int __wrap_eventfd_read(int fd, eventfd_t *ret);
int __wrap_eventfd_write(int fd, eventfd_t value);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
ssize_t __wrap_getrandom(void *ret, size_t bytes, unsigned flags);

int __real_open64(const char *path, int flags, ...);
int __real_openat64(int dir, const char *path, int flags, ...);
long __real_syscall(long number, ...);
int __real_close(int fd);
ssize_t __real_read(int fd, void *data, size_t bytes);
ssize_t __real_write(int fd, const void *data, size_t bytes);

/* ---- memory ---- */
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *p, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
char *__wrap_strdup(const char *text);
void __wrap_free(void *p);
char *__wrap_mr_json_dump(const struct mr_json *json);
void *__wrap_mmap64(void *at, size_t bytes, int protection, int flags, int fd, off_t offset);
int __wrap_munmap(void *p, size_t bytes);
int __wrap_madvise(void *p, size_t bytes, int advice);

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
void __real_free(void *p);
char *__real_mr_json_dump(const struct mr_json *json);
void *__real_mmap64(void *at, size_t bytes, int protection, int flags, int fd, off_t offset);
int __real_munmap(void *p, size_t bytes);

/* ---- ours ---- */
void __wrap_mr_failpoint(const char *name);
void __wrap_mr_log(enum mr_log_level level, const char *stage, const char *fmt, ...)
    MR_PRINTF(3, 4);
void __wrap_mr_log_seldom(enum mr_log_level level, const char *stage, const char *fmt, ...)
    MR_PRINTF(3, 4);
void __wrap_mr_counters_register(struct mr_counter *counters, size_t count);
void __wrap_mr_counters_unregister(struct mr_counter *counters, size_t count);
void __wrap_mr_tally_begin(const char *name);
void __wrap_mr_tally_end(void);
int __wrap_mr_tally_sheet_open(const char *program, const struct mr_tally_level *levels,
                               size_t count, struct mr_err *err, struct mr_tally_sheet **ret);
void __wrap_mr_tally_sheet_close(struct mr_tally_sheet *sheet, bool at_end);
int __wrap_mr_codec_new(size_t bytes, struct mr_codec **ret);
void __wrap_mr_codec_free(struct mr_codec *codec);
int __wrap_mr_intake_new(const struct mr_intake_config *config, const struct mr_intake_ops *ops,
                         struct mr_intake **ret);
void __wrap_mr_intake_free(struct mr_intake *intake);
void __wrap_mr_intake_tick(struct mr_intake *intake, int64_t now_ns, int64_t real_ns);
int __wrap_mr_queue_new(size_t item_bytes, size_t capacity, struct mr_queue **ret);
int __wrap_mr_landing_new(const struct mr_landing_config *config,
                          const struct mr_landing_callbacks *callbacks, struct mr_err *notice,
                          struct mr_landing **ret);
int __wrap_mr_lease_self(const char *server, struct mr_lease_holder *ret);
bool __wrap_mr_lease_is_gone(const struct mr_lease_holder *self,
                             const struct mr_lease_holder *other);
int __wrap_mr_publish_new(struct mr_link *link, struct mr_eventlog *log, const char *events,
                          const char *replay, struct mr_publish **ret, struct mr_err *err);

int __real_mr_codec_new(size_t bytes, struct mr_codec **ret);
void __real_mr_codec_free(struct mr_codec *codec);
int __real_mr_intake_new(const struct mr_intake_config *config, const struct mr_intake_ops *ops,
                         struct mr_intake **ret);
void __real_mr_intake_free(struct mr_intake *intake);
void __real_mr_intake_tick(struct mr_intake *intake, int64_t now_ns, int64_t real_ns);
int __real_mr_queue_new(size_t item_bytes, size_t capacity, struct mr_queue **ret);
int __real_mr_landing_new(const struct mr_landing_config *config,
                          const struct mr_landing_callbacks *callbacks, struct mr_err *notice,
                          struct mr_landing **ret);
int __real_mr_publish_new(struct mr_link *link, struct mr_eventlog *log, const char *events,
                          const char *replay, struct mr_publish **ret, struct mr_err *err);

#endif
