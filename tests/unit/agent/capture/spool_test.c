/* What waits on disk for the collector comes back whole, in order, and leaves room for what
 * matters.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

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

#include "agent/capture/spool.h"
#include "common/log.h"
#include "tests/unit/common/scratch.h"

#define DATA 0
#define LOGS 1

struct scene {
    struct scratch *scratch;
    struct hf_config_source sources[2];
    struct hf_config config;
    struct hf_spool *spool;
};

static void scene_open(struct scene *scene)
{
    struct hf_error error = {0};
    if (spool_open(&scene->config, &scene->spool, &error) != HF_OK) {
        fail_msg("%s", error.message);
    }
}

static void scene_new(struct scene *scene, void **state, uint64_t spool_max_bytes)
{
    *scene = (struct scene){.scratch = *state,
                            .sources = {{.name = "data", .class_name = "config"},
                                        {.name = "logs", .class_name = "logs"}}};
    scene->config = (struct hf_config){.state = scene->scratch->path,
                                       .spool_max_bytes = spool_max_bytes,
                                       .sources = scene->sources,
                                       .source_count = 2};
    scene_open(scene);
}

static void scene_reopen(struct scene *scene)
{
    spool_close(scene->spool);
    scene_open(scene);
}

/* A unit with versions first to last and a chunk of that size, which no compressor makes smaller.
 */
static struct hf_unit *make(size_t source, uint64_t first, uint64_t last, size_t size)
{
    static const uint8_t id[HF_HASH_BYTES] = {1};
    struct hf_unit *unit = unit_new(source);
    assert_non_null(unit);
    uint8_t *data = unit_alloc(unit, size);
    assert_non_null(data);
    for (size_t i = 0; i < size; i++) {
        data[i] = (uint8_t)(rand() >> 3);
    }
    assert_int_equal(
        unit_add_chunk(unit, id, HF_CODEC_RAW, (uint32_t)size, (struct hf_bytes){data, size}),
        HF_OK);
    for (uint64_t seq = first; seq <= last; seq++) {
        struct hf_version version = {
            .seq = seq, .type = HF_FILE_ABSENT, .path = {(const uint8_t *)"a", 1}};
        assert_int_equal(unit_add_version(unit, &version), HF_OK);
    }
    return unit;
}

static int put(struct scene *scene, size_t source, uint64_t first, uint64_t last, size_t size,
               struct hf_error *error)
{
    struct hf_unit *unit = make(source, first, last, size);
    int rc = spool_put(scene->spool, unit, error);
    unit_free(unit);
    return rc;
}

static void put_small(struct scene *scene, size_t source, uint64_t first, uint64_t last)
{
    assert_int_equal(put(scene, source, first, last, 10, NULL), HF_OK);
}

/* The first version of the first unit beyond seq; 0 for none. */
static uint64_t first_after(struct scene *scene, size_t source, uint64_t seq)
{
    struct hf_unit *unit = spool_after(scene->spool, source, seq);
    uint64_t first = unit ? unit_first_seq(unit) : 0;
    unit_free(unit);
    return first;
}

static void a_unit_comes_back_whole_after_a_restart(void **state)
{
    struct scene scene;
    scene_new(&scene, state, 1 << 20);
    struct hf_unit *unit = make(DATA, 3, 5, 5000);
    assert_int_equal(spool_put(scene.spool, unit, NULL), HF_OK);
    scene_reopen(&scene);
    struct hf_unit *got = spool_after(scene.spool, DATA, 0);
    assert_non_null(got);
    assert_int_equal(got->source, DATA);
    assert_int_equal(got->version_count, 3);
    assert_int_equal(unit_first_seq(got), 3);
    assert_int_equal(unit_last_seq(got), 5);
    assert_int_equal(got->chunk_count, 1);
    assert_int_equal(got->chunks[0].data.size, 5000);
    assert_memory_equal(got->chunks[0].data.data, unit->chunks[0].data.data, 5000);
    unit_free(got);
    unit_free(unit);
    spool_close(scene.spool);
}

static void units_come_in_the_order_of_their_versions_and_each_source_has_its_own(void **state)
{
    struct scene scene;
    scene_new(&scene, state, 1 << 20);
    put_small(&scene, DATA, 10, 12);
    put_small(&scene, DATA, 1, 9);
    put_small(&scene, DATA, 13, 13);
    put_small(&scene, LOGS, 4, 5);
    assert_int_equal(first_after(&scene, DATA, 0), 1);
    assert_int_equal(first_after(&scene, DATA, 8), 1); /* it has 9 still */
    assert_int_equal(first_after(&scene, DATA, 9), 10);
    assert_int_equal(first_after(&scene, DATA, 12), 13);
    assert_int_equal(first_after(&scene, DATA, 13), 0);
    assert_int_equal(first_after(&scene, LOGS, 0), 4);
    assert_int_equal(spool_last_seq(scene.spool, DATA), 13);
    assert_int_equal(spool_last_seq(scene.spool, LOGS), 5);
    spool_close(scene.spool);
}

static void what_is_acknowledged_is_dropped_once_all_of_its_unit_is(void **state)
{
    struct scene scene;
    scene_new(&scene, state, 1 << 20);
    put_small(&scene, DATA, 1, 3);
    put_small(&scene, DATA, 4, 6);
    put_small(&scene, LOGS, 1, 1);
    spool_drop_through(scene.spool, DATA, 5);
    assert_int_equal(first_after(&scene, DATA, 0), 4);
    spool_drop_through(scene.spool, DATA, 6);
    assert_int_equal(first_after(&scene, DATA, 0), 0);
    assert_int_equal(spool_last_seq(scene.spool, DATA), 0);
    assert_int_equal(first_after(&scene, LOGS, 0), 1);
    scene_reopen(&scene);
    assert_int_equal(spool_last_seq(scene.spool, DATA), 0);
    spool_close(scene.spool);
}

static void what_is_given_up_is_dropped_with_all_that_follows(void **state)
{
    struct scene scene;
    scene_new(&scene, state, 1 << 20);
    put_small(&scene, DATA, 1, 3);
    put_small(&scene, DATA, 4, 6);
    put_small(&scene, DATA, 7, 9);
    put_small(&scene, LOGS, 8, 8);
    spool_drop_from(scene.spool, DATA, 5); /* in the midst of a unit */
    assert_int_equal(spool_last_seq(scene.spool, DATA), 3);
    assert_int_equal(first_after(&scene, DATA, 0), 1);
    assert_int_equal(first_after(&scene, LOGS, 0), 8);
    spool_drop_from(scene.spool, DATA, 1);
    assert_int_equal(spool_last_seq(scene.spool, DATA), 0);
    spool_close(scene.spool);
}

/* What the spool takes on disk. */
static uint64_t disk_bytes(struct scene *scene)
{
    static const char *const names[] = {"spool.db", "spool.db-wal", "spool.db-shm"};
    uint64_t bytes = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct stat status;
        if (stat(scratch_at(scene->scratch, names[i]), &status) == 0) {
            bytes += (uint64_t)status.st_size;
        }
    }
    return bytes;
}

/* How many units of a source fit, from that version on. */
static uint64_t fill_from(struct scene *scene, size_t source, uint64_t first, size_t size)
{
    struct hf_error error = {0};
    uint64_t count = 0;
    int rc;
    while ((rc = put(scene, source, first + count, first + count, size, &error)) == HF_OK) {
        count++;
    }
    assert_int_equal(rc, HF_ERR_NO_SPACE);
    assert_int_equal(error.code, HF_ERR_NO_SPACE);
    assert_non_null(strstr(error.message, scene->sources[source].name));
    assert_non_null(strstr(error.message, "spool_max"));
    return count;
}

static uint64_t fill(struct scene *scene, size_t source)
{
    return fill_from(scene, source, 1, 8000);
}

static void all_that_the_spool_takes_on_disk_stays_within_its_limit(void **state)
{
    static const struct {
        uint64_t limit;
        size_t size;
    } cases[] = {{256 << 10, 10}, {256 << 10, 1000}, {256 << 10, 5000}, {1 << 20, 60000}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct scene scene;
        uint64_t most = 0;
        uint64_t seq = 1;
        scene_new(&scene, state, cases[i].limit);
        while (put(&scene, DATA, seq, seq, cases[i].size, NULL) == HF_OK) {
            uint64_t now = disk_bytes(&scene);
            most = now > most ? now : most;
            seq++;
        }
        if (most > cases[i].limit || most < cases[i].limit / 2) {
            fail_msg("%llu bytes of %llu are in use, with units of %zu", (unsigned long long)most,
                     (unsigned long long)cases[i].limit, cases[i].size);
        }
        spool_drop_through(scene.spool, DATA, UINT32_MAX);
        spool_close(scene.spool);
    }
}

static void a_class_fills_the_spool_only_up_to_its_share(void **state)
{
    static const struct {
        const char *class_name;
        uint64_t percent;
    } shares[] = {
        {"config", 100}, {"credentials", 100}, {"checkpoints", 80}, {"data", 65}, {"logs", 50}};
    struct scene scene;
    uint64_t whole = 0;
    scene_new(&scene, state, 1 << 20);
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
        scene.sources[DATA].class_name = (char *)shares[i].class_name;
        uint64_t count = fill(&scene, DATA);
        whole = i == 0 ? count : whole;
        /* Of two pages and a little each; what the log and its index take comes off every share. */
        assert_in_range(count, 95 * shares[i].percent / 100 - 20, 125 * shares[i].percent / 100);
        spool_drop_through(scene.spool, DATA, UINT32_MAX);
    }
    assert_true(whole > 90);
    spool_close(scene.spool);
}

static void room_is_counted_over_all_sources_over_restarts_and_comes_back_with_acks(void **state)
{
    struct scene scene;
    scene_new(&scene, state, 1 << 20);
    uint64_t logs = fill(&scene, LOGS);
    uint64_t data = fill(&scene, DATA);
    assert_in_range(data, logs, 80);
    scene_reopen(&scene);
    assert_int_equal(put(&scene, DATA, data + 1, data + 1, 8000, NULL), HF_ERR_NO_SPACE);
    spool_drop_through(scene.spool, LOGS, logs / 2);
    uint64_t more = fill_from(&scene, DATA, data + 1, 8000);
    assert_in_range(more, logs / 2 - 2, logs / 2 + 2);
    assert_int_equal(spool_last_seq(scene.spool, DATA), data + more);
    spool_close(scene.spool);
}

/* How often stderr had the text while fn ran. */
static size_t times_said(struct scene *scene, void (*fn)(struct scene *scene), const char *text)
{
    char said[16384] = "";
    int file =
        open(scratch_at(scene->scratch, "said"), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int err = dup(2);
    assert_true(file >= 0 && err >= 0);
    fflush(stderr);
    dup2(file, 2);
    hf_log_set_level(HF_LOG_WARNING);
    fn(scene);
    hf_log_set_level(HF_LOG_ERROR);
    fflush(stderr);
    dup2(err, 2);
    close(err);
    assert_true(pread(file, said, sizeof said - 1, 0) >= 0);
    close(file);
    size_t count = 0;
    for (const char *at = said; (at = strstr(at, text)); at++) {
        count++;
    }
    return count;
}

static void fill_both(struct scene *scene)
{
    fill(scene, DATA);
    for (uint64_t seq = 1; seq < 10; seq++) {
        assert_int_equal(put(scene, LOGS, seq, seq, 8000, NULL), HF_ERR_NO_SPACE);
    }
}

static void that_versions_are_left_out_is_said_once_until_there_was_room_again(void **state)
{
    struct scene scene;
    scene_new(&scene, state, 256 << 10);
    assert_int_equal(times_said(&scene, fill_both, "versions are left out"), 1);
    assert_int_equal(times_said(&scene, fill_both, "versions are left out"), 0);
    spool_drop_through(scene.spool, DATA, UINT32_MAX);
    assert_int_equal(times_said(&scene, fill_both, "spool_max = 256"), 1);
    spool_close(scene.spool);
}

static void what_compresses_takes_less_room(void **state)
{
    struct scene scene;
    static const uint8_t id[HF_HASH_BYTES];
    static const uint8_t zeros[1 << 20];
    scene_new(&scene, state, 256 << 10);
    struct hf_unit *unit = make(DATA, 1, 1, 10);
    assert_int_equal(unit_add_chunk(unit, id, HF_CODEC_RAW, sizeof zeros,
                                    (struct hf_bytes){zeros, sizeof zeros}),
                     HF_OK);
    assert_int_equal(spool_put(scene.spool, unit, NULL), HF_OK);
    unit_free(unit);
    spool_close(scene.spool);
}

static void what_was_put_outlives_a_process_that_is_killed(void **state)
{
    struct scene scene;
    int status = -1;
    scene_new(&scene, state, 1 << 20);
    spool_close(scene.spool);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        scene_open(&scene);
        _exit(put(&scene, DATA, 1, 2, 100, NULL) == HF_OK ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    scene_open(&scene);
    assert_int_equal(spool_last_seq(scene.spool, DATA), 2);
    assert_int_equal(first_after(&scene, DATA, 0), 1);
    spool_close(scene.spool);
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

static void a_full_disk_keeps_what_was_there_and_does_not_count_what_was_not_kept(void **state)
{
    struct scene scene;
    struct hf_error error = {0};
    scene_new(&scene, state, 1 << 20);
    put_small(&scene, DATA, 1, 1);
    limit_files(100000);
    int rc = put(&scene, DATA, 2, 2, 200000, &error);
    int again = put(&scene, DATA, 2, 2, 200000, &error);
    limit_files(RLIM_INFINITY);
    assert_true(rc == HF_ERR_IO || rc == HF_ERR_NO_SPACE);
    assert_int_equal(again, rc);
    assert_int_equal(error.code, rc);
    assert_non_null(strstr(error.message, scene.scratch->path));
    assert_int_equal(spool_last_seq(scene.spool, DATA), 1);
    assert_int_equal(first_after(&scene, DATA, 1), 0);
    assert_int_equal(put(&scene, DATA, 2, 2, 200000, NULL), HF_OK);
    assert_int_equal(first_after(&scene, DATA, 1), 2);
    spool_close(scene.spool);
}

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
    struct hf_spool *opened = NULL;
    assert_int_equal(spool_open(&scene->config, &opened, &error), HF_ERR_IO);
    assert_null(opened);
    assert_int_equal(error.code, HF_ERR_IO);
    assert_non_null(strstr(error.message, scene->scratch->path));
}

static void change_with(struct scene *scene, const char *sql)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(scratch_at(scene->scratch, "spool.db"), &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void what_is_no_spool_is_refused_by_name(void **state)
{
    struct scene scene;
    uint8_t noise[20000];
    scene_new(&scene, state, 1 << 20);
    spool_close(scene.spool);
    srand(1);
    for (size_t i = 0; i < sizeof noise; i++) {
        noise[i] = (uint8_t)(rand() >> 3);
    }
    write_file(scene.scratch, "spool.db", noise, sizeof noise);
    assert_refused(&scene);
    assert_int_equal(unlink(scratch_at(scene.scratch, "spool.db")), 0);
    change_with(&scene, "PRAGMA user_version = 99; CREATE TABLE units (id INTEGER, data BLOB)");
    assert_refused(&scene);
    assert_int_equal(unlink(scratch_at(scene.scratch, "spool.db")), 0);
    assert_int_equal(mkdir(scratch_at(scene.scratch, "spool.db"), 0700), 0);
    assert_refused(&scene);
    scene.config.state = (char *)scratch_at(scene.scratch, "missing");
    assert_refused(&scene);
}

static void a_unit_that_was_damaged_on_disk_is_not_returned_and_can_be_dropped(void **state)
{
    static const char *const damages[] = {
        "UPDATE units SET body = substr(body, 1, length(body) - 1) WHERE first = 2",
        "UPDATE units SET body = body || x'00' WHERE first = 2",
        "UPDATE units SET body = x'' WHERE first = 2",
        "UPDATE units SET body = zeroblob(3) WHERE first = 2",
        "UPDATE units SET body = x'ffffffffffffffff' WHERE first = 2",
        "UPDATE units SET body = randomblob(2000) WHERE first = 2",
        "UPDATE units SET body = 'text' WHERE first = 2",
    };
    struct scene scene;
    scene_new(&scene, state, 1 << 20);
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
        put_small(&scene, DATA, 1, 1);
        put_small(&scene, DATA, 2, 2);
        put_small(&scene, DATA, 3, 3);
        change_with(&scene, damages[i]);
        assert_int_equal(first_after(&scene, DATA, 0), 1);
        assert_null(spool_after(scene.spool, DATA, 1));
        assert_int_equal(first_after(&scene, DATA, 2), 3);
        spool_drop_from(scene.spool, DATA, 2);
        assert_int_equal(spool_last_seq(scene.spool, DATA), 1);
        spool_drop_from(scene.spool, DATA, 1);
    }
    spool_close(scene.spool);
}

static void damage_anywhere_in_the_file_does_no_harm_to_the_process(void **state)
{
    struct scene scene;
    struct stat status;
    unsigned refused = 0, whole = 0;
    scene_new(&scene, state, 1 << 20);
    for (uint64_t seq = 1; seq <= 30; seq++) {
        assert_int_equal(put(&scene, DATA, seq, seq, 500, NULL), HF_OK);
    }
    spool_close(scene.spool);
    FILE *file = fopen(scratch_at(scene.scratch, "spool.db"), "re");
    assert_non_null(file);
    assert_int_equal(fstat(fileno(file), &status), 0);
    size_t size = (size_t)status.st_size;
    uint8_t *sound = malloc(size);
    uint8_t *bytes = malloc(size);
    assert_non_null(sound);
    assert_non_null(bytes);
    assert_int_equal(fread(sound, 1, size, file), size);
    fclose(file);
    srand(3);
    for (unsigned round = 0; round < 150; round++) {
        struct hf_spool *opened = NULL;
        struct hf_error error = {0};
        memcpy(bytes, sound, size);
        size_t area = round % 3 == 0 ? 200 : size; /* the first page more often than its share */
        for (unsigned i = 0; i < 1 + round % 40; i++) {
            bytes[(size_t)rand() % area] = (uint8_t)(rand() >> 3);
        }
        write_file(scene.scratch, "spool.db", bytes, round % 5 == 4 ? size / 2 : size);
        unlink(scratch_at(scene.scratch, "spool.db-wal"));
        unlink(scratch_at(scene.scratch, "spool.db-shm"));
        if (spool_open(&scene.config, &opened, &error) != HF_OK) {
            assert_non_null(strstr(error.message, "spool.db"));
            refused++;
            continue;
        }
        scene.spool = opened;
        whole += first_after(&scene, DATA, 0) == 1;
        for (uint64_t seq = 1; seq <= 30; seq++) {
            first_after(&scene, DATA, seq);
        }
        spool_last_seq(opened, DATA);
        put(&scene, DATA, 31, 31, 500, NULL);
        spool_drop_through(opened, DATA, 10);
        spool_drop_from(opened, DATA, 20);
        spool_close(opened);
    }
    assert_true(refused > 0);
    assert_true(whole > 0);
    free(bytes);
    free(sound);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_make, scratch_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_unit_comes_back_whole_after_a_restart),
        TEST(units_come_in_the_order_of_their_versions_and_each_source_has_its_own),
        TEST(what_is_acknowledged_is_dropped_once_all_of_its_unit_is),
        TEST(what_is_given_up_is_dropped_with_all_that_follows),
        TEST(all_that_the_spool_takes_on_disk_stays_within_its_limit),
        TEST(that_versions_are_left_out_is_said_once_until_there_was_room_again),
        TEST(a_class_fills_the_spool_only_up_to_its_share),
        TEST(room_is_counted_over_all_sources_over_restarts_and_comes_back_with_acks),
        TEST(what_compresses_takes_less_room),
        TEST(what_was_put_outlives_a_process_that_is_killed),
        TEST(a_full_disk_keeps_what_was_there_and_does_not_count_what_was_not_kept),
        TEST(what_is_no_spool_is_refused_by_name),
        TEST(a_unit_that_was_damaged_on_disk_is_not_returned_and_can_be_dropped),
        TEST(damage_anywhere_in_the_file_does_no_harm_to_the_process),
    };
    hf_log_set_level(HF_LOG_ERROR); /* damage is warned of, over and over */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
