// Calls every function of WASI preview 1 as the witx text has it, and prints what the host can check.
//
//   functions NAME...
//
// Descriptor 3 is an empty directory, 4 is a socket that listens. A line `NAME ok` for each test; lines of facts
// before it. Between tests the directory is emptied. Ends with 1 at the first thing that is wrong.

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wasi/api.h>

#define DIR 3
#define LISTENER 4
#define ALL (~(__wasi_rights_t)0)

static const char *current;

static void check(int ok, const char *text, int line) {
    if (!ok) {
        printf("%s: line %d: %s\n", current, line, text);
        fflush(stdout);
        exit(1);
    }
}

#define CHECK(condition) check((condition), #condition, __LINE__)
#define OK(call) CHECK((call) == __WASI_ERRNO_SUCCESS)
#define FAILS(call, code) CHECK((call) == __WASI_ERRNO_##code)

static __wasi_fd_t open_with(const char *path, int oflags, int fdflags) {
    __wasi_fd_t fd;
    OK(__wasi_path_open(DIR, 1, path, oflags, ALL & ~__WASI_RIGHTS_FD_READDIR, 0, fdflags, &fd));
    return fd;
}

static __wasi_fd_t create(const char *path) {
    return open_with(path, __WASI_OFLAGS_CREAT | __WASI_OFLAGS_TRUNC, 0);
}

static __wasi_size_t write_text(__wasi_fd_t fd, const char *text) {
    // In two parts, as a list.
    size_t length = strlen(text), half = length / 2;
    __wasi_ciovec_t parts[] = {{(const uint8_t *)text, half}, {(const uint8_t *)text + half, length - half}};
    __wasi_size_t n;
    OK(__wasi_fd_write(fd, parts, 2, &n));
    return n;
}

static void make_file(const char *path, const char *text) {
    __wasi_fd_t fd = create(path);
    CHECK(write_text(fd, text) == strlen(text));
    OK(__wasi_fd_close(fd));
}

static __wasi_filesize_t size_of(const char *path) {
    __wasi_filestat_t stat;
    OK(__wasi_path_filestat_get(DIR, 0, path, &stat));
    return stat.size;
}

static void print_stat(const char *path, const __wasi_filestat_t *stat) {
    printf("stat %s dev=%llu ino=%llu type=%d nlink=%llu size=%llu atim=%llu mtim=%llu ctim=%llu\n", path, stat->dev,
           stat->ino, stat->filetype, stat->nlink, stat->size, stat->atim, stat->mtim, stat->ctim);
}

static void args(void) {
    __wasi_size_t count, size;
    OK(__wasi_args_sizes_get(&count, &size));
    uint8_t **argv = calloc(count + 1, sizeof *argv), *buffer = malloc(size);
    OK(__wasi_args_get(argv, buffer));
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        CHECK(argv[i] == buffer + total);
        total += strlen((char *)argv[i]) + 1;
    }
    CHECK(total == size && count >= 2 && strcmp((char *)argv[0], "functions.wasm") == 0);
}

static void environ_(void) {
    __wasi_size_t count, size;
    OK(__wasi_environ_sizes_get(&count, &size));
    uint8_t **variables = calloc(count + 1, sizeof *variables), *buffer = malloc(size);
    OK(__wasi_environ_get(variables, buffer));
    for (size_t i = 0; i < count; i++)
        printf("variable %s\n", (char *)variables[i]);
}

static void clocks(void) {
    for (int id = 0; id < 4; id++) {
        __wasi_timestamp_t resolution, one, two;
        OK(__wasi_clock_res_get(id, &resolution));
        OK(__wasi_clock_time_get(id, 0, &one));
        OK(__wasi_clock_time_get(id, 0, &two));
        CHECK(resolution > 0 && one > 0 && (id == 0 || two >= one));
        if (id == 0)
            printf("time %llu\n", one);
    }
    // Work moves the clocks of processor time; the process has at least the thread's.
    __wasi_timestamp_t thread, process, later;
    OK(__wasi_clock_time_get(3, 0, &thread));
    do {
        OK(__wasi_clock_time_get(3, 0, &later));
    } while (later == thread);
    OK(__wasi_clock_time_get(2, 0, &process));
    CHECK(process >= later);
    FAILS(__wasi_clock_res_get(4, &later), INVAL);
    FAILS(__wasi_clock_time_get(99, 0, &later), INVAL);
}

static void fd_advise(void) {
    __wasi_fd_t fd = create("file");
    for (int advice = 0; advice < 6; advice++)
        OK(__wasi_fd_advise(fd, 0, 100, advice));
    FAILS(__wasi_fd_advise(fd, 0, 0, 6), INVAL);
    FAILS(__wasi_fd_advise(fd, ~0ull, 0, 0), INVAL);
    FAILS(__wasi_fd_advise(99, 0, 0, 0), BADF);
    OK(__wasi_fd_close(fd));
}

static void fd_allocate(void) {
    __wasi_fd_t fd = create("file");
    __wasi_errno_t error = __wasi_fd_allocate(fd, 10, 90);
    // Some file systems cannot.
    CHECK(error == __WASI_ERRNO_NOTSUP || (error == 0 && size_of("file") == 100));
    FAILS(__wasi_fd_allocate(fd, 0, 0), INVAL);
    OK(__wasi_fd_close(fd));
}

static void fd_close(void) {
    __wasi_fd_t fd = create("file");
    OK(__wasi_fd_close(fd));
    FAILS(__wasi_fd_close(fd), BADF);
    FAILS(__wasi_fd_close(12345), BADF);
}

static void fd_sync(void) {
    __wasi_fd_t fd = create("file");
    write_text(fd, "text");
    OK(__wasi_fd_sync(fd));
    OK(__wasi_fd_datasync(fd));
    OK(__wasi_fd_sync(DIR));
    OK(__wasi_fd_close(fd));
    FAILS(__wasi_fd_datasync(fd), BADF);
}

static void fd_fdstat(void) {
    __wasi_fdstat_t stat;
    OK(__wasi_fd_fdstat_get(DIR, &stat));
    CHECK(stat.fs_filetype == __WASI_FILETYPE_DIRECTORY && stat.fs_flags == 0);
    CHECK(stat.fs_rights_base & __WASI_RIGHTS_PATH_OPEN && !(stat.fs_rights_base & __WASI_RIGHTS_FD_SEEK));
    CHECK(stat.fs_rights_inheriting & __WASI_RIGHTS_FD_SEEK);
    int flags[] = {0, __WASI_FDFLAGS_APPEND, __WASI_FDFLAGS_DSYNC, __WASI_FDFLAGS_NONBLOCK, __WASI_FDFLAGS_RSYNC,
                   __WASI_FDFLAGS_SYNC, __WASI_FDFLAGS_APPEND | __WASI_FDFLAGS_SYNC};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        __wasi_fd_t fd = open_with("file", __WASI_OFLAGS_CREAT, flags[i]);
        OK(__wasi_fd_fdstat_get(fd, &stat));
        CHECK(stat.fs_filetype == __WASI_FILETYPE_REGULAR_FILE && stat.fs_flags == flags[i]);
        CHECK(stat.fs_rights_inheriting == 0 && stat.fs_rights_base & __WASI_RIGHTS_FD_WRITE);
        OK(__wasi_fd_close(fd));
    }
    OK(__wasi_fd_fdstat_get(LISTENER, &stat));
    CHECK(stat.fs_filetype == __WASI_FILETYPE_SOCKET_STREAM);
    for (int fd = 0; fd < 3; fd++) {
        OK(__wasi_fd_fdstat_get(fd, &stat));
        printf("stdio %d type=%d terminal=%d\n", fd, stat.fs_filetype,
               stat.fs_filetype == __WASI_FILETYPE_CHARACTER_DEVICE &&
                   !(stat.fs_rights_base & (__WASI_RIGHTS_FD_SEEK | __WASI_RIGHTS_FD_TELL)));
    }
}

static void fd_fdstat_set_flags(void) {
    make_file("file", "start");
    __wasi_fd_t fd = open_with("file", 0, 0);
    __wasi_fdstat_t stat;
    OK(__wasi_fd_fdstat_set_flags(fd, __WASI_FDFLAGS_APPEND | __WASI_FDFLAGS_NONBLOCK));
    OK(__wasi_fd_fdstat_get(fd, &stat));
    CHECK(stat.fs_flags == (__WASI_FDFLAGS_APPEND | __WASI_FDFLAGS_NONBLOCK));
    write_text(fd, "end");
    CHECK(size_of("file") == 8);
    OK(__wasi_fd_fdstat_set_flags(fd, 0));
    __wasi_filesize_t at;
    OK(__wasi_fd_seek(fd, 0, __WASI_WHENCE_SET, &at));
    write_text(fd, "START");
    CHECK(size_of("file") == 8);
    FAILS(__wasi_fd_fdstat_set_flags(fd, __WASI_FDFLAGS_SYNC), INVAL);
    FAILS(__wasi_fd_fdstat_set_flags(fd, 32), INVAL);
    OK(__wasi_fd_close(fd));
}

static void fd_fdstat_set_rights(void) {
    __wasi_fd_t fd = create("file");
    uint8_t byte;
    __wasi_iovec_t list = {&byte, 1};
    __wasi_size_t n;
    __wasi_rights_t seek = __WASI_RIGHTS_FD_SEEK;
    OK(__wasi_fd_fdstat_set_rights(fd, __WASI_RIGHTS_FD_READ | seek, 0));
    OK(__wasi_fd_read(fd, &list, 1, &n));
    FAILS(__wasi_fd_write(fd, (__wasi_ciovec_t *)&list, 1, &n), NOTCAPABLE);
    FAILS(__wasi_fd_fdstat_set_rights(fd, __WASI_RIGHTS_FD_WRITE, 0), NOTCAPABLE);
    FAILS(__wasi_fd_fdstat_set_rights(fd, 0, seek), NOTCAPABLE);
    OK(__wasi_fd_fdstat_set_rights(fd, 0, 0));
    FAILS(__wasi_fd_read(fd, &list, 1, &n), NOTCAPABLE);
    OK(__wasi_fd_close(fd));
}

static void filestat(void) {
    make_file("file", "twelve bytes");
    OK(__wasi_path_create_directory(DIR, "sub"));
    OK(__wasi_path_symlink("file", DIR, "link"));
    OK(__wasi_path_link(DIR, 0, "file", DIR, "hard"));
    __wasi_filestat_t stat, other;
    const char *paths[] = {"file", "sub", "link", "hard", "."};
    for (int i = 0; i < 5; i++) {
        OK(__wasi_path_filestat_get(DIR, 0, paths[i], &stat));
        print_stat(paths[i], &stat);
    }
    CHECK(size_of("link") == 4);
    OK(__wasi_path_filestat_get(DIR, 1, "link", &stat));
    __wasi_fd_t fd = open_with("file", 0, 0);
    OK(__wasi_fd_filestat_get(fd, &other));
    CHECK(stat.size == 12 && stat.nlink == 2 && memcmp(&stat.ino, &other.ino, sizeof stat.ino) == 0);
    CHECK(stat.mtim == other.mtim && stat.dev == other.dev);
    OK(__wasi_fd_close(fd));
    FAILS(__wasi_path_filestat_get(DIR, 0, "none", &stat), NOENT);
    FAILS(__wasi_path_filestat_get(DIR, 2, "file", &stat), INVAL);
    FAILS(__wasi_path_filestat_get(0, 0, "file", &stat), NOTDIR);
}

static void fd_filestat_set_size(void) {
    make_file("file", "0123456789");
    __wasi_fd_t fd = open_with("file", 0, 0);
    OK(__wasi_fd_filestat_set_size(fd, 4));
    CHECK(size_of("file") == 4);
    OK(__wasi_fd_filestat_set_size(fd, 100));
    uint8_t bytes[8];
    __wasi_iovec_t list = {bytes, 8};
    __wasi_size_t n;
    OK(__wasi_fd_read(fd, &list, 1, &n));
    CHECK(n == 8 && memcmp(bytes, "0123\0\0\0\0", 8) == 0);
    FAILS(__wasi_fd_filestat_set_size(fd, ~0ull), INVAL);
    OK(__wasi_fd_close(fd));
}

static void set_times(void) {
    make_file("file", "");
    OK(__wasi_path_symlink("file", DIR, "link"));
    __wasi_timestamp_t one = 1000000000123456789ull, two = 1500000000987654321ull, now;
    __wasi_filestat_t stat;
    OK(__wasi_path_filestat_set_times(DIR, 1, "link", one, two, __WASI_FSTFLAGS_ATIM | __WASI_FSTFLAGS_MTIM));
    OK(__wasi_path_filestat_get(DIR, 0, "file", &stat));
    CHECK(stat.atim == one && stat.mtim == two);
    OK(__wasi_path_filestat_set_times(DIR, 0, "link", two, one, __WASI_FSTFLAGS_ATIM | __WASI_FSTFLAGS_MTIM));
    OK(__wasi_path_filestat_get(DIR, 0, "link", &stat));
    CHECK(stat.mtim == one);
    __wasi_fd_t fd = open_with("file", 0, 0);
    OK(__wasi_fd_filestat_set_times(fd, two, 0, __WASI_FSTFLAGS_ATIM));
    OK(__wasi_fd_filestat_get(fd, &stat));
    CHECK(stat.atim == two && stat.mtim == two);
    OK(__wasi_clock_time_get(__WASI_CLOCKID_REALTIME, 0, &now));
    OK(__wasi_fd_filestat_set_times(fd, 0, 0, __WASI_FSTFLAGS_MTIM_NOW));
    OK(__wasi_fd_filestat_get(fd, &stat));
    // The kernel's time stamps are a tick late.
    CHECK(stat.atim == two && stat.mtim + 1000000000ull > now);
    FAILS(__wasi_fd_filestat_set_times(fd, 0, 0, __WASI_FSTFLAGS_ATIM | __WASI_FSTFLAGS_ATIM_NOW), INVAL);
    FAILS(__wasi_fd_filestat_set_times(fd, 0, 0, __WASI_FSTFLAGS_MTIM | __WASI_FSTFLAGS_MTIM_NOW), INVAL);
    FAILS(__wasi_fd_filestat_set_times(fd, 0, 0, 16), INVAL);
    OK(__wasi_fd_filestat_set_times(fd, one, two, __WASI_FSTFLAGS_ATIM | __WASI_FSTFLAGS_MTIM));
    OK(__wasi_fd_close(fd));
}

static void positioned(void) {
    __wasi_fd_t fd = create("file");
    __wasi_size_t n;
    uint8_t bytes[6];
    __wasi_ciovec_t from[] = {{(const uint8_t *)"abc", 3}, {(const uint8_t *)"def", 3}};
    __wasi_iovec_t to[] = {{bytes, 2}, {bytes + 2, 4}};
    __wasi_filesize_t at;
    OK(__wasi_fd_pwrite(fd, from, 2, 10, &n));
    CHECK(n == 6);
    OK(__wasi_fd_pread(fd, to, 2, 11, &n));
    CHECK(n == 5 && memcmp(bytes, "bcdef", 5) == 0);
    OK(__wasi_fd_pread(fd, to, 2, 100, &n));
    CHECK(n == 0);
    OK(__wasi_fd_tell(fd, &at));
    CHECK(at == 0);
    FAILS(__wasi_fd_pread(fd, to, 2, ~0ull, &n), INVAL);
    FAILS(__wasi_fd_pread(LISTENER, to, 2, 0, &n), NOTCAPABLE);
    FAILS(__wasi_fd_pread(DIR, to, 2, 0, &n), ISDIR);
    OK(__wasi_fd_close(fd));
}

static void fd_prestat(void) {
    __wasi_prestat_t stat;
    OK(__wasi_fd_prestat_get(DIR, &stat));
    char name[100] = "";
    CHECK(stat.tag == __WASI_PREOPENTYPE_DIR && stat.u.dir.pr_name_len < sizeof name);
    OK(__wasi_fd_prestat_dir_name(DIR, (uint8_t *)name, stat.u.dir.pr_name_len));
    printf("preopened %s\n", name);
    FAILS(__wasi_fd_prestat_dir_name(DIR, (uint8_t *)name, stat.u.dir.pr_name_len - 1), NAMETOOLONG);
    FAILS(__wasi_fd_prestat_get(LISTENER, &stat), BADF);
    FAILS(__wasi_fd_prestat_get(0, &stat), BADF);
}

static void read_write(void) {
    __wasi_fd_t fd = create("file");
    uint8_t bytes[10];
    __wasi_iovec_t list = {bytes, sizeof bytes};
    __wasi_size_t n;
    __wasi_filesize_t at;
    CHECK(write_text(fd, "0123456") == 7);
    OK(__wasi_fd_read(fd, &list, 1, &n));
    CHECK(n == 0);
    OK(__wasi_fd_seek(fd, -3, __WASI_WHENCE_END, &at));
    CHECK(at == 4);
    OK(__wasi_fd_read(fd, &list, 1, &n));
    CHECK(n == 3 && memcmp(bytes, "456", 3) == 0);
    OK(__wasi_fd_seek(fd, -6, __WASI_WHENCE_CUR, &at));
    CHECK(at == 1);
    OK(__wasi_fd_tell(fd, &at));
    CHECK(at == 1);
    OK(__wasi_fd_seek(fd, 1000, __WASI_WHENCE_SET, &at));
    FAILS(__wasi_fd_seek(fd, -1, __WASI_WHENCE_SET, &at), INVAL);
    FAILS(__wasi_fd_seek(fd, 0, 3, &at), INVAL);
    FAILS(__wasi_fd_read(DIR, &list, 1, &n), ISDIR);
    FAILS(__wasi_fd_read(99, &list, 1, &n), BADF);
    OK(__wasi_fd_close(fd));
    FAILS(__wasi_fd_write(fd, (__wasi_ciovec_t *)&list, 1, &n), BADF);
}

static void fd_readdir(void) {
    for (int i = 0; i < 30; i++) {
        char name[20];
        snprintf(name, sizeof name, "entry %d", i);
        if (i % 3 == 0)
            OK(__wasi_path_create_directory(DIR, name));
        else if (i % 3 == 1)
            OK(__wasi_path_symlink("target", DIR, name));
        else
            make_file(name, name);
    }
    // A buffer for a few entries, of which the last is cut.
    uint8_t buffer[200];
    __wasi_dircookie_t cookie = 0;
    __wasi_size_t used;
    do {
        OK(__wasi_fd_readdir(DIR, buffer, sizeof buffer, cookie, &used));
        for (size_t at = 0; at + sizeof(__wasi_dirent_t) <= used;) {
            __wasi_dirent_t entry;
            memcpy(&entry, buffer + at, sizeof entry);
            at += sizeof entry;
            if (at + entry.d_namlen > used)
                break;
            printf("entry ino=%llu type=%d %.*s\n", entry.d_ino, entry.d_type, (int)entry.d_namlen, (char *)buffer + at);
            at += entry.d_namlen;
            cookie = entry.d_next;
        }
    } while (used == sizeof buffer);
    FAILS(__wasi_fd_readdir(LISTENER, buffer, sizeof buffer, 0, &used), NOTDIR);
}

static void fd_renumber(void) {
    make_file("a", "a");
    make_file("b", "b");
    __wasi_fd_t a = open_with("a", 0, 0), b = open_with("b", 0, 0);
    uint8_t byte;
    __wasi_iovec_t list = {&byte, 1};
    __wasi_size_t n;
    OK(__wasi_fd_renumber(a, b));
    OK(__wasi_fd_read(b, &list, 1, &n));
    CHECK(n == 1 && byte == 'a');
    FAILS(__wasi_fd_read(a, &list, 1, &n), BADF);
    FAILS(__wasi_fd_renumber(a, b), BADF);
    FAILS(__wasi_fd_renumber(b, 12345), BADF);
    OK(__wasi_fd_renumber(b, b));
    OK(__wasi_fd_close(b));
}

static void directories(void) {
    OK(__wasi_path_create_directory(DIR, "sub"));
    OK(__wasi_path_create_directory(DIR, "sub/deep/"));
    FAILS(__wasi_path_create_directory(DIR, "sub"), EXIST);
    FAILS(__wasi_path_create_directory(DIR, "none/sub"), NOENT);
    FAILS(__wasi_path_remove_directory(DIR, "sub"), NOTEMPTY);
    OK(__wasi_path_remove_directory(DIR, "sub/deep"));
    make_file("file", "");
    FAILS(__wasi_path_remove_directory(DIR, "file"), NOTDIR);
    FAILS(__wasi_path_unlink_file(DIR, "sub"), ISDIR);
    OK(__wasi_path_unlink_file(DIR, "file"));
    FAILS(__wasi_path_unlink_file(DIR, "file"), NOENT);
    FAILS(__wasi_path_create_directory(DIR, "../out"), PERM);
    FAILS(__wasi_path_create_directory(99, "x"), BADF);
}

static void links(void) {
    make_file("file", "contents");
    OK(__wasi_path_symlink("file", DIR, "soft"));
    OK(__wasi_path_link(DIR, 0, "file", DIR, "hard"));
    char text[10] = "..........";
    __wasi_size_t n;
    OK(__wasi_path_readlink(DIR, "soft", (uint8_t *)text, sizeof text, &n));
    CHECK(n == 4 && memcmp(text, "file......", 10) == 0);
    OK(__wasi_path_readlink(DIR, "soft", (uint8_t *)text, 2, &n));
    CHECK(n == 2);
    FAILS(__wasi_path_readlink(DIR, "file", (uint8_t *)text, sizeof text, &n), INVAL);
    FAILS(__wasi_path_link(DIR, 1, "soft", DIR, "new"), INVAL);
    FAILS(__wasi_path_symlink("/absolute", DIR, "new"), PERM);
    CHECK(size_of("hard") == 8);
    OK(__wasi_path_rename(DIR, "hard", DIR, "renamed"));
    FAILS(__wasi_path_rename(DIR, "hard", DIR, "renamed"), NOENT);
    printf("made soft renamed\n");
}

static void path_open(void) {
    __wasi_fd_t fd, other;
    __wasi_rights_t read = __WASI_RIGHTS_FD_READ;
    FAILS(__wasi_path_open(DIR, 0, "file", 0, read, 0, 0, &fd), NOENT);
    OK(__wasi_path_open(DIR, 0, "file", __WASI_OFLAGS_CREAT, read, 0, 0, &fd));
    CHECK(fd > LISTENER);
    FAILS(__wasi_path_open(DIR, 0, "file", __WASI_OFLAGS_CREAT | __WASI_OFLAGS_EXCL, read, 0, 0, &other), EXIST);
    FAILS(__wasi_path_open(DIR, 0, "file", __WASI_OFLAGS_DIRECTORY, read, 0, 0, &other), NOTDIR);
    FAILS(__wasi_path_open(DIR, 0, "file", 16, read, 0, 0, &other), INVAL);
    FAILS(__wasi_path_open(DIR, 0, "/file", 0, read, 0, 0, &other), PERM);
    FAILS(__wasi_path_open(fd, 0, "file", 0, read, 0, 0, &other), NOTDIR);
    OK(__wasi_fd_close(fd));
    OK(__wasi_path_symlink("file", DIR, "link"));
    FAILS(__wasi_path_open(DIR, 0, "link", 0, read, 0, 0, &fd), LOOP);
    OK(__wasi_path_open(DIR, 1, "link", 0, read, 0, 0, &fd));
    OK(__wasi_fd_close(fd));
    make_file("file", "contents");
    OK(__wasi_path_open(DIR, 0, "file", __WASI_OFLAGS_TRUNC, __WASI_RIGHTS_FD_WRITE, 0, 0, &fd));
    CHECK(size_of("file") == 0);
    OK(__wasi_fd_close(fd));
}

static void poll_oneoff(void) {
    __wasi_timestamp_t start, end;
    OK(__wasi_clock_time_get(__WASI_CLOCKID_MONOTONIC, 0, &start));
    __wasi_subscription_t in[3];
    __wasi_event_t out[3];
    __wasi_size_t n;
    memset(in, 0, sizeof in);
    in[0].userdata = 7;
    in[0].u.tag = __WASI_EVENTTYPE_CLOCK;
    in[0].u.u.clock.id = __WASI_CLOCKID_MONOTONIC;
    in[0].u.u.clock.timeout = start + 20000000;
    in[0].u.u.clock.flags = __WASI_SUBCLOCKFLAGS_SUBSCRIPTION_CLOCK_ABSTIME;
    OK(__wasi_poll_oneoff(in, out, 1, &n));
    OK(__wasi_clock_time_get(__WASI_CLOCKID_MONOTONIC, 0, &end));
    CHECK(n == 1 && out[0].userdata == 7 && out[0].type == __WASI_EVENTTYPE_CLOCK && out[0].error == 0);
    CHECK(end >= start + 20000000);
    // A file is always ready; a clock that is late is not told; a bad descriptor is an event.
    __wasi_fd_t fd = create("file");
    write_text(fd, "text");
    __wasi_filesize_t at;
    OK(__wasi_fd_seek(fd, 1, __WASI_WHENCE_SET, &at));
    in[0].u.u.clock.timeout = ~0ull;
    in[1].userdata = 8;
    in[1].u.tag = __WASI_EVENTTYPE_FD_READ;
    in[1].u.u.fd_read.file_descriptor = fd;
    in[2].userdata = 9;
    in[2].u.tag = __WASI_EVENTTYPE_FD_WRITE;
    in[2].u.u.fd_write.file_descriptor = 12345;
    OK(__wasi_poll_oneoff(in, out, 3, &n));
    CHECK(n == 2 && out[0].userdata == 8 && out[0].error == 0 && out[0].fd_readwrite.nbytes == 3);
    CHECK(out[1].userdata == 9 && out[1].error == __WASI_ERRNO_BADF && out[1].type == __WASI_EVENTTYPE_FD_WRITE);
    FAILS(__wasi_poll_oneoff(in, out, 0, &n), INVAL);
    OK(__wasi_fd_close(fd));
}

static void process(void) {
    OK(__wasi_sched_yield());
    uint8_t one[64] = {0}, two[64] = {0};
    OK(__wasi_random_get(one, sizeof one));
    OK(__wasi_random_get(two, sizeof two));
    CHECK(memcmp(one, two, sizeof one) != 0);
    OK(__wasi_random_get(one, 0));
}

static void sockets(void) {
    __wasi_fd_t fd;
    __wasi_size_t n;
    __wasi_roflags_t flags;
    uint8_t byte = 0;
    __wasi_iovec_t list = {&byte, 1};
    OK(__wasi_fd_fdstat_set_flags(LISTENER, __WASI_FDFLAGS_NONBLOCK));
    FAILS(__wasi_sock_accept(LISTENER, 0, &fd), AGAIN);
    FAILS(__wasi_sock_accept(LISTENER, __WASI_FDFLAGS_APPEND, &fd), INVAL);
    FAILS(__wasi_sock_accept(DIR, 0, &fd), NOTSOCK);
    FAILS(__wasi_sock_recv(LISTENER, &list, 1, 0, &n, &flags), NOTCONN);
    FAILS(__wasi_sock_recv(DIR, &list, 1, 0, &n, &flags), NOTSOCK);
    FAILS(__wasi_sock_recv(LISTENER, &list, 1, 4, &n, &flags), INVAL);
    FAILS(__wasi_sock_send(DIR, (__wasi_ciovec_t *)&list, 1, 0, &n), NOTSOCK);
    FAILS(__wasi_sock_send(LISTENER, (__wasi_ciovec_t *)&list, 1, 1, &n), INVAL);
    FAILS(__wasi_sock_shutdown(LISTENER, 0), INVAL);
    FAILS(__wasi_sock_shutdown(DIR, __WASI_SDFLAGS_RD), NOTSOCK);
    OK(__wasi_fd_fdstat_set_flags(LISTENER, 0));
}

static void proc_exit(void) {
    fflush(stdout);
    __wasi_proc_exit(42);
}

// The C library's header does not have it.
__attribute__((import_module("wasi_snapshot_preview1"), import_name("proc_raise"))) int32_t proc_raise_(int32_t);

static void proc_raise(void) {
    OK(proc_raise_(0));
    OK(proc_raise_(16));
    FAILS(proc_raise_(18), NOTSUP);
    FAILS(proc_raise_(31), INVAL);
    fflush(stdout);
    proc_raise_(15);
}

static const struct {
    const char *name;
    void (*run)(void);
} tests[] = {
    {"args", args},
    {"environ", environ_},
    {"clocks", clocks},
    {"fd_advise", fd_advise},
    {"fd_allocate", fd_allocate},
    {"fd_close", fd_close},
    {"fd_sync", fd_sync},
    {"fd_fdstat", fd_fdstat},
    {"fd_fdstat_set_flags", fd_fdstat_set_flags},
    {"fd_fdstat_set_rights", fd_fdstat_set_rights},
    {"filestat", filestat},
    {"fd_filestat_set_size", fd_filestat_set_size},
    {"set_times", set_times},
    {"positioned", positioned},
    {"fd_prestat", fd_prestat},
    {"read_write", read_write},
    {"fd_readdir", fd_readdir},
    {"fd_renumber", fd_renumber},
    {"directories", directories},
    {"links", links},
    {"path_open", path_open},
    {"poll_oneoff", poll_oneoff},
    {"process", process},
    {"sockets", sockets},
    {"proc_exit", proc_exit},
    {"proc_raise", proc_raise},
};

static void empty(void) {
    uint8_t buffer[4096];
    __wasi_dircookie_t cookie = 0;
    __wasi_size_t used;
    do {
        OK(__wasi_fd_readdir(DIR, buffer, sizeof buffer, cookie, &used));
        for (size_t at = 0; at + sizeof(__wasi_dirent_t) <= used;) {
            __wasi_dirent_t entry;
            char name[256] = "";
            memcpy(&entry, buffer + at, sizeof entry);
            at += sizeof entry;
            if (at + entry.d_namlen > used || entry.d_namlen >= sizeof name)
                break;
            memcpy(name, buffer + at, entry.d_namlen);
            at += entry.d_namlen;
            cookie = entry.d_next;
            if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
                continue;
            if (entry.d_type == __WASI_FILETYPE_DIRECTORY)
                OK(__wasi_path_remove_directory(DIR, name));
            else
                OK(__wasi_path_unlink_file(DIR, name));
        }
    } while (used == sizeof buffer);
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        current = "empty";
        if (i > 1)
            empty();
        size_t at = 0, count = sizeof tests / sizeof *tests;
        while (at < count && strcmp(tests[at].name, argv[i]) != 0)
            at++;
        if (at == count) {
            fprintf(stderr, "no test is called %s\n", argv[i]);
            return 2;
        }
        current = argv[i];
        tests[at].run();
        printf("%s ok\n", argv[i]);
    }
    return 0;
}
