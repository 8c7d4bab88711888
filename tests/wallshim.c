/* Steps the wall clock of a program that is preloaded with this: seconds (a double) are read from the file that WALLSHIM_FILE
 * names, mapped once. The monotonic clock, sleeping and timeouts stay as they are. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

static double offset(void) {
    static volatile double *mapped;
    if (!mapped) {
        const char *name = getenv("WALLSHIM_FILE");
        int fd = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
        void *where = fd >= 0 ? mmap(0, sizeof(double), PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
        if (where == MAP_FAILED) return 0;
        mapped = where;
    }
    return *mapped;
}

int clock_gettime(clockid_t which, struct timespec *out) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(which, out);
    if (result == 0 && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) {
        double step = offset(), whole = floor(step);
        out->tv_sec += (time_t)whole;
        out->tv_nsec += (long)((step - whole) * 1e9);
        if (out->tv_nsec >= 1000000000L) { out->tv_nsec -= 1000000000L; out->tv_sec++; }
    }
    return result;
}

int gettimeofday(struct timeval *out, void *zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    out->tv_sec = now.tv_sec;
    out->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}
