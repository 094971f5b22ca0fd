#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "common/bytes.h"
#include "common/fs.h"
#include "tests/unit/common/scratch.h"

static void put(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void assert_holds(const char *path, const char *text)
{
    struct hf_buf buf = {0};
    assert_int_equal(hf_read_file(path, 1000, &buf, NULL), 0);
    assert_int_equal(hf_buf_terminate(&buf), 0);
    assert_string_equal((char *)buf.data, text);
    hf_buf_free(&buf);
}

static unsigned count_entries(const char *path)
{
    DIR *dir = opendir(path);
    unsigned count = 0;
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    }
    closedir(dir);
    return count;
}

static int open_dir(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void a_path_that_cannot_leave_its_root_is_accepted(void **state)
{
    (void)state;
    static const char *const good[] = {"a",     "a/b/c",    "...", "..a", "a..", ".hidden",
                                       "a/..b", "\xff\xfe", "a b", "\n",  "-rf", "a\\b"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(hf_path_check_relative(good[i], strlen(good[i]), NULL), 0);
    }
}

static void hostile_paths_are_refused_with_the_reason(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        size_t length;
        const char *reason;
    } bad[] = {
        {"", 0, "empty"},           {"/", 1, "absolute"}, {"/etc", 4, "absolute"},
        {"..", 2, "'..'"},          {"../a", 4, "'..'"},  {"a/..", 4, "'..'"},
        {"a/../b", 6, "'..'"},      {".", 1, "'.'"},      {"./a", 3, "'.'"},
        {"a/./b", 5, "'.'"},        {"a/.", 3, "'.'"},    {"a//b", 4, "empty component"},
        {"a/", 2, "ends with '/'"}, {"a\0b", 3, "NUL"},   {"a\0", 2, "NUL"},
        {"a/..\0", 5, "NUL"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct hf_error error = {0};
        assert_int_equal(hf_path_check_relative(bad[i].path, bad[i].length, &error),
                         HF_ERR_INVALID);
        assert_non_null(strstr(error.message, bad[i].reason));
    }
}

static void lengths_are_bounded_by_component_and_whole(void **state)
{
    (void)state;
    char path[4200];
    memset(path, 'a', sizeof path);
    assert_int_equal(hf_path_check_relative(path, 255, NULL), 0);
    assert_int_equal(hf_path_check_relative(path, 256, NULL), HF_ERR_INVALID);
    for (size_t i = 200; i < sizeof path; i += 200) {
        path[i] = '/';
    }
    assert_int_equal(hf_path_check_relative(path, 4095, NULL), 0);
    assert_int_equal(hf_path_check_relative(path, 4096, NULL), HF_ERR_INVALID);
    path[4] = '/';
    assert_int_equal(hf_path_check_relative(path, 4 + 1 + 256 + 100, NULL), 0);
    for (size_t i = 5; i < 300; i++) {
        path[i] = 'a';
    }
    assert_int_equal(hf_path_check_relative(path, 4 + 1 + 255, NULL), 0);
    assert_int_equal(hf_path_check_relative(path, 4 + 1 + 256, NULL), HF_ERR_INVALID);
}

static int open_at(int root, const char *path, int flags, struct hf_error *error)
{
    int fd = -1;
    int rc = hf_open_beneath(root, path, flags, 0600, &fd, error);
    if (rc == 0) {
        assert_true(fd >= 0);
        assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
        close(fd);
    }
    return rc;
}

static void files_beneath_a_root_open(void **state)
{
    mkdir(scratch_at(*state, "d"), 0700);
    put(scratch_at(*state, "d/f"), "x");
    int root = open_dir(((struct scratch *)*state)->path);
    assert_int_equal(open_at(root, "d/f", O_RDONLY, NULL), 0);
    assert_int_equal(open_at(root, "", O_RDONLY | O_DIRECTORY, NULL), 0);
    assert_int_equal(open_at(root, "d/new", O_WRONLY | O_CREAT | O_EXCL, NULL), 0);
    assert_int_equal(open_at(root, "d/new", O_WRONLY | O_CREAT | O_EXCL, NULL), HF_ERR_EXISTS);
    struct hf_error error = {0};
    assert_int_equal(open_at(root, "d/none", O_RDONLY, &error), HF_ERR_NOT_FOUND);
    assert_int_equal(error.sys_errno, ENOENT);
    assert_non_null(strstr(error.message, "'d/none'"));
    assert_int_equal(open_at(root, "d/f/x", O_RDONLY, NULL), HF_ERR_NOT_FOUND);
    close(root);
}

static void nothing_outside_a_root_opens(void **state)
{
    struct hf_error error = {0};
    mkdir(scratch_at(*state, "root"), 0700);
    put(scratch_at(*state, "secret"), "x");
    int root = open_dir(scratch_at(*state, "root"));
    assert_int_equal(open_at(root, "../secret", O_RDONLY, &error), HF_ERR_DENIED);
    assert_non_null(strstr(error.message, "out of its root"));
    assert_int_equal(open_at(root, "..", O_RDONLY, NULL), HF_ERR_DENIED);
    assert_int_equal(open_at(root, "/etc/passwd", O_RDONLY, NULL), HF_ERR_DENIED);
    assert_int_equal(open_at(root, scratch_at(*state, "secret"), O_RDONLY, NULL), HF_ERR_DENIED);
    close(root);
}

static void no_symbolic_link_is_followed_wherever_it_stands(void **state)
{
    struct hf_error error = {0};
    mkdir(scratch_at(*state, "d"), 0700);
    put(scratch_at(*state, "d/f"), "x");
    assert_int_equal(symlink("d", scratch_at(*state, "to-dir")), 0);
    assert_int_equal(symlink("f", scratch_at(*state, "d/to-file")), 0);
    assert_int_equal(symlink("/etc", scratch_at(*state, "to-etc")), 0);
    assert_int_equal(symlink("nowhere", scratch_at(*state, "dangling")), 0);
    int root = open_dir(((struct scratch *)*state)->path);
    assert_int_equal(open_at(root, "to-dir/f", O_RDONLY, &error), HF_ERR_DENIED);
    assert_non_null(strstr(error.message, "symbolic link"));
    assert_int_equal(error.sys_errno, ELOOP);
    assert_int_equal(open_at(root, "d/to-file", O_RDONLY, NULL), HF_ERR_DENIED);
    assert_int_equal(open_at(root, "to-etc/passwd", O_RDONLY, NULL), HF_ERR_DENIED);
    assert_int_equal(open_at(root, "dangling", O_WRONLY | O_CREAT, NULL), HF_ERR_DENIED);
    assert_int_equal(access(scratch_at(*state, "nowhere"), F_OK), -1);

    /* A link itself is read through O_PATH. */
    int fd = -1;
    char target[16] = {0};
    assert_int_equal(hf_open_beneath(root, "d/to-file", O_PATH, 0, &fd, NULL), 0);
    assert_int_equal(readlinkat(fd, "", target, sizeof target - 1), 1);
    assert_string_equal(target, "f");
    close(fd);
    close(root);
}

static void links_of_proc_are_not_followed(void **state)
{
    (void)state;
    int proc = open_dir("/proc/self");
    assert_int_equal(open_at(proc, "root/etc/passwd", O_RDONLY, NULL), HF_ERR_DENIED);
    assert_int_equal(open_at(proc, "cwd", O_RDONLY, NULL), HF_ERR_DENIED);
    assert_int_equal(open_at(proc, "cwd", O_RDONLY | O_DIRECTORY, NULL), HF_ERR_NOT_FOUND);
    assert_int_equal(open_at(proc, "fd/0", O_RDONLY, NULL), HF_ERR_DENIED);
    close(proc);
}

struct swap {
    char inside[128], outside[128];
    atomic_bool stop;
};

/* Directory and link to elsewhere change places, as fast as they can. */
static void *swap_for_ever(void *arg)
{
    struct swap *swap = arg;
    while (!atomic_load(&swap->stop)) {
        renameat2(AT_FDCWD, swap->inside, AT_FDCWD, swap->outside, RENAME_EXCHANGE);
    }
    return NULL;
}

static void a_link_put_in_the_way_meanwhile_never_wins(void **state)
{
    struct swap swap = {0};
    pthread_t thread;
    unsigned opened = 0;
    mkdir(scratch_at(*state, "root"), 0700);
    mkdir(scratch_at(*state, "root/d"), 0700);
    mkdir(scratch_at(*state, "elsewhere"), 0700);
    put(scratch_at(*state, "root/d/f"), "mine");
    put(scratch_at(*state, "elsewhere/f"), "stolen");
    assert_int_equal(symlink(scratch_at(*state, "elsewhere"), scratch_at(*state, "root/link")), 0);
    snprintf(swap.inside, sizeof swap.inside, "%s", scratch_at(*state, "root/d"));
    snprintf(swap.outside, sizeof swap.outside, "%s", scratch_at(*state, "root/link"));
    int root = open_dir(scratch_at(*state, "root"));
    assert_int_equal(pthread_create(&thread, NULL, swap_for_ever, &swap), 0);
    unsigned stolen = 0;
    unsigned failed_otherwise = 0;
    for (int i = 0; i < 20000; i++) {
        int fd = -1;
        char text[8] = {0};
        int rc = hf_open_beneath(root, "d/f", O_RDONLY, 0, &fd, NULL);
        if (rc == 0) {
            stolen += read(fd, text, sizeof text - 1) != 4 || strcmp(text, "mine") != 0;
            opened++;
            close(fd);
        } else {
            failed_otherwise += rc != HF_ERR_DENIED && rc != HF_ERR_AGAIN;
        }
    }
    atomic_store(&swap.stop, true);
    pthread_join(thread, NULL);
    close(root);
    assert_int_equal(stolen, 0);
    assert_int_equal(failed_otherwise, 0);
    print_message("%u of 20000 opened\n", opened);
}

static void a_lease_that_holds_a_file_does_not_hold_us(void **state)
{
    put(scratch_at(*state, "f"), "x");
    signal(SIGIO, SIG_IGN); /* how the kernel asks the holder to give the lease up */
    int holder = open(scratch_at(*state, "f"), O_RDWR | O_CLOEXEC);
    assert_true(holder >= 0);
    if (fcntl(holder, F_SETLEASE, F_WRLCK) != 0) {
        close(holder);
        print_message("no leases on this file system\n");
        skip();
    }
    int root = open_dir(((struct scratch *)*state)->path);
    struct hf_error error = {0};
    assert_int_equal(open_at(root, "f", O_RDONLY | O_NONBLOCK, &error), HF_ERR_AGAIN);
    assert_non_null(strstr(error.message, "'f'"));
    fcntl(holder, F_SETLEASE, F_UNLCK);
    assert_int_equal(open_at(root, "f", O_RDONLY | O_NONBLOCK, NULL), 0);
    close(root);
    close(holder);
}

static void the_parent_opens_and_the_name_is_told(void **state)
{
    struct stat wanted;
    struct stat got;
    int fd = -1;
    const char *name = NULL;
    mkdir(scratch_at(*state, "a"), 0700);
    mkdir(scratch_at(*state, "a/b"), 0700);
    int root = open_dir(((struct scratch *)*state)->path);
    assert_int_equal(hf_open_parent_beneath(root, "a/b/f", &fd, &name, NULL), 0);
    assert_string_equal(name, "f");
    assert_int_equal(stat(scratch_at(*state, "a/b"), &wanted), 0);
    assert_int_equal(fstat(fd, &got), 0);
    assert_int_equal(got.st_ino, wanted.st_ino);
    close(fd);
    assert_int_equal(hf_open_parent_beneath(root, "f", &fd, &name, NULL), 0);
    assert_string_equal(name, "f");
    assert_int_equal(fstat(root, &wanted), 0);
    assert_int_equal(fstat(fd, &got), 0);
    assert_int_equal(got.st_ino, wanted.st_ino);
    close(fd);
    static const char *const bad[] = {"", "/", "/f", "a/", "a/..", "..", ".", "a//f", "a/./f"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(hf_open_parent_beneath(root, bad[i], &fd, &name, NULL), HF_ERR_INVALID);
    }
    assert_int_equal(hf_open_parent_beneath(root, "none/f", &fd, &name, NULL), HF_ERR_NOT_FOUND);
    close(root);
}

static void directories_are_made_beneath_a_root_only(void **state)
{
    struct stat status;
    mkdir(scratch_at(*state, "root"), 0700);
    mkdir(scratch_at(*state, "elsewhere"), 0700);
    put(scratch_at(*state, "root/file"), "x");
    assert_int_equal(symlink("../elsewhere", scratch_at(*state, "root/link")), 0);
    int root = open_dir(scratch_at(*state, "root"));
    assert_int_equal(hf_mkdirs_beneath(root, "a/b/c", 0700, NULL), 0);
    assert_int_equal(stat(scratch_at(*state, "root/a/b/c"), &status), 0);
    assert_int_equal(status.st_mode & 07777, 0700);
    assert_int_equal(hf_mkdirs_beneath(root, "a/b/c", 0700, NULL), 0);
    assert_int_equal(hf_mkdirs_beneath(root, "a/b/d", 0700, NULL), 0);
    assert_int_equal(hf_mkdirs_beneath(root, "link/x", 0700, NULL), HF_ERR_DENIED);
    assert_int_equal(hf_mkdirs_beneath(root, "../elsewhere/x", 0700, NULL), HF_ERR_INVALID);
    assert_int_equal(hf_mkdirs_beneath(root, "/tmp/x", 0700, NULL), HF_ERR_INVALID);
    assert_int_equal(hf_mkdirs_beneath(root, "", 0700, NULL), HF_ERR_INVALID);
    assert_int_equal(hf_mkdirs_beneath(root, "file/x", 0700, NULL), HF_ERR_DENIED);
    assert_int_equal(hf_mkdirs_beneath(root, "file", 0700, NULL), HF_ERR_DENIED);
    assert_int_equal(count_entries(scratch_at(*state, "elsewhere")), 0);
    close(root);
}

static void a_file_is_read_whole_up_to_the_limit(void **state)
{
    struct hf_buf buf = {0};
    struct hf_error error = {0};
    put(scratch_at(*state, "f"), "0123456789");
    put(scratch_at(*state, "empty"), "");
    assert_int_equal(hf_buf_append_str(&buf, "before "), 0);
    assert_int_equal(hf_read_file(scratch_at(*state, "f"), 10, &buf, NULL), 0);
    assert_int_equal(buf.size, 17);
    assert_memory_equal(buf.data, "before 0123456789", 17);
    assert_int_equal(hf_read_file(scratch_at(*state, "empty"), 0, &buf, NULL), 0);
    assert_int_equal(buf.size, 17);
    assert_int_equal(hf_read_file(scratch_at(*state, "f"), 9, &buf, &error), HF_ERR_LIMIT);
    assert_non_null(strstr(error.message, "9 bytes"));
    hf_buf_clear(&buf);
    /* Without an end, and without a size to go by. */
    assert_int_equal(hf_read_file("/dev/zero", 100000, &buf, NULL), HF_ERR_LIMIT);
    assert_true(buf.size < 300000);
    hf_buf_clear(&buf);
    assert_int_equal(hf_read_file("/proc/self/status", 100000, &buf, NULL), 0);
    assert_true(buf.size > 100);
    hf_buf_free(&buf);
}

static void what_cannot_be_read_is_named(void **state)
{
    struct hf_buf buf = {0};
    struct hf_error error = {0};
    assert_int_equal(hf_read_file(scratch_at(*state, "none"), 10, &buf, &error), HF_ERR_NOT_FOUND);
    assert_non_null(strstr(error.message, "/none'"));
    assert_non_null(strstr(error.message, "No such file"));
    assert_int_equal(hf_read_file(((struct scratch *)*state)->path, 10, &buf, &error), HF_ERR_IO);
    assert_int_equal(error.sys_errno, EISDIR);
    int root = open_dir(((struct scratch *)*state)->path);
    put(scratch_at(*state, "f"), "x");
    assert_int_equal(hf_read_file_at(root, "f", 10, &buf, NULL), 0);
    assert_int_equal(buf.size, 1);
    close(root);
    hf_buf_free(&buf);
}

static void a_full_disk_and_a_broken_pipe_are_told_apart(void **state)
{
    (void)state;
    struct hf_error error = {0};
    int pipes[2];
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_true(full >= 0);
    assert_int_equal(hf_write_all(full, "x", 1, &error), HF_ERR_NO_SPACE);
    assert_int_equal(error.sys_errno, ENOSPC);
    assert_int_equal(hf_write_all(full, NULL, 0, NULL), 0);
    close(full);
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(pipe(pipes), 0);
    close(pipes[0]);
    assert_int_equal(hf_write_all(pipes[1], "x", 1, &error), HF_ERR_IO);
    assert_int_equal(error.sys_errno, EPIPE);
    close(pipes[1]);
}

static void *drain(void *arg)
{
    static char bytes[4096];
    size_t *total = arg;
    int fd = (int)*total;
    *total = 0;
    for (ssize_t got; (got = read(fd, bytes, sizeof bytes)) > 0;) {
        *total += (size_t)got;
    }
    return NULL;
}

static void short_writes_are_continued(void **state)
{
    (void)state;
    static char bytes[1 << 20];
    int pipes[2];
    pthread_t thread;
    assert_int_equal(pipe(pipes), 0);
    size_t total = (size_t)pipes[0];
    assert_int_equal(pthread_create(&thread, NULL, drain, &total), 0);
    assert_int_equal(hf_write_all(pipes[1], bytes, sizeof bytes, NULL), 0);
    close(pipes[1]);
    pthread_join(thread, NULL);
    close(pipes[0]);
    assert_int_equal(total, sizeof bytes);
}

static void reading_at_an_offset_gets_everything_or_says_what_is_missing(void **state)
{
    char out[8] = {0};
    struct hf_error error = {0};
    put(scratch_at(*state, "f"), "0123456789");
    int fd = open(scratch_at(*state, "f"), O_RDONLY | O_CLOEXEC);
    assert_int_equal(hf_pread_all(fd, out, 4, 6, NULL), 0);
    assert_string_equal(out, "6789");
    assert_int_equal(hf_pread_all(fd, out, 0, 100, NULL), 0);
    assert_int_equal(hf_pread_all(fd, out, 4, 7, &error), HF_ERR_CORRUPT);
    assert_non_null(strstr(error.message, "1 bytes early"));
    assert_int_equal(hf_pread_all(fd, out, 1, 10, NULL), HF_ERR_CORRUPT);
    assert_int_not_equal(hf_pread_all(fd, out, 1, UINT64_MAX, NULL), 0);
    close(fd);
    assert_int_equal(hf_pread_all(-1, out, 1, 0, &error), HF_ERR_IO);
    assert_int_equal(error.sys_errno, EBADF);
}

static void a_file_is_replaced_as_a_whole_with_its_mode(void **state)
{
    struct stat status;
    mode_t old = umask(0777);
    assert_int_equal(hf_write_file_atomic(scratch_at(*state, "f"), "one", 3, 0640, NULL), 0);
    assert_int_equal(hf_write_file_atomic(scratch_at(*state, "f"), "two", 3, 0600, NULL), 0);
    umask(old);
    assert_holds(scratch_at(*state, "f"), "two");
    assert_int_equal(stat(scratch_at(*state, "f"), &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
    assert_int_equal(hf_write_file_atomic(scratch_at(*state, "f"), NULL, 0, 0600, NULL), 0);
    assert_holds(scratch_at(*state, "f"), "");
    assert_int_equal(count_entries(((struct scratch *)*state)->path), 1);
}

static void a_replacement_that_fails_leaves_the_old_and_no_litter(void **state)
{
    struct hf_error error = {0};
    mkdir(scratch_at(*state, "d"), 0700);
    put(scratch_at(*state, "d/inside"), "x");
    assert_int_not_equal(hf_write_file_atomic(scratch_at(*state, "d"), "x", 1, 0600, &error), 0);
    assert_non_null(strstr(error.message, "/d'"));
    assert_int_equal(count_entries(((struct scratch *)*state)->path), 1);
    assert_int_equal(hf_write_file_atomic(scratch_at(*state, "none/f"), "x", 1, 0600, &error),
                     HF_ERR_NOT_FOUND);
    char longest[5000];
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(hf_write_file_atomic(longest, "x", 1, 0600, NULL), HF_ERR_LIMIT);
}

static void a_link_at_the_target_is_replaced_and_not_written_through(void **state)
{
    struct stat status;
    put(scratch_at(*state, "victim"), "untouched");
    assert_int_equal(symlink("victim", scratch_at(*state, "f")), 0);
    assert_int_equal(hf_write_file_atomic(scratch_at(*state, "f"), "new", 3, 0600, NULL), 0);
    assert_holds(scratch_at(*state, "victim"), "untouched");
    assert_int_equal(lstat(scratch_at(*state, "f"), &status), 0);
    assert_true(S_ISREG(status.st_mode));
}

static void directories_are_written_to_disk_by_any_name(void **state)
{
    char before[256];
    put(scratch_at(*state, "f"), "x");
    assert_int_equal(hf_sync_dir_of(scratch_at(*state, "f"), NULL), 0);
    assert_int_equal(hf_sync_dir_of(((struct scratch *)*state)->path, NULL), 0);
    assert_int_equal(hf_sync_dir_of(scratch_at(*state, "not-there"), NULL), 0);
    assert_int_equal(hf_sync_dir_of(scratch_at(*state, "none/f"), NULL), HF_ERR_NOT_FOUND);
    assert_int_equal(hf_sync_dir_of("/", NULL), 0);
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(((struct scratch *)*state)->path), 0);
    assert_int_equal(hf_sync_dir_of("f", NULL), 0);
    assert_int_equal(hf_write_file_atomic("g", "x", 1, 0600, NULL), 0);
    assert_int_equal(hf_mkdirs("x/y", 0700, NULL), 0);
    assert_int_equal(chdir(before), 0);
    assert_holds(scratch_at(*state, "g"), "x");
    assert_int_equal(access(scratch_at(*state, "x/y"), F_OK), 0);
}

static void directories_are_made_with_their_parents(void **state)
{
    struct hf_error error = {0};
    assert_int_equal(hf_mkdirs(scratch_at(*state, "a/b//c/"), 0700, NULL), 0);
    assert_int_equal(access(scratch_at(*state, "a/b/c"), F_OK), 0);
    assert_int_equal(hf_mkdirs(scratch_at(*state, "a/b/c"), 0700, NULL), 0);
    assert_int_equal(hf_mkdirs("/", 0700, NULL), 0);
    put(scratch_at(*state, "f"), "x");
    assert_int_equal(hf_mkdirs(scratch_at(*state, "f"), 0700, &error), HF_ERR_EXISTS);
    assert_int_not_equal(hf_mkdirs(scratch_at(*state, "f/x"), 0700, &error), 0);
    assert_non_null(strstr(error.message, "/f'"));
    assert_int_equal(hf_mkdirs("", 0700, NULL), HF_ERR_INVALID);
}

#define IN_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_make, scratch_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_path_that_cannot_leave_its_root_is_accepted),
        cmocka_unit_test(hostile_paths_are_refused_with_the_reason),
        cmocka_unit_test(lengths_are_bounded_by_component_and_whole),
        IN_SCRATCH(files_beneath_a_root_open),
        IN_SCRATCH(nothing_outside_a_root_opens),
        IN_SCRATCH(no_symbolic_link_is_followed_wherever_it_stands),
        cmocka_unit_test(links_of_proc_are_not_followed),
        IN_SCRATCH(a_link_put_in_the_way_meanwhile_never_wins),
        IN_SCRATCH(a_lease_that_holds_a_file_does_not_hold_us),
        IN_SCRATCH(the_parent_opens_and_the_name_is_told),
        IN_SCRATCH(directories_are_made_beneath_a_root_only),
        IN_SCRATCH(a_file_is_read_whole_up_to_the_limit),
        IN_SCRATCH(what_cannot_be_read_is_named),
        cmocka_unit_test(a_full_disk_and_a_broken_pipe_are_told_apart),
        cmocka_unit_test(short_writes_are_continued),
        IN_SCRATCH(reading_at_an_offset_gets_everything_or_says_what_is_missing),
        IN_SCRATCH(a_file_is_replaced_as_a_whole_with_its_mode),
        IN_SCRATCH(a_replacement_that_fails_leaves_the_old_and_no_litter),
        IN_SCRATCH(a_link_at_the_target_is_replaced_and_not_written_through),
        IN_SCRATCH(directories_are_written_to_disk_by_any_name),
        IN_SCRATCH(directories_are_made_with_their_parents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
