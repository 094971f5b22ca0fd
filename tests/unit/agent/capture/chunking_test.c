/* What long content is cut by: where it comes from, where it stays, what is done without it. */
#include "tests/unit/agent/capture/capture_scene.h"

#include "common/fs.h"

#define LONG_BYTES ((size_t)200000)

static const uint8_t other_chunking[HF_CHUNK_SEED_BYTES] = "what another collector says";

static uint8_t *noise(uint64_t seed)
{
    uint8_t *data = malloc(LONG_BYTES);
    assert_non_null(data);
    for (size_t i = 0; i < LONG_BYTES; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        data[i] = (uint8_t)(seed >> 56);
    }
    return data;
}

/* Set on one go, so that no half of it is seen. */
static void put(struct scene *scene, size_t source, const char *name, const uint8_t *data,
                size_t size)
{
    char path[128];
    struct hf_error error = {0};
    snprintf(path, sizeof path, "%s/%s", scene->roots[source], name);
    assert_int_equal(hf_write_file_atomic(path, data, size, 0600, &error), HF_OK);
}

static const char *kept_in(struct scene *scene, char path[128])
{
    snprintf(path, 128, "%s/chunking", scene->state);
    return path;
}

/* The references of file "f"'s newest version, and those of data cut by seed. */
static bool is_cut_by(struct scene *scene, const uint8_t *seed, const uint8_t *data)
{
    const struct hf_bytes refs = scene->newest[DATA]->versions[0].refs;
    struct hf_chunker *chunker = hf_chunker_new(seed);
    size_t at = 0, ref = 0;
    bool same = true;
    assert_non_null(chunker);
    while (same && at < LONG_BYTES) {
        uint8_t id[HF_HASH_BYTES];
        size_t length = hf_chunker_cut(chunker, hf_chunker_params_of("config", LONG_BYTES),
                                       data + at, LONG_BYTES - at, 1);
        hf_sha256(data + at, length, id);
        same = ref + HF_CHUNK_REF_BYTES <= refs.size && memcmp(refs.data + ref, id, sizeof id) == 0;
        at += length;
        ref += HF_CHUNK_REF_BYTES;
    }
    hf_chunker_free(chunker);
    return same && ref == refs.size;
}

static void restart(struct scene *scene)
{
    struct hf_error error = {0};
    capture_free(scene->capture);
    scene->capture = NULL;
    assert_int_equal(capture_start(&scene->config, scene->outbox, &scene->capture, &error), HF_OK);
}

static void long_files_wait_for_the_first_connection_and_short_ones_do_not(void **state)
{
    struct scene *scene = *state;
    uint8_t *data = noise(1);
    put(scene, DATA, "f", data, LONG_BYTES);
    put(scene, OTHER, "f", data, 100);
    assert_int_equal(outbox_online(scene->outbox, OTHER, 0, 0), HF_OUTBOX_RESUME);
    wait_for(scene, OTHER, 1); /* which was found last */
    assert_false(capture_chunker(scene->capture, NULL));
    assert_int_equal(scene->seen[DATA], 0);
    capture_set_chunking(scene->capture, scene_chunking);
    assert_int_equal(outbox_online(scene->outbox, DATA, 0, 0), HF_OUTBOX_RESUME);
    wait_for(scene, DATA, 1);
    assert_true(is_cut_by(scene, scene_chunking, data));
    free(data);
}

static void how_content_is_cut_is_kept_for_the_owner_alone(void **state)
{
    struct scene *scene = *state;
    char path[128];
    struct stat status;
    struct hf_buf kept = {0};
    struct hf_error error = {0};
    scene_connect(scene);
    assert_int_equal(stat(kept_in(scene, path), &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
    assert_int_equal(hf_read_file(path, 100, &kept, &error), HF_OK);
    assert_int_equal(kept.size, HF_CHUNK_SEED_BYTES);
    assert_memory_equal(kept.data, scene_chunking, kept.size);
    hf_buf_free(&kept);
    restart(scene);
    assert_true(capture_chunker(scene->capture, NULL));
}

static void what_is_kept_damaged_is_not_used_and_is_replaced(void **state)
{
    static const size_t sizes[] = {0, 31, 33};
    struct scene *scene = *state;
    char path[128];
    struct hf_error error = {0};
    struct stat status;
    uint8_t damaged[33] = {1};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        assert_int_equal(
            hf_write_file_atomic(kept_in(scene, path), damaged, sizes[i], 0600, &error), HF_OK);
        restart(scene);
        assert_false(capture_chunker(scene->capture, NULL));
    }
    capture_set_chunking(scene->capture, scene_chunking);
    assert_true(capture_chunker(scene->capture, NULL));
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_size, HF_CHUNK_SEED_BYTES);
}

static void another_collector_has_new_versions_cut_its_way(void **state)
{
    struct scene *scene = *state;
    struct hf_chunker *before = NULL, *same = NULL, *after = NULL;
    uint8_t *data = noise(1), *changed = noise(2);
    scene_connect(scene);
    put(scene, DATA, "f", data, LONG_BYTES);
    wait_for(scene, DATA, 1);
    assert_true(is_cut_by(scene, scene_chunking, data));
    assert_true(capture_chunker(scene->capture, &before));
    capture_set_chunking(scene->capture, scene_chunking); /* as with every connection */
    assert_true(capture_chunker(scene->capture, &same));
    assert_ptr_equal(before, same);
    capture_set_chunking(scene->capture, other_chunking);
    assert_true(capture_chunker(scene->capture, &after));
    assert_ptr_not_equal(before, after);
    put(scene, DATA, "f", changed, LONG_BYTES);
    wait_for(scene, DATA, 2);
    assert_true(is_cut_by(scene, other_chunking, changed));
    assert_false(is_cut_by(scene, scene_chunking, changed));
    /* Whoever still cuts by the old rule can. */
    assert_in_range(
        hf_chunker_cut(before, hf_chunker_params_of("config", LONG_BYTES), data, LONG_BYTES, 1), 1,
        LONG_BYTES);
    hf_chunker_free(before);
    hf_chunker_free(same);
    hf_chunker_free(after);
    free(data);
    free(changed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            long_files_wait_for_the_first_connection_and_short_ones_do_not, setup_unconnected,
            teardown),
        cmocka_unit_test_setup_teardown(how_content_is_cut_is_kept_for_the_owner_alone,
                                        setup_unconnected, teardown),
        cmocka_unit_test_setup_teardown(what_is_kept_damaged_is_not_used_and_is_replaced,
                                        setup_unconnected, teardown),
        cmocka_unit_test_setup_teardown(another_collector_has_new_versions_cut_its_way,
                                        setup_unconnected, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
