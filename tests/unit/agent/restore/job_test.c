/* What a job remembers over an interruption, and of which offer it is. */
#include "tests/unit/agent/restore/restore_builder.h"

static struct hf_restore_offer offer_of(uint64_t files, const struct hf_bytes *paths, size_t count)
{
    return (struct hf_restore_offer){.job = 7,
                                     .source = {(const uint8_t *)"data", 4},
                                     .at_ns = BUILT_MTIME_NS,
                                     .conflict = HF_CONFLICT_REPLACE,
                                     .file_count = files,
                                     .expires_ns = BUILT_MTIME_NS + 1,
                                     .paths = paths,
                                     .path_count = count};
}

/* Taken up by the next run, with what it had come to. */
static bool is_taken_up(const struct builder *b, const struct hf_restore_offer *offer)
{
    struct hf_error error = {0};
    struct hf_job *job = NULL;
    assert_int_equal(job_open(b->state, offer, &job, &error), HF_OK);
    bool taken = job->interrupted && job->phase == HF_JOB_APPLYING;
    assert_int_equal(job->offer.path_count, offer->path_count);
    job_close(job);
    return taken;
}

/* As an agent wrote it that knew of no paths: a field less. */
static void write_as_earlier(const struct builder *b)
{
    struct hf_buf stored = {0};
    char path[120];
    uint8_t *room = NULL;
    snprintf(path, sizeof(path), "%s/restore/7/offer", b->state);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(hf_buf_extend(&stored, 4096, &room), HF_OK);
    ssize_t size = read(fd, room, 4096);
    assert_true(size > 2 && room[0] == 0x9d && room[size - 1] == 0x90);
    room[0]--;
    assert_int_equal(pwrite(fd, room, (size_t)size, 0), size);
    assert_int_equal(ftruncate(fd, size - 1), 0);
    close(fd);
    hf_buf_free(&stored);
}

static void a_job_is_known_again_by_what_it_is(void **state)
{
    struct builder *b = *state;
    const struct hf_bytes path = {(const uint8_t *)"data/a", 6};
    struct hf_restore_offer offer = offer_of(3, NULL, 0);
    struct hf_restore_offer counted_again = offer_of(4, &path, 1);
    struct hf_restore_offer other = offer_of(3, NULL, 0);
    struct hf_error error = {0};
    struct hf_job *job = NULL;
    assert_int_equal(job_open(b->state, &offer, &job, &error), HF_OK);
    assert_false(job->interrupted);
    assert_int_equal(job_save_phase(job, HF_JOB_APPLYING, &error), HF_OK);
    job_close(job);
    assert_true(is_taken_up(b, &offer));
    assert_true(is_taken_up(b, &counted_again));
    write_as_earlier(b);
    assert_true(is_taken_up(b, &counted_again));
    other.at_ns++;
    assert_false(is_taken_up(b, &other));
    assert_false(is_taken_up(b, &offer)); /* that one is gone now */
}

static int setup(void **state)
{
    *state = builder_new();
    return 0;
}

static int teardown(void **state)
{
    builder_free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_job_is_known_again_by_what_it_is, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
