/*
 * Preloaded into a program (LD_PRELOAD), this writes down what the program does to the files directly in one folder, and
 * what it sends over TCP, in the order in which it happened, in one journal outside that folder. From a prefix of the
 * journal, power-loss.ts works out what a disk may hold when the power goes at that point.
 *
 *   POWER_FOLDER   the folder, as an absolute path without links
 *   POWER_JOURNAL  the journal, which is made anew
 *   POWER_CLOCK    a file of eight bytes, as a little-endian int64: by how many ms the program's clock is ahead. It may
 *                  change at any time, so that hours pass for the program. Without it the clock is left alone.
 *
 *   journal := record*      record := kind:u8 0:u8×3 aux:u32 timeNs:u64 a:u64 b:u64 length:u64 data:u8×length
 *
 *   kind            a       b       aux              data
 *   'O' opened      inode   size    1: it was made   path
 *   'W' written     inode   offset                   the bytes
 *   'T' truncated   inode   size
 *   'B' sync begun  inode                            inode 0 is the folder itself
 *   'S' sync done   inode
 *   'R' renamed                                      old path, 0, new path
 *   'U' unlinked                                     path
 *   'N' sent        local   remote                   the bytes; a and b are TCP ports
 *   '!' a thing this does not follow                 what it was
 *
 * A record is written after what it tells of, but for 'B'. So what stands before a 'B' had been handed to the kernel when
 * the sync began, and is durable at its 'S'. Times are of the monotonic clock, which all processes share; that of an 'N'
 * was taken before it was sent, so that no answer is earlier.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define FDS_MAX 65536

/* What a descriptor is: a file below the folder, whose inode it then is, or one of these. */
#define FD_UNKNOWN 0
#define FD_FOLDER UINT64_MAX

struct record {
  uint8_t kind;
  uint8_t zero[3];
  uint32_t aux;
  uint64_t time_ns, a, b, length;
};

static uint64_t fds[FDS_MAX];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char folder[PATH_MAX];
static size_t folder_length;
static int journal = -1;
static pid_t owner;
static const volatile int64_t *clock_ahead_ms;

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name) {
  void *symbol = dlsym(RTLD_NEXT, name);
  if (symbol == NULL) abort();
  return symbol;
}

/* Each function keeps what it found, so that the search is made once. */
#define FOUND(name)                              \
  static __typeof__(&name) found;                \
  if (found == NULL) found = REAL(name)

static int real_open(const char *path, int flags, mode_t mode) {
  FOUND(open64);
  return found(path, flags, mode);
}

static ssize_t real_write(int fd, const void *bytes, size_t length) {
  FOUND(write);
  return found(fd, bytes, length);
}

/* A fork of the program, such as a child about to start another program, has no part in the journal. */
static int is_on(void) { return journal >= 0 && getpid() == owner; }

__attribute__((constructor)) static void start(void) {
  const char *of = getenv("POWER_FOLDER"), *to = getenv("POWER_JOURNAL");
  if (of == NULL || to == NULL) return;
  folder_length = strlen(of);
  if (folder_length == 0 || folder_length >= sizeof folder) abort();
  memcpy(folder, of, folder_length + 1);
  journal = real_open(to, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
  if (journal < 0) abort();
  owner = getpid();
  const char *clock = getenv("POWER_CLOCK");
  if (clock != NULL) {
    int fd = real_open(clock, O_RDONLY | O_CLOEXEC, 0);
    void *mapped = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *clock_ahead_ms, PROT_READ, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED) abort();
    clock_ahead_ms = mapped;
  }
  /* Children are no part of it. */
  unsetenv("LD_PRELOAD");
}

int clock_gettime(clockid_t id, struct timespec *now) {
  FOUND(clock_gettime);
  int result = found(id, now);
  if (result != 0 || id != CLOCK_REALTIME || clock_ahead_ms == NULL) return result;
  int64_t ns = (int64_t)now->tv_sec * 1000000000 + now->tv_nsec + *clock_ahead_ms * 1000000;
  now->tv_sec = ns / 1000000000;
  now->tv_nsec = ns % 1000000000;
  return 0;
}

/* The time zone is of no use to anybody. */
int gettimeofday(struct timeval *now, void *zone) {
  (void)zone;
  struct timespec precise;
  int result = clock_gettime(CLOCK_REALTIME, &precise);
  now->tv_sec = precise.tv_sec;
  now->tv_usec = precise.tv_nsec / 1000;
  return result;
}

static void put_whole(const void *bytes, size_t length) {
  const char *at = bytes;
  while (length > 0) {
    ssize_t written = real_write(journal, at, length);
    if (written < 0 && errno == EINTR) continue;
    /* A journal with a hole in it would prove nothing. */
    if (written <= 0) abort();
    at += written;
    length -= (size_t)written;
  }
}

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void put_at(uint64_t time_ns, uint8_t kind, uint32_t aux, uint64_t a, uint64_t b, const struct iovec *parts,
                   int count, size_t length) {
  int saved = errno;
  pthread_mutex_lock(&lock);
  struct record head = {kind, {0}, aux, time_ns, a, b, length};
  put_whole(&head, sizeof head);
  for (int i = 0; i < count && length > 0; i++) {
    size_t part = parts[i].iov_len < length ? parts[i].iov_len : length;
    put_whole(parts[i].iov_base, part);
    length -= part;
  }
  pthread_mutex_unlock(&lock);
  errno = saved;
}

static void put(uint8_t kind, uint32_t aux, uint64_t a, uint64_t b, const struct iovec *parts, int count, size_t length) {
  put_at(now_ns(), kind, aux, a, b, parts, count, length);
}

static void put_bytes(uint8_t kind, uint32_t aux, uint64_t a, uint64_t b, const void *bytes, size_t length) {
  struct iovec part = {(void *)bytes, length};
  put(kind, aux, a, b, &part, 1, length);
}

static void put_unknown(const char *what) { put_bytes('!', 0, 0, 0, what, strlen(what)); }

static int is_inside(const char *path) {
  return path != NULL && strncmp(path, folder, folder_length) == 0 && path[folder_length] == '/';
}

static uint64_t what_is(int fd) { return fd >= 0 && fd < FDS_MAX ? __atomic_load_n(&fds[fd], __ATOMIC_SEQ_CST) : FD_UNKNOWN; }

static void set_what(int fd, uint64_t what) {
  if (fd >= 0 && fd < FDS_MAX) __atomic_store_n(&fds[fd], what, __ATOMIC_SEQ_CST);
}

static int is_file(int fd) {
  uint64_t what = what_is(fd);
  return what != FD_UNKNOWN && what != FD_FOLDER;
}

static void sent(uint64_t time_ns, int fd, const struct iovec *parts, int count, ssize_t length) {
  struct sockaddr_storage local, remote;
  socklen_t local_size = sizeof local, remote_size = sizeof remote;
  int saved = errno;
  if (getsockname(fd, (struct sockaddr *)&local, &local_size) == 0 && local.ss_family == AF_INET &&
      getpeername(fd, (struct sockaddr *)&remote, &remote_size) == 0) {
    put_at(time_ns, 'N', 0, ntohs(((struct sockaddr_in *)&local)->sin_port),
           ntohs(((struct sockaddr_in *)&remote)->sin_port), parts, count, (size_t)length);
  }
  errno = saved;
}

static void wrote(int fd, uint64_t offset, const struct iovec *parts, int count, ssize_t length) {
  put('W', 0, what_is(fd), offset, parts, count, (size_t)length);
}

static int opened(const char *path, int flags, mode_t mode) {
  if (!is_on()) return real_open(path, flags, mode);
  struct stat found;
  if (strcmp(path, folder) == 0) {
    int fd = real_open(path, flags, mode);
    if (fd >= 0) set_what(fd, FD_FOLDER);
    return fd;
  }
  if (!is_inside(path)) {
    int fd = real_open(path, flags, mode);
    if (fd >= 0) set_what(fd, FD_UNKNOWN);
    return fd;
  }
  int was_there = stat(path, &found) == 0;
  int fd = real_open(path, flags, mode);
  if (fd < 0) return fd;
  fstat(fd, &found);
  set_what(fd, found.st_ino);
  put_bytes('O', !was_there, found.st_ino, (uint64_t)found.st_size, path, strlen(path));
  if (was_there && (flags & O_TRUNC)) put('T', 0, found.st_ino, 0, NULL, 0, 0);
  if ((flags & (O_SYNC | O_DSYNC)) != 0) put_unknown("a file opened with O_SYNC");
  return fd;
}

static mode_t mode_of(int flags, va_list list) { return flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0; }

#define OPEN(name)                                \
  int name(const char *path, int flags, ...) {    \
    va_list list;                                 \
    va_start(list, flags);                        \
    mode_t mode = mode_of(flags, list);           \
    va_end(list);                                 \
    return opened(path, flags, mode);             \
  }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                        \
  int name(int at, const char *path, int flags, ...) {                      \
    FOUND(name);                                                            \
    va_list list;                                                           \
    va_start(list, flags);                                                  \
    mode_t mode = mode_of(flags, list);                                     \
    va_end(list);                                                           \
    if (path[0] == '/' || at == AT_FDCWD) return opened(path, flags, mode); \
    return found(at, path, flags, mode);                                    \
  }
OPENAT(openat)
OPENAT(openat64)

int creat(const char *path, mode_t mode) { return opened(path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return opened(path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

int close(int fd) {
  FOUND(close);
  set_what(fd, FD_UNKNOWN);
  return found(fd);
}

/* What a file has been given without an offset stands before where the file now is. */
static uint64_t start_of(int fd, ssize_t length) { return (uint64_t)(lseek(fd, 0, SEEK_CUR) - length); }

ssize_t write(int fd, const void *bytes, size_t length) {
  uint64_t time_ns = now_ns();
  ssize_t done = real_write(fd, bytes, length);
  if (done <= 0 || !is_on() || fd == journal) return done;
  struct iovec part = {(void *)bytes, length};
  if (is_file(fd)) wrote(fd, start_of(fd, done), &part, 1, done);
  else sent(time_ns, fd, &part, 1, done);
  return done;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
  FOUND(writev);
  uint64_t time_ns = now_ns();
  ssize_t done = found(fd, parts, count);
  if (done <= 0 || !is_on()) return done;
  if (is_file(fd)) wrote(fd, start_of(fd, done), parts, count, done);
  else sent(time_ns, fd, parts, count, done);
  return done;
}

ssize_t send(int fd, const void *bytes, size_t length, int flags) {
  FOUND(send);
  uint64_t time_ns = now_ns();
  ssize_t done = found(fd, bytes, length, flags);
  struct iovec part = {(void *)bytes, length};
  if (done > 0 && is_on()) sent(time_ns, fd, &part, 1, done);
  return done;
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
  FOUND(sendmsg);
  uint64_t time_ns = now_ns();
  ssize_t done = found(fd, message, flags);
  if (done > 0 && is_on()) sent(time_ns, fd, message->msg_iov, (int)message->msg_iovlen, done);
  return done;
}

#define PWRITE(name)                                                            \
  ssize_t name(int fd, const void *bytes, size_t length, __typeof__(off_t) at) { \
    FOUND(name);                                                                \
    ssize_t done = found(fd, bytes, length, at);                                \
    struct iovec part = {(void *)bytes, length};                                \
    if (done > 0 && is_on() && is_file(fd)) wrote(fd, (uint64_t)at, &part, 1, done); \
    return done;                                                                \
  }
PWRITE(pwrite)
PWRITE(pwrite64)

#define PWRITEV(name)                                                          \
  ssize_t name(int fd, const struct iovec *parts, int count, off_t at) {       \
    FOUND(name);                                                               \
    ssize_t done = found(fd, parts, count, at);                                \
    if (done > 0 && is_on() && is_file(fd)) wrote(fd, (uint64_t)at, parts, count, done); \
    return done;                                                               \
  }
PWRITEV(pwritev)
PWRITEV(pwritev64)

#define FTRUNCATE(name)                                                                            \
  int name(int fd, off_t size) {                                                                   \
    FOUND(name);                                                                                   \
    int done = found(fd, size);                                                                    \
    if (done == 0 && is_on() && is_file(fd)) put('T', 0, what_is(fd), (uint64_t)size, NULL, 0, 0); \
    return done;                                                                                   \
  }
FTRUNCATE(ftruncate)
FTRUNCATE(ftruncate64)

#define FALLOCATE(name, arguments, ...)                                             \
  int name arguments {                                                              \
    FOUND(name);                                                                    \
    if (is_on() && is_file(fd)) put_unknown(#name);                                 \
    return found(__VA_ARGS__);                                                      \
  }
FALLOCATE(fallocate, (int fd, int mode, off_t at, off_t length), fd, mode, at, length)
FALLOCATE(fallocate64, (int fd, int mode, off_t at, off_t length), fd, mode, at, length)
FALLOCATE(posix_fallocate, (int fd, off_t at, off_t length), fd, at, length)
FALLOCATE(posix_fallocate64, (int fd, off_t at, off_t length), fd, at, length)

#define FSYNC(name)                                          \
  int name(int fd) {                                         \
    FOUND(name);                                             \
    uint64_t what = is_on() ? what_is(fd) : FD_UNKNOWN;      \
    if (what == FD_UNKNOWN) return found(fd);                \
    uint64_t inode = what == FD_FOLDER ? 0 : what;           \
    put('B', 0, inode, 0, NULL, 0, 0);                       \
    int done = found(fd);                                    \
    if (done == 0) put('S', 0, inode, 0, NULL, 0, 0);        \
    return done;                                             \
  }
FSYNC(fsync)
FSYNC(fdatasync)

int rename(const char *from, const char *to) {
  FOUND(rename);
  int done = found(from, to);
  if (done == 0 && is_on() && (is_inside(from) || is_inside(to))) {
    struct iovec parts[2] = {{(void *)from, strlen(from) + 1}, {(void *)to, strlen(to)}};
    put('R', 0, 0, 0, parts, 2, parts[0].iov_len + parts[1].iov_len);
  }
  return done;
}

int unlink(const char *path) {
  FOUND(unlink);
  int done = found(path);
  if (done == 0 && is_on() && is_inside(path)) put_bytes('U', 0, 0, 0, path, strlen(path));
  return done;
}

int unlinkat(int at, const char *path, int flags) {
  FOUND(unlinkat);
  int done = found(at, path, flags);
  if (done == 0 && is_on() && is_inside(path)) put_bytes('U', 0, 0, 0, path, strlen(path));
  return done;
}

/* Memory that is a file is written without a call. SQLite does so with its -shm, which is rebuilt at each start. */
static int is_memory_only(int fd) {
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path);
  return length > 4 && strncmp(path + length - 4, "-shm", 4) == 0;
}

#define MMAP(name)                                                                                     \
  void *name(void *hint, size_t length, int protection, int flags, int fd, off_t at) {                 \
    FOUND(name);                                                                                       \
    if (fd >= 0 && is_on() && is_file(fd) && (flags & MAP_SHARED) && (protection & PROT_WRITE) &&      \
        !is_memory_only(fd))                                                                           \
      put_unknown("a file written through mmap");                                                      \
    return found(hint, length, protection, flags, fd, at);                                             \
  }
MMAP(mmap)
MMAP(mmap64)
