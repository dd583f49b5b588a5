// What the preloaded shims share: the real call behind one of theirs, and the path that a call
// means. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static inline void PathOfDescriptor(int descriptor, char* path) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  const ssize_t length = readlink(link, path, PATH_MAX - 1);
  path[length > 0 ? length : 0] = '\0';
}

static inline void AbsolutePath(int folder, const char* name, char* path) {
  char base[PATH_MAX] = "";
  if (name[0] != '/' && folder == AT_FDCWD && getcwd(base, sizeof base) == NULL) base[0] = '\0';
  if (name[0] != '/' && folder != AT_FDCWD) PathOfDescriptor(folder, base);
  if (snprintf(path, PATH_MAX, "%s%s%s", base, name[0] != '/' ? "/" : "", name) >= PATH_MAX) {
    path[0] = '\0';
  }
}

static inline mode_t ModeOf(int flags, va_list rest) {
  return (flags & (O_CREAT | O_TMPFILE)) ? va_arg(rest, mode_t) : 0;
}
