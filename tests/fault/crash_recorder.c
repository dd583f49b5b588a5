// Preloaded (LD_PRELOAD) into the program under test: records, in the order in which they happen,
// all calls that change files and folders below a path prefix, with the bytes that they write, and
// every fsync. tests/fault/crash_states.py makes of it what a crash of the machine could leave.
//
//   CACHEREADY_RECORD_PREFIX  only what lies at or below this path
//   CACHEREADY_RECORD         folder, there, that gets two files: `log`, a line a call, its fields
//                             separated by tabs, and `bytes`, whatever was written, end to end
//
// Lines: create PATH INODE; folder PATH INODE; write INODE OFFSET COUNT; size INODE BYTES; atleast
// INODE BYTES; bytes INODE COUNT (the whole file, where a call tells no more); sync INODE; link
// FROM TO INODE; rename FROM TO FLAGS; remove PATH. A call that cannot be recorded ends the process
// with 98. SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "shim_paths.h"

static char prefix[PATH_MAX];
static int log_file = -1, bytes_file = -1;
// Held over a call and its record, so that the log has the order of the calls.
static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;

static void Refuse(const char* what, const char* path) {
  fprintf(stderr, "crash_recorder: %s: %s\n", what, path);
  _exit(98);
}

__attribute__((constructor)) static void ReadSettings(void) {
  const char* folder = getenv("CACHEREADY_RECORD");
  const char* below = getenv("CACHEREADY_RECORD_PREFIX");
  if (folder == NULL || below == NULL) return;
  char path[PATH_MAX];
  const int flags = O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC;
  snprintf(path, sizeof path, "%s/log", folder);
  log_file = REAL(open)(path, flags, 0666);
  snprintf(path, sizeof path, "%s/bytes", folder);
  bytes_file = REAL(open)(path, flags, 0666);
  if (log_file < 0 || bytes_file < 0) Refuse("cannot be created", path);
  snprintf(prefix, sizeof prefix, "%s", below);
}

static int IsBelow(const char* path) {
  const size_t length = strlen(prefix);
  return length > 0 && strncmp(path, prefix, length) == 0 &&
         (path[length] == '/' || path[length] == '\0');
}

static int IsBelowAt(int folder, const char* name, char* path) {
  const int before = errno;
  AbsolutePath(folder, name, path);
  errno = before;
  return IsBelow(path);
}

static int IsOpenBelow(int descriptor) {
  char path[PATH_MAX];
  const int before = errno;
  PathOfDescriptor(descriptor, path);
  errno = before;
  return IsBelow(path);
}

// ---- lines of the log. errno is the caller's.

__attribute__((format(printf, 1, 2))) static void Line(const char* format, ...) {
  const int before = errno;
  char line[3 * PATH_MAX];
  va_list rest;
  va_start(rest, format);
  const int size = vsnprintf(line, sizeof line, format, rest);
  va_end(rest);
  if (REAL(write)(log_file, line, (size_t)size) != size) Refuse("log cannot be written", "");
  errno = before;
}

static void Bytes(const void* bytes, size_t count) {
  const int before = errno;
  for (size_t done = 0; done < count;) {
    const ssize_t more = REAL(write)(bytes_file, (const char*)bytes + done, count - done);
    if (more <= 0) Refuse("bytes cannot be written", "");
    done += (size_t)more;
  }
  errno = before;
}

static unsigned long InodeOf(int descriptor) {
  struct stat status;
  if (fstat(descriptor, &status) != 0) Refuse("fstat", "");
  return status.st_ino;
}

static unsigned long InodeAt(const char* path) {
  struct stat status;
  if (lstat(path, &status) != 0) Refuse("lstat", path);
  return status.st_ino;
}

static void LineOfWrite(int descriptor, const void* bytes, ssize_t count, long offset) {
  Line("write\t%lu\t%ld\t%zd\n", InodeOf(descriptor), offset, count);
  Bytes(bytes, (size_t)count);
}

// The whole file as it is now.
static void LineOfAllBytes(int descriptor) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  const int file = REAL(open)(link, O_RDONLY | O_CLOEXEC);
  struct stat status;
  if (file < 0 || fstat(file, &status) != 0) Refuse("cannot be read again", link);
  Line("bytes\t%lu\t%ld\n", (unsigned long)status.st_ino, (long)status.st_size);
  char block[65536];
  for (long left = status.st_size; left > 0;) {
    const ssize_t got = REAL(read)(file, block, sizeof block);
    if (got <= 0) Refuse("cannot be read again", link);
    Bytes(block, (size_t)got);
    left -= got;
  }
  close(file);
}

// RECORD(RESULT, CALL, IF_BELOW, WORKED, RECORD): makes the call, and writes its record if it
// worked.
#define RECORD(type, call, below, worked, ...) \
  if (!(below)) return call;                   \
  pthread_mutex_lock(&order);                  \
  const type result = call;                    \
  if (worked) {                                \
    __VA_ARGS__;                               \
  }                                            \
  pthread_mutex_unlock(&order);                \
  return result;

// ---- opening

static int OpenRecorded(int folder, const char* name, int flags, mode_t mode) {
  char path[PATH_MAX];
  const int writes = (flags & (O_CREAT | O_TRUNC)) != 0;
  if (!writes || !IsBelowAt(folder, name, path)) return REAL(openat)(folder, name, flags, mode);
  pthread_mutex_lock(&order);
  struct stat status;
  const int before = errno, there = lstat(path, &status) == 0;
  errno = before;
  const int descriptor = REAL(openat)(folder, name, flags, mode);
  if (descriptor >= 0 && (flags & O_TMPFILE) == O_TMPFILE) Refuse("O_TMPFILE", path);
  if (descriptor >= 0 && !there) Line("create\t%s\t%lu\n", path, InodeOf(descriptor));
  if (descriptor >= 0 && there && (flags & O_TRUNC)) Line("size\t%lu\t0\n", InodeOf(descriptor));
  pthread_mutex_unlock(&order);
  return descriptor;
}

#define OPEN(name, folder, ...)                     \
  int name(__VA_ARGS__, int flags, ...) {           \
    va_list rest;                                   \
    va_start(rest, flags);                          \
    const mode_t mode = ModeOf(flags, rest);        \
    va_end(rest);                                   \
    return OpenRecorded(folder, path, flags, mode); \
  }
OPEN(open, AT_FDCWD, const char* path)
OPEN(open64, AT_FDCWD, const char* path)
OPEN(openat, folder, int folder, const char* path)
OPEN(openat64, folder, int folder, const char* path)
int creat(const char* path, mode_t mode) { return open(path, O_WRONLY | O_CREAT | O_TRUNC, mode); }
int creat64(const char* path, mode_t mode) { return creat(path, mode); }
int __open_2(const char* path, int flags) { return open(path, flags); }
int __open64_2(const char* path, int flags) { return open(path, flags); }

// ---- bytes

ssize_t write(int descriptor, const void* bytes, size_t size){
    RECORD(ssize_t, REAL(write)(descriptor, bytes, size), IsOpenBelow(descriptor), result > 0,
           LineOfWrite(descriptor, bytes, result, lseek(descriptor, 0, SEEK_CUR) - result))} ssize_t
    pwrite(int descriptor, const void* bytes, size_t size, off_t offset){
        RECORD(ssize_t, REAL(pwrite)(descriptor, bytes, size, offset), IsOpenBelow(descriptor),
               result > 0, LineOfWrite(descriptor, bytes, result, offset))} ssize_t
    pwrite64(int descriptor, const void* bytes, size_t size, off64_t offset) {
  return pwrite(descriptor, bytes, size, offset);
}

#define ALL_BYTES(type, name, declared, ...)                                    \
  type name declared {                                                          \
    RECORD(type, REAL(name)(__VA_ARGS__), IsOpenBelow(descriptor), result >= 0, \
           LineOfAllBytes(descriptor))                                          \
  }
ALL_BYTES(ssize_t, writev, (int descriptor, const struct iovec* parts, int count), descriptor,
          parts, count)
ALL_BYTES(ssize_t, copy_file_range,
          (int from, off64_t* from_at, int descriptor, off64_t* at, size_t size, unsigned flags),
          from, from_at, descriptor, at, size, flags)
ALL_BYTES(ssize_t, sendfile, (int descriptor, int from, off_t* at, size_t size), descriptor, from,
          at, size)
ALL_BYTES(ssize_t, sendfile64, (int descriptor, int from, off64_t* at, size_t size), descriptor,
          from, at, size)

int ioctl(int descriptor, unsigned long request, ...) {
  va_list rest;
  va_start(rest, request);
  void* argument = va_arg(rest, void*);
  va_end(rest);
  const int clone = request == FICLONE || request == FICLONERANGE;
  RECORD(int, REAL(ioctl)(descriptor, request, argument), clone&& IsOpenBelow(descriptor),
         result == 0, LineOfAllBytes(descriptor))
}

#define MAP(name, offset_type)                                                                    \
  void* name(void* at, size_t size, int protection, int flags, int descriptor, offset_type off) { \
    if ((protection & PROT_WRITE) && (flags & MAP_SHARED) && descriptor >= 0 &&                   \
        IsOpenBelow(descriptor)) {                                                                \
      Refuse("is written through a mapping", "");                                                 \
    }                                                                                             \
    return REAL(name)(at, size, protection, flags, descriptor, off);                              \
  }
MAP(mmap, off_t)
MAP(mmap64, off64_t)

// ---- other changes of a file that is open

int ftruncate(int descriptor, off_t size) {
  RECORD(int, REAL(ftruncate)(descriptor, size), IsOpenBelow(descriptor), result == 0,
         Line("size\t%lu\t%ld\n", InodeOf(descriptor), (long)size))
}
int ftruncate64(int descriptor, off64_t size) { return ftruncate(descriptor, size); }

int fallocate(int descriptor, int mode, off_t at, off_t size) {
  RECORD(int, REAL(fallocate)(descriptor, mode, at, size), IsOpenBelow(descriptor), result == 0,
         if (mode != 0) Refuse("fallocate with a mode", "");
         Line("atleast\t%lu\t%ld\n", InodeOf(descriptor), (long)(at + size)))
}
int fallocate64(int descriptor, int mode, off64_t at, off64_t size) {
  return fallocate(descriptor, mode, at, size);
}
int posix_fallocate(int descriptor, off_t at, off_t size) {
  RECORD(int, REAL(posix_fallocate)(descriptor, at, size), IsOpenBelow(descriptor), result == 0,
         Line("atleast\t%lu\t%ld\n", InodeOf(descriptor), (long)(at + size)))
}
int fsync(int descriptor) {
  RECORD(int, REAL(fsync)(descriptor), IsOpenBelow(descriptor), result == 0,
         Line("sync\t%lu\n", InodeOf(descriptor)))
}
int fdatasync(int descriptor) { return fsync(descriptor); }

// ---- names

int mkdirat(int folder, const char* name, mode_t mode) {
  char path[PATH_MAX];
  RECORD(int, REAL(mkdirat)(folder, name, mode), IsBelowAt(folder, name, path), result == 0,
         Line("folder\t%s\t%lu\n", path, InodeAt(path)))
}
int mkdir(const char* name, mode_t mode) { return mkdirat(AT_FDCWD, name, mode); }

int unlinkat(int folder, const char* name, int flags) {
  char path[PATH_MAX];
  RECORD(int, REAL(unlinkat)(folder, name, flags), IsBelowAt(folder, name, path), result == 0,
         Line("remove\t%s\n", path))
}
int unlink(const char* name) { return unlinkat(AT_FDCWD, name, 0); }
int rmdir(const char* name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }
int remove(const char* name) {
  const int result = unlink(name);
  return result != 0 && (errno == EISDIR || errno == EPERM) ? rmdir(name) : result;
}

int linkat(int from_folder, const char* from, int folder, const char* name, int flags) {
  char path[PATH_MAX], from_path[PATH_MAX];
  AbsolutePath(from_folder, from, from_path);
  RECORD(int, REAL(linkat)(from_folder, from, folder, name, flags), IsBelowAt(folder, name, path),
         result == 0, Line("link\t%s\t%s\t%lu\n", from_path, path, InodeAt(path)))
}
int link(const char* from, const char* name) { return linkat(AT_FDCWD, from, AT_FDCWD, name, 0); }

int symlinkat(const char* target, int folder, const char* name) {
  char path[PATH_MAX];
  if (IsBelowAt(folder, name, path)) Refuse("is made as a symbolic link", path);
  return REAL(symlinkat)(target, folder, name);
}
int symlink(const char* target, const char* name) { return symlinkat(target, AT_FDCWD, name); }

int renameat2(int folder, const char* from, int to_folder, const char* to, unsigned flags) {
  char from_path[PATH_MAX], to_path[PATH_MAX];
  const int from_below = IsBelowAt(folder, from, from_path);
  const int to_below = IsBelowAt(to_folder, to, to_path);
  if (from_below != to_below) Refuse("is renamed out of what is recorded, or into it", from_path);
  RECORD(int, REAL(renameat2)(folder, from, to_folder, to, flags), from_below, result == 0,
         Line("rename\t%s\t%s\t%u\n", from_path, to_path, flags))
}
int renameat(int folder, const char* from, int to_folder, const char* to) {
  return renameat2(folder, from, to_folder, to, 0);
}
int rename(const char* from, const char* to) { return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0); }
