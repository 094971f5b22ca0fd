/* state.db says of each path what was captured of it, and is never believed further than that. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sqlite3.h>

#include "agent/capture/state.h"
#include "common/log.h"
#include "tests/unit/common/scratch.h"

struct scene {
    struct scratch *scratch;
    struct hf_config_source sources[2];
    struct hf_config config;
    struct hf_state *state;
};

static void scene_open(struct scene *scene)
{
    struct hf_error error = {0};
    if (state_open(&scene->config, &scene->state, &error) != HF_OK) {
        fail_msg("%s", error.message);
    }
}

static void scene_new(struct scene *scene, void **state)
{
    *scene = (struct scene){.scratch = *state, .sources = {{.name = "data"}, {.name = "logs"}}};
    scene->config = (struct hf_config){
        .state = scene->scratch->path, .sources = scene->sources, .source_count = 2};
    scene_open(scene);
}

static void scene_reopen(struct scene *scene)
{
    state_close(scene->state);
    scene_open(scene);
}

static const struct state_print print = {.dev = 7,
                                         .ino = 8,
                                         .size = 9,
                                         .mtime_ns = 10,
                                         .ctime_ns = 11,
                                         .mode = 0640,
                                         .uid = 12,
                                         .gid = 13};

/* What `print` looks like when it is a version. */
static struct hf_version version_of(uint64_t seq)
{
    static const uint8_t refs[HF_CHUNK_REF_BYTES] = {1, 2, 3};
    return (struct hf_version){.seq = seq,
                               .type = HF_FILE_REGULAR,
                               .mode = 0640,
                               .uid = 12,
                               .gid = 13,
                               .mtime_ns = 10,
                               .size = 9,
                               .refs = {refs, sizeof refs}};
}

static void put(struct scene *scene, size_t source, const char *name, uint64_t seq)
{
    struct hf_version version = version_of(seq);
    assert_int_equal(state_put(scene->state, source, "srv", name, &print, &version), HF_OK);
}

static void put_absent(struct scene *scene, const char *name, uint64_t seq)
{
    struct hf_version version = {.seq = seq, .type = HF_FILE_ABSENT};
    assert_int_equal(state_put(scene->state, 0, "srv", name, &(struct state_print){0}, &version),
                     HF_OK);
}

static bool has(struct scene *scene, size_t source, const char *name)
{
    struct state_row row = {0};
    bool found = state_get(scene->state, source, "srv", name, &row);
    state_row_free(&row);
    return found;
}

/* Its print; the caller knows that the row is there. */
static struct state_print print_of(struct scene *scene, size_t source, const char *name)
{
    struct state_row row = {0};
    assert_true(state_get(scene->state, source, "srv", name, &row));
    state_row_free(&row);
    return row.print;
}

static uint64_t seq_of(struct scene *scene, size_t source, const char *name)
{
    struct state_row row = {0};
    assert_true(state_get(scene->state, source, "srv", name, &row));
    state_row_free(&row);
    return row.seq;
}

static bool in_doubt(struct scene *scene, size_t source, const char *name)
{
    return print_of(scene, source, name).dev == 0;
}

static void what_was_put_comes_back_after_a_restart_to_the_last_bit(void **state)
{
    struct scene scene;
    struct state_row row = {0};
    static const uint8_t refs[2 * HF_CHUNK_REF_BYTES] = {0, 0xff, 0, 1};
    static const char parent[] = "srv/\xff\xfe", name[] = "\xc3\x28 'quoted'\n";
    const struct state_print extreme = {.dev = UINT64_MAX,
                                        .ino = UINT64_MAX - 1,
                                        .size = INT64_MAX,
                                        .mtime_ns = INT64_MIN,
                                        .ctime_ns = INT64_MAX,
                                        .mode = 07777,
                                        .uid = UINT32_MAX,
                                        .gid = UINT32_MAX - 1};
    const struct hf_version version = {.seq = INT64_MAX,
                                       .type = HF_FILE_REGULAR,
                                       .flags = HF_VERSION_UNPARSABLE | HF_VERSION_RESTORED,
                                       .depth = 1,
                                       .refs = {refs, sizeof refs},
                                       .target = {(const uint8_t *)"x", 1},
                                       .link = INT64_MAX,
                                       .xattrs = {refs, 5}};
    scene_new(&scene, state);
    assert_int_equal(state_put(scene.state, 0, parent, name, &extreme, &version), HF_OK);
    scene_reopen(&scene);
    assert_true(state_get(scene.state, 0, parent, name, &row));
    assert_string_equal(row.name, name);
    assert_int_equal(row.type, HF_FILE_REGULAR);
    assert_true(state_print_equal(&row.print, &extreme));
    assert_int_equal(row.seq, INT64_MAX);
    assert_int_equal(row.flags, HF_VERSION_UNPARSABLE | HF_VERSION_RESTORED);
    assert_int_equal(row.depth, 1);
    assert_int_equal(row.refs.size, sizeof refs);
    assert_memory_equal(row.refs.data, refs, sizeof refs);
    assert_int_equal(row.target.size, 1);
    assert_memory_equal(row.target.data, "x", 1);
    assert_int_equal(row.link, INT64_MAX);
    assert_int_equal(row.xattrs.size, 5);
    assert_memory_equal(row.xattrs.data, refs, 5);
    state_row_free(&row);
    assert_null(row.name);
    state_close(scene.state);
}

static void a_path_is_another_in_another_source_and_in_another_directory(void **state)
{
    struct scene scene;
    struct state_row row = {0};
    struct hf_version version = version_of(2);
    scene_new(&scene, state);
    put(&scene, 0, "a", 1);
    assert_int_equal(state_put(scene.state, 0, "", "srv", &print, &version), HF_OK);
    assert_false(has(&scene, 1, "a"));
    assert_false(state_get(scene.state, 0, "", "a", &row));
    assert_false(state_get(scene.state, 0, "srv/a", "", &row));
    assert_true(state_get(scene.state, 0, "", "srv", &row));
    state_row_free(&row);
    state_close(scene.state);
}

static void the_names_of_an_inode_are_those_of_files_of_its_source(void **state)
{
    struct scene scene;
    struct hf_buf paths = {0};
    struct state_print another = print;
    scene_new(&scene, state);
    put(&scene, 0, "a", 1);
    put(&scene, 0, "b", 2);
    put(&scene, 1, "of another source", 1);
    another.ino++;
    struct hf_version version = version_of(3);
    assert_int_equal(state_put(scene.state, 0, "srv", "other", &another, &version), HF_OK);
    another = print;
    another.dev++;
    assert_int_equal(state_put(scene.state, 0, "srv", "elsewhere", &another, &version), HF_OK);
    version.type = HF_FILE_DIRECTORY;
    assert_int_equal(state_put(scene.state, 0, "srv", "dir", &print, &version), HF_OK);
    version.type = HF_FILE_SYMLINK;
    assert_int_equal(state_put(scene.state, 0, "", "link", &print, &version), HF_OK);
    assert_int_equal(state_names(scene.state, 0, print.dev, print.ino, -1, 10, &paths), HF_OK);
    assert_int_equal(paths.size, sizeof "link\0srv/a\0srv/b");
    assert_memory_equal(paths.data, "link\0srv/a\0srv/b", paths.size);
    hf_buf_clear(&paths);
    assert_int_equal(state_names(scene.state, 0, print.dev, print.ino, -1, 2, &paths), HF_OK);
    assert_int_equal(paths.size, sizeof "link\0srv/a");
    hf_buf_clear(&paths);
    assert_int_equal(state_names(scene.state, 0, print.dev, print.ino, print.ctime_ns, 10, &paths),
                     HF_OK);
    assert_int_equal(paths.size, 0); /* captured as they are */
    hf_buf_free(&paths);
    state_close(scene.state);
}

static void what_is_put_twice_is_what_was_put_last(void **state)
{
    struct scene scene;
    scene_new(&scene, state);
    put(&scene, 0, "a", 1);
    put(&scene, 0, "a", 5);
    assert_int_equal(seq_of(&scene, 0, "a"), 5);
    state_close(scene.state);
}

static void rows_free(struct state_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        state_row_free(&rows[i]);
    }
    free(rows);
}

static void the_children_of_a_directory_come_by_name_without_the_absent(void **state)
{
    struct scene scene;
    struct state_row *rows;
    size_t count = 0;
    char name[16];
    scene_new(&scene, state);
    state_begin(scene.state);
    for (unsigned i = 100; i > 0; i--) {
        snprintf(name, sizeof name, "f%03u", i - 1);
        put(&scene, 0, name, i);
    }
    put_absent(&scene, "f050", 200);
    put(&scene, 1, "of another source", 1);
    struct hf_version version = version_of(1);
    assert_int_equal(state_put(scene.state, 0, "srv/f001", "deeper", &print, &version), HF_OK);
    assert_int_equal(state_put(scene.state, 0, "srv2", "beside", &print, &version), HF_OK);
    assert_int_equal(state_commit(scene.state, NULL), HF_OK);
    assert_int_equal(state_children(scene.state, 0, "srv", "", &rows, &count), HF_OK);
    assert_int_equal(count, 99);
    for (unsigned i = 0; i < count; i++) {
        snprintf(name, sizeof name, "f%03u", i < 50 ? i : i + 1);
        assert_string_equal(rows[i].name, name);
        assert_int_equal(rows[i].refs.size, HF_CHUNK_REF_BYTES);
    }
    rows_free(rows, count);
    assert_int_equal(state_children(scene.state, 0, "nowhere", "", &rows, &count), HF_OK);
    assert_int_equal(count, 0);
    rows_free(rows, count);
    state_close(scene.state);
}

static void the_numbers_are_those_of_the_source_and_an_ack_only_raises_the_last(void **state)
{
    struct scene scene;
    uint64_t acked, last;
    scene_new(&scene, state);
    state_numbers(scene.state, 0, &acked, &last);
    assert_int_equal(acked, 0);
    assert_int_equal(last, 0);
    state_set_last(scene.state, 0, 10);
    state_set_acked(scene.state, 0, 4);
    state_set_acked(scene.state, 1, 7);
    scene_reopen(&scene);
    state_numbers(scene.state, 0, &acked, &last);
    assert_int_equal(acked, 4);
    assert_int_equal(last, 10);
    state_numbers(scene.state, 1, &acked, &last);
    assert_int_equal(acked, 7);
    assert_int_equal(last, 7);
    state_set_acked(scene.state, 0, 12);
    state_numbers(scene.state, 0, &acked, &last);
    assert_int_equal(last, 12);
    state_set_last(scene.state, 0, 3); /* numbers that are given up are used anew */
    state_numbers(scene.state, 0, &acked, &last);
    assert_int_equal(acked, 12);
    assert_int_equal(last, 3);
    state_close(scene.state);
}

static void a_deletion_is_remembered_until_it_is_acknowledged(void **state)
{
    struct scene scene;
    scene_new(&scene, state);
    put(&scene, 0, "stays", 1);
    put_absent(&scene, "gone", 2);
    put_absent(&scene, "gone later", 3);
    state_set_acked(scene.state, 1, 9);
    assert_true(has(&scene, 0, "gone"));
    state_set_acked(scene.state, 0, 2);
    assert_true(has(&scene, 0, "stays"));
    assert_false(has(&scene, 0, "gone"));
    assert_true(has(&scene, 0, "gone later"));
    state_close(scene.state);
}

static void doubt_falls_on_what_is_numbered_from_there_on(void **state)
{
    struct scene scene;
    scene_new(&scene, state);
    put(&scene, 0, "before", 4);
    put(&scene, 0, "first", 5);
    put(&scene, 0, "after", 6);
    put(&scene, 1, "elsewhere", 6);
    state_doubt_from(scene.state, 0, 5);
    assert_false(in_doubt(&scene, 0, "before"));
    assert_true(in_doubt(&scene, 0, "first"));
    assert_true(in_doubt(&scene, 0, "after"));
    assert_false(in_doubt(&scene, 1, "elsewhere"));
    assert_int_equal(seq_of(&scene, 0, "after"), 6);
    state_close(scene.state);
}

static void a_touch_says_how_it_looks_now_but_lifts_no_doubt(void **state)
{
    struct scene scene;
    const struct state_print looks = {.dev = 70,
                                      .ino = 80,
                                      .size = 90,
                                      .mtime_ns = 100,
                                      .ctime_ns = 110,
                                      .mode = 0600,
                                      .uid = 120,
                                      .gid = 130};
    scene_new(&scene, state);
    put(&scene, 0, "sure", 1);
    put(&scene, 0, "other", 1);
    put(&scene, 0, "doubtful", 2);
    state_doubt_from(scene.state, 0, 2);
    assert_int_equal(state_touch(scene.state, 0, "srv", "sure", &looks), HF_OK);
    assert_int_equal(state_touch(scene.state, 0, "srv", "doubtful", &looks), HF_OK);
    assert_int_equal(state_touch(scene.state, 0, "srv", "unknown", &looks), HF_OK);
    struct state_print now = print_of(&scene, 0, "sure");
    assert_true(state_print_equal(&now, &looks));
    assert_int_equal(seq_of(&scene, 0, "sure"), 1);
    now = print_of(&scene, 0, "other");
    assert_true(state_print_equal(&now, &print));
    assert_true(in_doubt(&scene, 0, "doubtful"));
    assert_false(has(&scene, 0, "unknown"));
    state_close(scene.state);
}

static void prints_are_equal_only_in_every_part(void **state)
{
    struct state_print other[8];
    (void)state;
    for (size_t i = 0; i < 8; i++) {
        other[i] = print;
    }
    assert_true(state_print_equal(&print, &other[0]));
    other[0].dev++;
    other[1].ino++;
    other[2].size++;
    other[3].mtime_ns++;
    other[4].ctime_ns++;
    other[5].mode++;
    other[6].uid++;
    other[7].gid++;
    for (size_t i = 0; i < 8; i++) {
        assert_false(state_print_equal(&print, &other[i]));
    }
}

static void a_print_is_what_the_system_says_of_the_file(void **state)
{
    struct scratch *scratch = *state;
    const char *path = scratch_at(scratch, "file");
    const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = -2, .tv_nsec = 5}};
    struct stat status;
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "12345", 5), 5);
    assert_int_equal(fchmod(fd, 04751), 0);
    assert_int_equal(futimens(fd, times), 0);
    close(fd);
    assert_int_equal(stat(path, &status), 0);
    struct state_print got = state_print_of(&status);
    assert_int_equal(got.dev, status.st_dev);
    assert_int_equal(got.ino, status.st_ino);
    assert_int_equal(got.size, 5);
    assert_int_equal(got.mode, 04751);
    assert_true(got.mtime_ns == INT64_C(-2000000000) + 5); /* before 1970, too */
    assert_int_equal(got.uid, geteuid());
    assert_int_equal(stat(scratch->path, &status), 0);
    assert_int_equal(state_print_of(&status).size, 0); /* that of a directory says nothing */
}

static void what_the_collector_has_too_is_confirmed_and_the_rest_forgotten(void **state)
{
    struct scene scene;
    struct hf_version version = version_of(77);
    scene_new(&scene, state);
    put(&scene, 0, "same", 1);
    put(&scene, 0, "never sent", 2);
    put(&scene, 1, "elsewhere", 3);
    state_unconfirm(scene.state, 0);
    assert_int_equal(state_confirm(scene.state, 0, "srv", "same", &version, 40), HF_OK);
    assert_int_equal(state_confirm(scene.state, 0, "srv", "lost here", &version, 40), HF_OK);
    state_forget_unconfirmed(scene.state, 0);
    assert_false(in_doubt(&scene, 0, "same"));
    assert_int_equal(seq_of(&scene, 0, "same"), 40);
    assert_true(in_doubt(&scene, 0, "lost here"));
    assert_int_equal(seq_of(&scene, 0, "lost here"), 40);
    assert_false(has(&scene, 0, "never sent"));
    assert_int_equal(seq_of(&scene, 1, "elsewhere"), 3);
    state_close(scene.state);
}

static void a_row_that_differs_in_any_part_from_the_collectors_is_replaced_and_doubted(void **state)
{
    struct scene scene;
    static const uint8_t other_refs[HF_CHUNK_REF_BYTES] = {1, 2, 4};
    struct hf_version versions[13];
    scene_new(&scene, state);
    for (size_t i = 0; i < 13; i++) {
        versions[i] = version_of(1);
    }
    versions[0].type = HF_FILE_DIRECTORY;
    versions[1].depth = 1;
    versions[2].size++;
    versions[3].mode ^= 1;
    versions[4].mtime_ns++;
    versions[5].refs = (struct hf_bytes){0};
    versions[6].refs.data = other_refs;
    versions[7].target = (struct hf_bytes){(const uint8_t *)"t", 1};
    versions[8].link = 5;
    versions[9].xattrs = (struct hf_bytes){(const uint8_t *)"x", 1};
    versions[10].flags = HF_VERSION_SPARSE;
    versions[11].uid++;
    versions[12].gid++;
    for (size_t i = 0; i < 13; i++) {
        struct state_row row = {0};
        put(&scene, 0, "a", 1);
        assert_int_equal(state_confirm(scene.state, 0, "srv", "a", &versions[i], 2), HF_OK);
        assert_true(in_doubt(&scene, 0, "a"));
        assert_true(state_get(scene.state, 0, "srv", "a", &row));
        assert_int_equal(row.seq, 2);
        assert_int_equal(row.type, versions[i].type);
        assert_int_equal(row.depth, versions[i].depth);
        assert_int_equal(row.refs.size, versions[i].refs.size);
        assert_int_equal(row.target.size, versions[i].target.size);
        state_row_free(&row);
    }
    state_close(scene.state);
}

static void agreeing_with_the_collector_lifts_no_doubt(void **state)
{
    struct scene scene;
    struct hf_version version = version_of(1);
    scene_new(&scene, state);
    put(&scene, 0, "a", 1);
    state_doubt_from(scene.state, 0, 1);
    assert_int_equal(state_confirm(scene.state, 0, "srv", "a", &version, 2), HF_OK);
    assert_true(in_doubt(&scene, 0, "a"));
    state_close(scene.state);
}

enum ending { KILLED_BEFORE_COMMIT, KILLED_AFTER_COMMIT, CLOSED };

/* Another process puts a row and ends. */
static void put_in_a_process_that_ends(struct scene *scene, const char *name, enum ending ending)
{
    int status = -1;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct hf_state *state = NULL;
        struct hf_version version = version_of(1);
        int rc = state_open(&scene->config, &state, NULL);
        if (rc == HF_OK) {
            state_begin(state);
            state_begin(state); /* changes nothing */
            rc = state_put(state, 0, "srv", name, &print, &version);
        }
        if (rc == HF_OK && ending == KILLED_AFTER_COMMIT) {
            rc = state_commit(state, NULL);
        }
        if (rc == HF_OK && ending == CLOSED) {
            state_close(state);
        }
        _exit(rc == HF_OK ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void what_was_committed_outlives_the_process_and_nothing_else_does(void **state)
{
    struct scene scene;
    scene_new(&scene, state);
    state_close(scene.state);
    put_in_a_process_that_ends(&scene, "uncommitted", KILLED_BEFORE_COMMIT);
    put_in_a_process_that_ends(&scene, "committed", KILLED_AFTER_COMMIT);
    put_in_a_process_that_ends(&scene, "closed", CLOSED);
    scene_open(&scene);
    assert_false(has(&scene, 0, "uncommitted"));
    assert_true(has(&scene, 0, "committed"));
    assert_true(has(&scene, 0, "closed"));
    assert_int_equal(state_commit(scene.state, NULL), HF_OK); /* there is nothing to commit */
    state_close(scene.state);
}

/* No file grows beyond that; the disk is full for all that SQLite can tell. */
static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes == RLIM_INFINITY ? limit.rlim_max : bytes;
    signal(SIGXFSZ, bytes == RLIM_INFINITY ? SIG_DFL : SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_commit_that_finds_no_room_loses_all_of_it_and_says_so(void **state)
{
    struct scene scene;
    struct hf_error error = {0};
    char name[16];
    scene_new(&scene, state);
    put(&scene, 0, "before", 1);
    limit_files(65536);
    state_begin(scene.state);
    for (unsigned i = 0; i < 2000; i++) {
        struct hf_version version = version_of(i);
        snprintf(name, sizeof name, "f%u", i);
        state_put(scene.state, 0, "srv", name, &print, &version);
    }
    int rc = state_commit(scene.state, &error);
    limit_files(RLIM_INFINITY);
    assert_true(rc == HF_ERR_NO_SPACE || rc == HF_ERR_IO);
    assert_int_equal(error.code, rc);
    assert_non_null(strstr(error.message, scene.scratch->path));
    assert_false(has(&scene, 0, "f0"));
    assert_false(has(&scene, 0, "f1999"));
    assert_true(has(&scene, 0, "before"));
    state_begin(scene.state); /* there is room again */
    put(&scene, 0, "after", 2);
    assert_int_equal(state_commit(scene.state, &error), HF_OK);
    scene_reopen(&scene);
    assert_true(has(&scene, 0, "before"));
    assert_true(has(&scene, 0, "after"));
    assert_false(has(&scene, 0, "f0"));
    state_close(scene.state);
}

/* Write a state.db without the code under test. */
static void write_file(const struct scratch *scratch, const char *name, const void *data,
                       size_t size)
{
    FILE *file = fopen(scratch_at(scratch, name), "we");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void assert_refused(struct scene *scene)
{
    struct hf_error error = {0};
    struct hf_state *opened = NULL;
    assert_int_equal(state_open(&scene->config, &opened, &error), HF_ERR_IO);
    assert_null(opened);
    assert_int_equal(error.code, HF_ERR_IO);
    assert_non_null(strstr(error.message, scene->scratch->path));
}

static void a_file_that_is_no_database_is_refused_by_name(void **state)
{
    struct scene scene;
    uint8_t noise[20000];
    scene_new(&scene, state);
    state_close(scene.state);
    srand(1);
    for (size_t i = 0; i < sizeof noise; i++) {
        noise[i] = (uint8_t)(rand() >> 3);
    }
    write_file(scene.scratch, "state.db", noise, sizeof noise);
    assert_refused(&scene);
    assert_int_equal(unlink(scratch_at(scene.scratch, "state.db")), 0);
    assert_int_equal(mkdir(scratch_at(scene.scratch, "state.db"), 0700), 0);
    assert_refused(&scene);
    scene.config.state = (char *)scratch_at(scene.scratch, "missing");
    assert_refused(&scene);
}

static void a_database_with_other_tables_of_these_names_is_refused(void **state)
{
    struct scene scene;
    sqlite3 *db;
    scene_new(&scene, state);
    state_close(scene.state);
    assert_int_equal(unlink(scratch_at(scene.scratch, "state.db")), 0);
    assert_int_equal(sqlite3_open(scratch_at(scene.scratch, "state.db"), &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db,
                                  "PRAGMA user_version = 99;"
                                  "CREATE TABLE files (path TEXT PRIMARY KEY, hash BLOB)",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(db);
    assert_refused(&scene);
}

/* All that capture does with it. Returns what the commit said. */
static int use(struct hf_state *opened)
{
    struct state_row row = {0}, *rows;
    struct hf_version version = version_of(3);
    uint64_t acked, last;
    size_t count = 0;
    state_numbers(opened, 0, &acked, &last);
    state_get(opened, 0, "srv", "f0001", &row);
    state_row_free(&row);
    state_children(opened, 0, "srv", "", &rows, &count);
    rows_free(rows, count);
    state_begin(opened);
    state_put(opened, 0, "srv", "f0001", &print, &version);
    state_touch(opened, 0, "srv", "f0002", &print);
    state_doubt_from(opened, 0, 100);
    state_unconfirm(opened, 0);
    state_confirm(opened, 0, "srv", "f0003", &version, 9);
    state_forget_unconfirmed(opened, 0);
    state_set_acked(opened, 0, 9);
    struct hf_error error = {0};
    int rc = state_commit(opened, &error);
    assert_int_equal(error.code, rc);
    assert_int_equal(error.message[0] != '\0', rc != HF_OK);
    return rc;
}

/* A database of many pages, as bytes; the caller frees. */
static uint8_t *sound_database(struct scene *scene, size_t *size)
{
    char name[16];
    struct stat status;
    state_begin(scene->state);
    for (unsigned i = 0; i < 400; i++) {
        snprintf(name, sizeof name, "f%04u", i);
        put(scene, 0, name, i + 1);
    }
    assert_int_equal(state_commit(scene->state, NULL), HF_OK);
    state_close(scene->state);
    FILE *file = fopen(scratch_at(scene->scratch, "state.db"), "re");
    assert_non_null(file);
    assert_int_equal(fstat(fileno(file), &status), 0);
    *size = (size_t)status.st_size;
    uint8_t *bytes = malloc(*size);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *size, file), *size);
    fclose(file);
    return bytes;
}

static void a_truncated_database_is_an_error_or_is_empty_but_never_taken_for_sound(void **state)
{
    struct scene scene;
    size_t size = 0;
    struct hf_error error = {0};
    scene_new(&scene, state);
    uint8_t *bytes = sound_database(&scene, &size);
    assert_true(size > 16 * 4096);
    for (size_t cut = 8 * 4096; cut > 0; cut -= 4096) {
        struct hf_state *opened = NULL;
        write_file(scene.scratch, "state.db", bytes, cut + (cut / 4096) % 2 * 100);
        if (state_open(&scene.config, &opened, &error) == HF_OK) {
            assert_true(use(opened) != HF_OK);
            state_close(opened);
        }
    }
    write_file(scene.scratch, "state.db", "", 0);
    scene_open(&scene);
    assert_false(has(&scene, 0, "f0001"));
    assert_int_equal(use(scene.state), HF_OK);
    state_close(scene.state);
    free(bytes);
}

/* Pages whose headers say what is not so; the first page begins with that of the file. */
static void damaged_pages_do_no_harm_to_the_process(void **state)
{
    struct scene scene;
    size_t size = 0;
    unsigned refused = 0, failed = 0;
    scene_new(&scene, state);
    uint8_t *sound = sound_database(&scene, &size);
    uint8_t *bytes = malloc(size);
    assert_non_null(bytes);
    srand(2);
    for (unsigned round = 0; round < 150; round++) {
        struct hf_state *opened = NULL;
        struct hf_error error = {0};
        memcpy(bytes, sound, size);
        for (unsigned i = 0; i < 1 + round % 5; i++) {
            size_t page = round % 3 == 0 ? 0 : (size_t)rand() % (size / 4096);
            size_t header = page == 0 ? 108 : 12;
            bytes[page * 4096 + (size_t)rand() % header] = (uint8_t)(rand() >> 3);
        }
        write_file(scene.scratch, "state.db", bytes, size);
        unlink(scratch_at(scene.scratch, "state.db-wal"));
        unlink(scratch_at(scene.scratch, "state.db-shm"));
        if (state_open(&scene.config, &opened, &error) == HF_OK) {
            failed += use(opened) != HF_OK;
            state_close(opened);
        } else {
            assert_non_null(strstr(error.message, "state.db"));
            refused++;
        }
    }
    assert_true(refused > 0);
    assert_true(failed > 0);
    free(bytes);
    free(sound);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_make, scratch_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_put_comes_back_after_a_restart_to_the_last_bit),
        TEST(a_path_is_another_in_another_source_and_in_another_directory),
        TEST(the_names_of_an_inode_are_those_of_files_of_its_source),
        TEST(what_is_put_twice_is_what_was_put_last),
        TEST(the_children_of_a_directory_come_by_name_without_the_absent),
        TEST(the_numbers_are_those_of_the_source_and_an_ack_only_raises_the_last),
        TEST(a_deletion_is_remembered_until_it_is_acknowledged),
        TEST(doubt_falls_on_what_is_numbered_from_there_on),
        TEST(a_touch_says_how_it_looks_now_but_lifts_no_doubt),
        cmocka_unit_test(prints_are_equal_only_in_every_part),
        TEST(a_print_is_what_the_system_says_of_the_file),
        TEST(what_the_collector_has_too_is_confirmed_and_the_rest_forgotten),
        TEST(a_row_that_differs_in_any_part_from_the_collectors_is_replaced_and_doubted),
        TEST(agreeing_with_the_collector_lifts_no_doubt),
        TEST(what_was_committed_outlives_the_process_and_nothing_else_does),
        TEST(a_commit_that_finds_no_room_loses_all_of_it_and_says_so),
        TEST(a_file_that_is_no_database_is_refused_by_name),
        TEST(a_database_with_other_tables_of_these_names_is_refused),
        TEST(a_truncated_database_is_an_error_or_is_empty_but_never_taken_for_sound),
        TEST(damaged_pages_do_no_harm_to_the_process),
    };
    hf_log_set_level(HF_LOG_ERROR); /* damage is warned of, over and over */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
