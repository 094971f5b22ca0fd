/* What is on this host already is found by its content, and only what was captured of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <sqlite3.h>

#include "agent/capture/finder.h"
#include "agent/capture/state.h"
#include "tests/unit/common/scratch.h"

struct scene {
    struct scratch *scratch;
    struct hf_config_source sources[2];
    struct hf_config config;
    struct hf_state *state;
    struct hf_finder *finder;
};

static void scene_new(struct scene *scene, void **state)
{
    struct hf_error error = {0};
    *scene = (struct scene){.scratch = *state, .sources = {{.name = "data"}, {.name = "logs"}}};
    scene->config = (struct hf_config){
        .state = scene->scratch->path, .sources = scene->sources, .source_count = 2};
    if (state_open(&scene->config, &scene->state, &error) != HF_OK) {
        fail_msg("%s", error.message);
    }
}

static void scene_free(struct scene *scene)
{
    finder_free(scene->finder);
    state_close(scene->state);
}

/* A regular file whose content is told by one letter. */
static struct hf_version version_of(char content)
{
    static uint8_t refs[256][HF_CHUNK_REF_BYTES];
    uint8_t *ref = refs[(uint8_t)content];
    ref[0] = (uint8_t)content;
    return (struct hf_version){
        .seq = 1, .type = HF_FILE_REGULAR, .refs = {ref, HF_CHUNK_REF_BYTES}};
}

static void put(struct scene *scene, size_t source, const char *parent, const char *name,
                const struct hf_version *version)
{
    const struct state_print print = {.dev = 1, .ino = 2};
    assert_int_equal(state_put(scene->state, source, parent, name, &print, version), HF_OK);
}

static void put_content(struct scene *scene, const char *parent, const char *name, char content)
{
    struct hf_version version = version_of(content);
    put(scene, 0, parent, name, &version);
}

/* The path that is found, "" for none; valid until the next call. */
static const char *find(struct scene *scene, const struct hf_version *version)
{
    static char found[256];
    struct hf_buf path = {0};
    finder_free(scene->finder); /* what came since is found by the next */
    scene->finder = finder_new(&scene->config);
    assert_non_null(scene->finder);
    int rc = finder_find(scene->finder, version, &path);
    found[0] = '\0';
    if (rc == HF_OK) {
        /* The NUL is behind what is counted. */
        assert_int_equal(strlen((const char *)path.data), path.size);
        snprintf(found, sizeof found, "%s", (const char *)path.data);
    } else {
        assert_int_equal(rc, HF_ERR_NOT_FOUND);
        assert_int_equal(path.size, 0);
    }
    hf_buf_free(&path);
    return found;
}

static const char *find_content(struct scene *scene, char content)
{
    struct hf_version version = version_of(content);
    return find(scene, &version);
}

static void a_file_is_found_by_its_content_wherever_it_lies(void **state)
{
    struct scene scene;
    struct hf_version version = version_of('c');
    scene_new(&scene, state);
    put_content(&scene, "srv/deep/er", "a \xff", 'a');
    put_content(&scene, "", "top", 'b');
    put(&scene, 1, "srv", "log", &version);
    assert_string_equal(find_content(&scene, 'a'), "/srv/deep/er/a \xff");
    assert_string_equal(find_content(&scene, 'b'), "/top");
    assert_string_equal(find_content(&scene, 'c'), "/srv/log");
    assert_string_equal(find_content(&scene, 'd'), "");
    scene_free(&scene);
}

static void any_one_of_several_that_have_it_is_named_once(void **state)
{
    struct scene scene;
    struct hf_buf path = {0};
    struct hf_version version = version_of('a');
    scene_new(&scene, state);
    put_content(&scene, "srv", "x", 'a');
    put_content(&scene, "srv", "y", 'a');
    scene.finder = finder_new(&scene.config);
    assert_non_null(scene.finder);
    assert_int_equal(hf_buf_append_str(&path, "before "), HF_OK);
    assert_int_equal(finder_find(scene.finder, &version, &path), HF_OK);
    assert_true(strcmp((const char *)path.data, "before /srv/x") == 0 ||
                strcmp((const char *)path.data, "before /srv/y") == 0);
    hf_buf_free(&path);
    scene_free(&scene);
}

static void a_list_of_references_is_not_the_content_that_looks_like_it(void **state)
{
    struct scene scene;
    struct hf_version version = version_of('a');
    scene_new(&scene, state);
    version.depth = 1;
    put(&scene, 0, "srv", "huge", &version);
    assert_string_equal(find_content(&scene, 'a'), "");
    assert_string_equal(find(&scene, &version), "/srv/huge");
    scene_free(&scene);
}

static void what_has_no_content_is_not_found(void **state)
{
    struct scene scene;
    struct hf_version empty = {.seq = 1, .type = HF_FILE_REGULAR};
    struct hf_version directory = {.seq = 1, .type = HF_FILE_DIRECTORY};
    struct hf_version odd = version_of('a');
    scene_new(&scene, state);
    odd.type = HF_FILE_SYMLINK;
    put(&scene, 0, "srv", "empty", &empty);
    put(&scene, 0, "srv", "directory", &directory);
    put(&scene, 0, "srv", "odd", &odd);
    assert_string_equal(find(&scene, &empty), "");
    assert_string_equal(find(&scene, &directory), "");
    assert_string_equal(find_content(&scene, 'a'), "");
    scene_free(&scene);
}

static void a_file_that_changed_or_went_is_found_by_its_old_content_no_more(void **state)
{
    struct scene scene;
    struct hf_version absent = {.seq = 2, .type = HF_FILE_ABSENT};
    scene_new(&scene, state);
    put_content(&scene, "srv", "changes", 'a');
    put_content(&scene, "srv", "goes", 'b');
    assert_string_equal(find_content(&scene, 'a'), "/srv/changes");
    assert_string_equal(find_content(&scene, 'b'), "/srv/goes");
    put_content(&scene, "srv", "changes", 'c');
    put(&scene, 0, "srv", "goes", &absent);
    assert_string_equal(find_content(&scene, 'a'), "");
    assert_string_equal(find_content(&scene, 'b'), "");
    assert_string_equal(find_content(&scene, 'c'), "/srv/changes");
    scene_free(&scene);
}

static void capture_goes_on_writing_while_somebody_looks(void **state)
{
    struct scene scene;
    char name[16];
    scene_new(&scene, state);
    put_content(&scene, "srv", "first", 'a');
    state_begin(scene.state);
    put_content(&scene, "srv", "second", 'b');
    assert_string_equal(find_content(&scene, 'a'), "/srv/first");
    assert_string_equal(find_content(&scene, 'b'), ""); /* not committed */
    assert_int_equal(state_commit(scene.state, NULL), HF_OK);
    assert_string_equal(find_content(&scene, 'b'), "/srv/second");
    for (unsigned i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "f%u", i);
        state_begin(scene.state);
        put_content(&scene, "srv", name, 'c');
        assert_int_equal(state_commit(scene.state, NULL), HF_OK);
    }
    assert_string_not_equal(find_content(&scene, 'c'), "");
    scene_free(&scene);
}

/* How many pages of the log a checkpoint can't move into the database, and so can't drop. */
static int held_up(struct scene *scene)
{
    sqlite3 *db;
    int in_log = -1, moved = -1;
    assert_int_equal(sqlite3_open(scratch_at(scene->scratch, "state.db"), &db), SQLITE_OK);
    assert_int_equal(
        sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_PASSIVE, &in_log, &moved), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    return in_log - moved;
}

static void looking_leaves_nothing_open_that_holds_up_a_checkpoint(void **state)
{
    struct scene scene;
    scene_new(&scene, state);
    put_content(&scene, "srv", "x", 'a');
    put_content(&scene, "srv", "y", 'a');
    assert_string_not_equal(find_content(&scene, 'a'), "");
    put_content(&scene, "srv", "z", 'b'); /* after what a look that went on would still see */
    assert_int_equal(held_up(&scene), 0);
    scene_free(&scene);
}

static void write_noise(struct scene *scene)
{
    FILE *file = fopen(scratch_at(scene->scratch, "state.db"), "we");
    assert_non_null(file);
    srand(1);
    for (unsigned i = 0; i < 20000; i++) {
        fputc(rand() >> 3 & 0xff, file);
    }
    assert_int_equal(fclose(file), 0);
}

static void without_a_readable_state_there_is_no_finder(void **state)
{
    struct scene scene;
    sqlite3 *db;
    scene_new(&scene, state);
    scene_free(&scene);
    finder_free(NULL);
    write_noise(&scene);
    assert_null(finder_new(&scene.config));
    assert_int_equal(unlink(scratch_at(scene.scratch, "state.db")), 0);
    assert_null(finder_new(&scene.config));
    struct stat status;
    assert_int_equal(stat(scratch_at(scene.scratch, "state.db"), &status), -1); /* nor made */
    assert_int_equal(sqlite3_open(scratch_at(scene.scratch, "state.db"), &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "CREATE TABLE files (parent BLOB, name BLOB, hash BLOB)",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    assert_null(finder_new(&scene.config));
}

static void what_was_damaged_since_is_not_found_or_found_in_a_path_of_sound_form(void **state)
{
    struct scene scene;
    struct stat status;
    char name[16];
    size_t found = 0;
    scene_new(&scene, state);
    state_begin(scene.state);
    for (unsigned i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "f%03u", i);
        put_content(&scene, "srv", name, (char)i);
    }
    assert_int_equal(state_commit(scene.state, NULL), HF_OK);
    scene_free(&scene);
    FILE *file = fopen(scratch_at(scene.scratch, "state.db"), "re+");
    assert_non_null(file);
    assert_int_equal(fstat(fileno(file), &status), 0);
    srand(2);
    for (unsigned i = 0; i < 400; i++) { /* not the first pages, or it would not open */
        fseek(file, 16384 + rand() % (status.st_size - 16384), SEEK_SET);
        fputc(rand() >> 3 & 0xff, file);
    }
    assert_int_equal(fclose(file), 0);
    scene.finder = finder_new(&scene.config);
    for (unsigned i = 0; scene.finder && i < 200; i++) {
        struct hf_buf path = {0};
        struct hf_version version = version_of((char)i);
        int rc = finder_find(scene.finder, &version, &path);
        assert_true(rc == HF_OK || rc == HF_ERR_NOT_FOUND);
        if (rc == HF_OK) {
            found++;
            assert_int_equal(path.data[0], '/');
        }
        hf_buf_free(&path);
    }
    assert_in_range(found, 0, 199);
    finder_free(scene.finder);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_make, scratch_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_file_is_found_by_its_content_wherever_it_lies),
        TEST(any_one_of_several_that_have_it_is_named_once),
        TEST(a_list_of_references_is_not_the_content_that_looks_like_it),
        TEST(what_has_no_content_is_not_found),
        TEST(a_file_that_changed_or_went_is_found_by_its_old_content_no_more),
        TEST(capture_goes_on_writing_while_somebody_looks),
        TEST(looking_leaves_nothing_open_that_holds_up_a_checkpoint),
        TEST(without_a_readable_state_there_is_no_finder),
        TEST(what_was_damaged_since_is_not_found_or_found_in_a_path_of_sound_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
