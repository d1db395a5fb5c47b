/* Preloaded by a test: fsync and fdatasync fail with EIO while the file named by FAIL_SYNC exists, and once for
   the file named by FAIL_SYNC_ONCE, which is removed then. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static int failing(void) {
    const char *flag = getenv("FAIL_SYNC");
    const char *once = getenv("FAIL_SYNC_ONCE");
    return (flag && access(flag, F_OK) == 0) || (once && unlink(once) == 0);
}

int fsync(int fd) {
    if (failing()) { errno = EIO; return -1; }
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    return real(fd);
}

int fdatasync(int fd) {
    if (failing()) { errno = EIO; return -1; }
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    return real(fd);
}
