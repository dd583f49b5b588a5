// Preloaded (LD_PRELOAD) into the program under test: counts the file calls below a path prefix and
// lets one of them fail, fall short, or be the last thing that the process does.
//
//   CACHEREADY_FAULT_PREFIX  only calls on paths that start with this count
//   CACHEREADY_FAULT_CALLS   which of them: change (default: whatever alters a file or folder),
//                            space (what a full disk refuses), write (write and pwrite), read
//   CACHEREADY_FAULT_LOG     file that gets a line "number call path" for each counted call
//   CACHEREADY_FAULT_AT      number of the call at which to act
//   CACHEREADY_FAULT_DO      kill   SIGKILL instead of the call
//                            torn   half of the bytes are written, then SIGKILL
//                            short  half of the bytes are written or read
//                            EIO, EINVAL, ENOSPC, EROFS  the call fails; the last two go on failing
//                            SIGINT, SIGTERM     the signal arrives, then the call is made
//                            cut    CACHEREADY_FAULT_FILE is cut to a page, then the call is made
//   CACHEREADY_FAULT_NO_URING  if set, io_uring is not permitted, as in many containers
//   CACHEREADY_FAULT_NO_DIRECT  O_DIRECT is refused: "read" by open, "write" by fcntl
//
// What is not seen: stdio, and memory-mapped bytes.
// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "shim_paths.h"

enum Class { kChange = 1, kSpace = 2, kWrite = 4, kRead = 8 };
enum Outcome { kGoOn, kFailed, kHalf, kHalfThenDie };

static struct {
  char prefix[PATH_MAX];
  enum Class calls;
  int log;
  long at;
  int error;   // errno of the call
  int signal;  // sent before the call
  int half;
  int cut;
  int die;
  int always;
} fault = {.log = -1};

static atomic_long calls_seen;

static enum Class ClassOf(const char* name) {
  if (name == NULL || strcmp(name, "change") == 0) return kChange;
  if (strcmp(name, "space") == 0) return kSpace;
  if (strcmp(name, "write") == 0) return kWrite;
  if (strcmp(name, "read") == 0) return kRead;
  fprintf(stderr, "fault_shim: no such calls: %s\n", name);
  _exit(99);
}

static void ReadDeed(const char* name) {
  fault.die = strcmp(name, "kill") == 0 || strcmp(name, "torn") == 0;
  fault.cut = strcmp(name, "cut") == 0;
  fault.half = strcmp(name, "short") == 0 || strcmp(name, "torn") == 0;
  if (strcmp(name, "EIO") == 0) fault.error = EIO;
  if (strcmp(name, "EINVAL") == 0) fault.error = EINVAL;
  if (strcmp(name, "ENOSPC") == 0) fault.error = ENOSPC;
  if (strcmp(name, "EROFS") == 0) fault.error = EROFS;
  fault.always = fault.error == ENOSPC || fault.error == EROFS;
  if (strcmp(name, "SIGINT") == 0) fault.signal = SIGINT;
  if (strcmp(name, "SIGTERM") == 0) fault.signal = SIGTERM;
  if (!fault.die && !fault.half && !fault.cut && fault.error == 0 && fault.signal == 0) {
    fprintf(stderr, "fault_shim: no such deed: %s\n", name);
    _exit(99);
  }
}

__attribute__((constructor)) static void ReadSettings(void) {
  const char* prefix = getenv("CACHEREADY_FAULT_PREFIX");
  if (prefix == NULL || prefix[0] == '\0') return;
  fault.calls = ClassOf(getenv("CACHEREADY_FAULT_CALLS"));
  const char* log = getenv("CACHEREADY_FAULT_LOG");
  if (log != NULL) {
    fault.log = REAL(open)(log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666);
  }
  const char* at = getenv("CACHEREADY_FAULT_AT");
  if (at != NULL) fault.at = atol(at);
  if (fault.at > 0) ReadDeed(getenv("CACHEREADY_FAULT_DO"));
  snprintf(fault.prefix, sizeof fault.prefix, "%s", prefix);
}

// Counts a call of these classes; what becomes of it.
static enum Outcome Count(const char* call, int classes, const char* path) {
  const size_t length = strlen(fault.prefix);
  if (length == 0 || (classes & (int)fault.calls) == 0) return kGoOn;
  if (strncmp(path, fault.prefix, length) != 0) return kGoOn;
  const long number = atomic_fetch_add(&calls_seen, 1) + 1;
  if (fault.log >= 0) {
    char line[PATH_MAX + 64];
    const int size = snprintf(line, sizeof line, "%ld %s %s\n", number, call, path);
    if (REAL(write)(fault.log, line, (size_t)size) != size) _exit(99);
  }
  if (fault.at == 0 || (fault.always ? number < fault.at : number != fault.at)) return kGoOn;
  if (fault.signal != 0) raise(fault.signal);
  if (fault.cut && REAL(truncate)(getenv("CACHEREADY_FAULT_FILE"), 4096) != 0) _exit(99);
  if (fault.half && (classes & (kWrite | kRead))) return fault.die ? kHalfThenDie : kHalf;
  if (fault.die) kill(getpid(), SIGKILL);
  if (fault.error == 0) return kGoOn;
  errno = fault.error;
  return kFailed;
}

static enum Outcome CountAt(const char* call, int classes, int folder, const char* name) {
  char path[PATH_MAX];
  const int before = errno;
  AbsolutePath(folder, name, path);
  errno = before;
  return Count(call, classes, path);
}

static enum Outcome CountDescriptor(const char* call, int classes, int descriptor) {
  char path[PATH_MAX];
  const int before = errno;
  PathOfDescriptor(descriptor, path);
  errno = before;
  return Count(call, classes, path);
}

static void DieIf(enum Outcome outcome) {
  if (outcome == kHalfThenDie) kill(getpid(), SIGKILL);
}

// ---- opening

static int ClassesOfOpen(int flags) {
  if (flags & (O_CREAT | O_TRUNC)) return kChange | kSpace;
  return (flags & O_ACCMODE) == O_RDONLY ? kRead : kChange;
}

static int IsRefused(const char* way, int flags) {
  const char* refused = getenv("CACHEREADY_FAULT_NO_DIRECT");
  if (refused == NULL || strcmp(refused, way) != 0 || (flags & O_DIRECT) == 0) return 0;
  errno = EINVAL;
  return 1;
}

#define OPEN(name)                                                                   \
  int name(const char* path, int flags, ...) {                                       \
    va_list rest;                                                                    \
    va_start(rest, flags);                                                           \
    const mode_t mode = ModeOf(flags, rest);                                         \
    va_end(rest);                                                                    \
    if (IsRefused("read", flags)) return -1;                                         \
    if (CountAt("open", ClassesOfOpen(flags), AT_FDCWD, path) == kFailed) return -1; \
    return REAL(name)(path, flags, mode);                                            \
  }
#define OPENAT(name)                                                               \
  int name(int folder, const char* path, int flags, ...) {                         \
    va_list rest;                                                                  \
    va_start(rest, flags);                                                         \
    const mode_t mode = ModeOf(flags, rest);                                       \
    va_end(rest);                                                                  \
    if (CountAt("open", ClassesOfOpen(flags), folder, path) == kFailed) return -1; \
    return REAL(name)(folder, path, flags, mode);                                  \
  }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

int creat(const char* path, mode_t mode) { return open(path, O_WRONLY | O_CREAT | O_TRUNC, mode); }
int creat64(const char* path, mode_t mode) { return creat(path, mode); }
int __open_2(const char* path, int flags) { return open(path, flags); }
int __open64_2(const char* path, int flags) { return open(path, flags); }

// Only the flags of a file are set here; locks go through flock().
#define FCNTL(name)                                                               \
  int name(int descriptor, int command, ...) {                                    \
    va_list rest;                                                                 \
    va_start(rest, command);                                                      \
    void* argument = va_arg(rest, void*);                                         \
    va_end(rest);                                                                 \
    if (command == F_SETFL && IsRefused("write", (int)(long)argument)) return -1; \
    return REAL(name)(descriptor, command, argument);                             \
  }
FCNTL(fcntl)
FCNTL(fcntl64)

// ---- bytes

ssize_t write(int descriptor, const void* bytes, size_t size) {
  const enum Outcome outcome = CountDescriptor("write", kChange | kSpace | kWrite, descriptor);
  if (outcome == kFailed) return -1;
  const ssize_t done = REAL(write)(descriptor, bytes, outcome == kGoOn ? size : (size + 1) / 2);
  DieIf(outcome);
  return done;
}

#define PWRITE(name, offset_type)                                                                  \
  ssize_t name(int descriptor, const void* bytes, size_t size, offset_type offset) {               \
    const enum Outcome outcome = CountDescriptor("pwrite", kChange | kSpace | kWrite, descriptor); \
    if (outcome == kFailed) return -1;                                                             \
    const ssize_t done =                                                                           \
        REAL(name)(descriptor, bytes, outcome == kGoOn ? size : (size + 1) / 2, offset);           \
    DieIf(outcome);                                                                                \
    return done;                                                                                   \
  }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t writev(int descriptor, const struct iovec* parts, int count) {
  if (CountDescriptor("writev", kChange | kSpace, descriptor) == kFailed) return -1;
  return REAL(writev)(descriptor, parts, count);
}

ssize_t read(int descriptor, void* bytes, size_t size) {
  const enum Outcome outcome = CountDescriptor("read", kRead, descriptor);
  if (outcome == kFailed) return -1;
  return REAL(read)(descriptor, bytes, outcome == kGoOn ? size : (size + 1) / 2);
}

#define PREAD(name, offset_type)                                                            \
  ssize_t name(int descriptor, void* bytes, size_t size, offset_type offset) {              \
    const enum Outcome outcome = CountDescriptor("pread", kRead, descriptor);               \
    if (outcome == kFailed) return -1;                                                      \
    return REAL(name)(descriptor, bytes, outcome == kGoOn ? size : (size + 1) / 2, offset); \
  }
PREAD(pread, off_t)
PREAD(pread64, off64_t)

// ---- other changes of a file that is open

#define ON_DESCRIPTOR(result, name, classes, declared, ...)                \
  result name declared {                                                   \
    if (CountDescriptor(#name, classes, descriptor) == kFailed) return -1; \
    return REAL(name)(__VA_ARGS__);                                        \
  }
ON_DESCRIPTOR(int, ftruncate, kChange, (int descriptor, off_t size), descriptor, size)
ON_DESCRIPTOR(int, ftruncate64, kChange, (int descriptor, off64_t size), descriptor, size)
ON_DESCRIPTOR(int, fallocate, kChange | kSpace, (int descriptor, int mode, off_t at, off_t size),
              descriptor, mode, at, size)
ON_DESCRIPTOR(int, fallocate64, kChange | kSpace,
              (int descriptor, int mode, off64_t at, off64_t size), descriptor, mode, at, size)
ON_DESCRIPTOR(int, fsync, kChange, (int descriptor), descriptor)
ON_DESCRIPTOR(int, fdatasync, kChange, (int descriptor), descriptor)
ON_DESCRIPTOR(int, fchmod, kChange, (int descriptor, mode_t mode), descriptor, mode)
ON_DESCRIPTOR(int, futimens, kChange, (int descriptor, const struct timespec times[2]), descriptor,
              times)
ON_DESCRIPTOR(ssize_t, copy_file_range, kChange | kSpace,
              (int from, off64_t* from_at, int descriptor, off64_t* at, size_t size,
               unsigned flags),
              from, from_at, descriptor, at, size, flags)
ON_DESCRIPTOR(ssize_t, sendfile, kChange | kSpace,
              (int descriptor, int from, off_t* at, size_t size), descriptor, from, at, size)
ON_DESCRIPTOR(ssize_t, sendfile64, kChange | kSpace,
              (int descriptor, int from, off64_t* at, size_t size), descriptor, from, at, size)

int posix_fallocate(int descriptor, off_t at, off_t size) {
  if (CountDescriptor("posix_fallocate", kChange | kSpace, descriptor) == kFailed) return errno;
  return REAL(posix_fallocate)(descriptor, at, size);
}

int ioctl(int descriptor, unsigned long request, ...) {
  va_list rest;
  va_start(rest, request);
  void* argument = va_arg(rest, void*);
  va_end(rest);
  const int clone = request == FICLONE || request == FICLONERANGE;
  if (clone && CountDescriptor("ioctl", kChange | kSpace, descriptor) == kFailed) return -1;
  return REAL(ioctl)(descriptor, request, argument);
}

// ---- names. A call with two of them counts once, by the first one below the prefix.

#define ON_NAME(name, classes, folder, path, declared, ...)          \
  int name declared {                                                \
    if (CountAt(#name, classes, folder, path) == kFailed) return -1; \
    return REAL(name)(__VA_ARGS__);                                  \
  }
ON_NAME(truncate, kChange, AT_FDCWD, path, (const char* path, off_t size), path, size)
ON_NAME(truncate64, kChange, AT_FDCWD, path, (const char* path, off64_t size), path, size)
ON_NAME(unlink, kChange, AT_FDCWD, path, (const char* path), path)
ON_NAME(unlinkat, kChange, folder, path, (int folder, const char* path, int flags), folder, path,
        flags)
ON_NAME(remove, kChange, AT_FDCWD, path, (const char* path), path)
ON_NAME(rmdir, kChange, AT_FDCWD, path, (const char* path), path)
ON_NAME(mkdir, kChange | kSpace, AT_FDCWD, path, (const char* path, mode_t mode), path, mode)
ON_NAME(mkdirat, kChange | kSpace, folder, path, (int folder, const char* path, mode_t mode),
        folder, path, mode)
ON_NAME(symlink, kChange | kSpace, AT_FDCWD, path, (const char* target, const char* path), target,
        path)
ON_NAME(symlinkat, kChange | kSpace, folder, path,
        (const char* target, int folder, const char* path), target, folder, path)
ON_NAME(chmod, kChange, AT_FDCWD, path, (const char* path, mode_t mode), path, mode)
ON_NAME(fchmodat, kChange, folder, path, (int folder, const char* path, mode_t mode, int flags),
        folder, path, mode, flags)
ON_NAME(utimensat, kChange, folder, path,
        (int folder, const char* path, const struct timespec times[2], int flags), folder, path,
        times, flags)
ON_NAME(link, kChange | kSpace, AT_FDCWD, path, (const char* from, const char* path), from, path)
ON_NAME(linkat, kChange | kSpace, folder, path,
        (int from_folder, const char* from, int folder, const char* path, int flags), from_folder,
        from, folder, path, flags)
ON_NAME(rename, kChange, AT_FDCWD, from, (const char* from, const char* path), from, path)
ON_NAME(renameat, kChange, folder, from,
        (int folder, const char* from, int to_folder, const char* path), folder, from, to_folder,
        path)
ON_NAME(renameat2, kChange, folder, from,
        (int folder, const char* from, int to_folder, const char* path, unsigned flags), folder,
        from, to_folder, path, flags)

long syscall(long number, ...) {
  va_list rest;
  va_start(rest, number);
  long a[6];
  for (int i = 0; i < 6; ++i) a[i] = va_arg(rest, long);
  va_end(rest);
  if (number == SYS_renameat2 &&
      CountAt("renameat2", kChange, (int)a[0], (const char*)a[1]) == kFailed) {
    return -1;
  }
  return REAL(syscall)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

// ---- io_uring, which the program is linked with

struct io_uring;
int io_uring_queue_init(unsigned entries, struct io_uring* ring, unsigned flags) {
  if (getenv("CACHEREADY_FAULT_NO_URING") != NULL) return -EPERM;
  int (*real)(unsigned, struct io_uring*, unsigned);
  *(void**)&real = dlsym(RTLD_NEXT, "io_uring_queue_init");
  return real(entries, ring, flags);
}
