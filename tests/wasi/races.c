// Threads that use the same descriptors and names in every way: races CALLS
//
// Descriptor 3 is an empty directory. Once all threads together have made CALLS calls the main thread ends the program,
// in the middle of theirs. Any call may fail; what must not happen is an error code that does not fit.

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wasi/api.h>

#define DIR 3
#define THREADS 8

static atomic_long calls;
static _Atomic __wasi_fd_t shared;

static void check(__wasi_errno_t error, const char *what) {
    atomic_fetch_add(&calls, 1);
    switch (error) {
    case __WASI_ERRNO_SUCCESS:
    case __WASI_ERRNO_BADF:
    case __WASI_ERRNO_NOENT:
    case __WASI_ERRNO_EXIST:
    case __WASI_ERRNO_INVAL:
    case __WASI_ERRNO_LOOP:
    case __WASI_ERRNO_NOTDIR:
    case __WASI_ERRNO_ISDIR:
    case __WASI_ERRNO_NOTEMPTY:
    case __WASI_ERRNO_NOTCAPABLE:
        return;
    default:
        fprintf(stderr, "%s: error %d\n", what, error);
        _Exit(1);
    }
}

#define TRY(call) check(call, #call)

static __wasi_fd_t open_file(const char *name) {
    __wasi_fd_t fd = -1;
    __wasi_rights_t rights = ~(__wasi_rights_t)0 & ~__WASI_RIGHTS_FD_READDIR;
    TRY(__wasi_path_open(DIR, 1, name, __WASI_OFLAGS_CREAT, rights, 0, 0, &fd));
    return fd;
}

static void *run(void *argument) {
    int thread = (int)(size_t)argument;
    unsigned state = 12345u + thread;
    const char *names[] = {"one", "two", "three"};
    uint8_t record[64], buffer[300];
    for (;;) {
        state = state * 1664525u + 1013904223u;
        unsigned pick = state >> 16;
        const char *a = names[pick % 3], *b = names[pick / 3 % 3];
        __wasi_fd_t fd = atomic_load(&shared);
        __wasi_iovec_t list = {record, sizeof record};
        __wasi_size_t n = 0;
        __wasi_filesize_t at;
        __wasi_filestat_t stat;
        switch (pick / 9 % 12) {
        case 0:
            memset(record, 'a' + thread, sizeof record);
            TRY(__wasi_fd_pwrite(fd, (__wasi_ciovec_t *)&list, 1, 0, &n));
            break;
        case 1:
            TRY(__wasi_fd_pread(fd, &list, 1, 0, &n));
            break;
        case 2:
            TRY(__wasi_fd_read(fd, &list, 1, &n));
            TRY(__wasi_fd_seek(fd, 0, __WASI_WHENCE_SET, &at));
            break;
        case 3:
            TRY(__wasi_path_rename(DIR, a, DIR, b));
            break;
        case 4:
            TRY(__wasi_path_unlink_file(DIR, a));
            break;
        case 5:
            TRY(__wasi_path_symlink(b, DIR, a));
            break;
        case 6:
            TRY(__wasi_path_filestat_get(DIR, 1, a, &stat));
            break;
        case 7: {
            __wasi_dircookie_t cookie = 0;
            TRY(__wasi_fd_readdir(DIR, buffer, sizeof buffer, cookie, &n));
            break;
        }
        case 8: {
            // A new file for all, and the old one closed while others use it.
            __wasi_fd_t fresh = open_file(a);
            if (fresh >= 0)
                TRY(__wasi_fd_close(atomic_exchange(&shared, fresh)));
            break;
        }
        case 9: {
            __wasi_fd_t fresh = open_file(b);
            if (fresh >= 0)
                TRY(__wasi_fd_renumber(fresh, fd));
            TRY(__wasi_fd_close(fresh));
            break;
        }
        case 10: {
            __wasi_subscription_t in = {.u.tag = __WASI_EVENTTYPE_FD_READ, .u.u.fd_read.file_descriptor = fd};
            __wasi_event_t out;
            TRY(__wasi_poll_oneoff(&in, &out, 1, &n));
            break;
        }
        case 11:
            TRY(__wasi_path_create_directory(DIR, "directory"));
            TRY(__wasi_path_remove_directory(DIR, "directory"));
            break;
        }
    }
    return NULL;
}

int main(int argc, char **argv) {
    long wanted = argc > 1 ? atol(argv[1]) : 1;
    atomic_store(&shared, open_file("one"));
    for (int i = 0; i < THREADS; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, run, (void *)(size_t)i) != 0)
            return 2;
    }
    while (atomic_load(&calls) < wanted)
        usleep(1000);
    printf("raced\n");
    fflush(stdout);
    _Exit(0);
}
