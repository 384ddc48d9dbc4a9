/* Preloaded into a writer of journals: flushes that are recorded, and that fail on demand. tests/support/flushes.py reads and
 * writes what the variables name; without FLUSHES_RECORD or FLUSHES_FAIL nothing is recorded, or fails.
 *
 * FLUSHES_RECORD: of every flush that succeeded a line, once it is over. "F size path" is a file, with the size that it had
 * as the flush began; "E path" is an entry that a directory had then.
 * FLUSHES_ROOT: only files below it count, or the directories that lead to it.
 * FLUSHES_FAIL: as long as this file exists, flushes of files below the root fail with EIO and flush nothing.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEXT (1 << 16)

static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static const char *root, *failing;
static int record = -1;

__attribute__((constructor)) static void begin(void) {
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    root = getenv("FLUSHES_ROOT");
    failing = getenv("FLUSHES_FAIL");
    const char *path = getenv("FLUSHES_RECORD");
    if (path) record = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static int starts(const char *path, const char *with) {
    size_t length = strlen(with);
    return !strncmp(path, with, length) && (path[length] == '/' || !path[length] || !strcmp(with, "/"));
}

static size_t add(char *text, size_t used, const char *format, ...) {
    va_list values;
    va_start(values, format);
    int length = vsnprintf(text + used, TEXT - used, format, values);
    va_end(values);
    if (length < 0 || used + (size_t)length >= TEXT) abort();
    return used + (size_t)length;
}

/* What would survive: taken before the flush begins. */
static size_t describe(char *text, int file, const char *path) {
    struct stat status;
    if (fstat(file, &status)) abort();
    if (!S_ISDIR(status.st_mode)) return add(text, 0, "F %lld %s\n", (long long)status.st_size, path);
    size_t used = 0;
    DIR *entries = opendir(path);
    if (!entries) return 0;
    for (struct dirent *entry; (entry = readdir(entries));)
        if (entry->d_name[0] != '.') used = add(text, used, "E %s/%s\n", strcmp(path, "/") ? path : "", entry->d_name);
    closedir(entries);
    return used;
}

static int flush(int file, int (*real)(int)) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0 || !root) return real(file);
    path[length] = 0;
    int below = starts(path, root);
    if (!below && !starts(root, path)) return real(file);
    if (below && failing && !access(failing, F_OK)) {
        usleep(20000); /* a device that gives up has tried for a while */
        errno = EIO;
        return -1;
    }
    if (record < 0) return real(file);
    char *text = malloc(TEXT);
    if (!text) abort();
    size_t used = describe(text, file, path);
    int outcome = real(file);
    if (!outcome && write(record, text, used) != (ssize_t)used) abort();
    free(text);
    return outcome;
}

int fsync(int file) {
    return flush(file, real_fsync);
}

int fdatasync(int file) {
    return flush(file, real_fdatasync);
}
