/* Preloaded into gateways: a wall clock that can be stepped.
 *
 * The file that CHAOS_CLOCK names is mapped: the nanoseconds that are added to CLOCK_REALTIME, which tests/chaos/clock.py writes.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t nothing;
static volatile int64_t *offset = &nothing;

#define SECOND 1000000000LL
#define SLICE (SECOND / 10)

static int (*real_clock_gettime)(clockid_t, struct timespec *);
static int (*real_cond_timedwait)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);

__attribute__((constructor)) static void begin(void) {
    real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    /* Without its version the x86-64 libc may give the one of 2002. */
    real_cond_timedwait = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
    if (!real_cond_timedwait) real_cond_timedwait = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
    const char *path = getenv("CHAOS_CLOCK");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *map = mmap(NULL, sizeof *offset, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (map != MAP_FAILED) offset = map;
    close(file);
}

static int64_t ns(const struct timespec *time) {
    return time->tv_sec * SECOND + time->tv_nsec;
}

static struct timespec spec(int64_t ns) {
    return (struct timespec){ns / SECOND, ns % SECOND};
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    if (!real_clock_gettime) begin();
    int failed = real_clock_gettime(clock, time);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) *time = spec(ns(time) + *offset);
    return failed;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    (void)zone;
    struct timespec now;
    int failed = clock_gettime(CLOCK_REALTIME, &now);
    if (!failed) *time = (struct timeval){now.tv_sec, now.tv_nsec / 1000};
    return failed;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}

int timespec_get(struct timespec *time, int base) {
    return base == TIME_UTC && !clock_gettime(CLOCK_REALTIME, time) ? base : 0;
}

/* librdkafka waits for moments of the wall clock. The kernel would wake such a waiter early or late after a step of it,
 * and so does this: it looks at the stepped clock several times a second. Returning early without an error is what
 * POSIX calls a spurious wakeup. A deadline of the monotonic clock is known by its size: nothing is up for 30 years.
 */
int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict deadline) {
    if (deadline->tv_sec < SECOND) return real_cond_timedwait(cond, mutex, deadline);
    struct timespec now;
    real_clock_gettime(CLOCK_REALTIME, &now);
    int64_t left = ns(deadline) - (ns(&now) + *offset);
    if (left < 0) left = 0;
    struct timespec until = spec(ns(&now) + (left < SLICE ? left : SLICE));
    int outcome = real_cond_timedwait(cond, mutex, &until);
    return outcome == ETIMEDOUT && left > SLICE ? 0 : outcome;
}
