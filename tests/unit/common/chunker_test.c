#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/chunker.h"

#define DATA_BYTES ((size_t)2 * 1024 * 1024)
#define CUTS_MAX   256

/* Without structure and the same everywhere: xorshift64* (Vigna, 2014). */
static void fill(uint8_t *data, size_t size, uint64_t seed)
{
    uint64_t x = seed;
    for (size_t i = 0; i < size; i++) {
        if (i % 8 == 0) {
            x ^= x >> 12;
            x ^= x << 25;
            x ^= x >> 27;
        }
        data[i] = (uint8_t)(x * UINT64_C(0x2545f4914f6cdd1d) >> (8 * (i % 8)));
    }
}

/* Ends of all chunks; returns how many. */
static size_t cut_all(const uint8_t *data, size_t size, size_t ends[CUTS_MAX])
{
    size_t count = 0;
    for (size_t at = 0; at < size;) {
        size_t length = hf_chunker_cut(&hf_chunker_default, data + at, size - at, 1);
        assert_in_range(length, 1, hf_chunker_default.max_bytes);
        at += length;
        assert_true(at <= size && count < CUTS_MAX);
        if (at < size) {
            assert_in_range(length, hf_chunker_default.min_bytes, hf_chunker_default.max_bytes);
        }
        ends[count++] = at;
    }
    return count;
}

static int make_data(void **state)
{
    *state = malloc(DATA_BYTES);
    if (*state) {
        fill(*state, DATA_BYTES, UINT64_C(0x9e3779b97f4a7c15));
    }
    return *state == NULL;
}

static int free_data(void **state)
{
    free(*state);
    return 0;
}

/* Lengths from a second implementation, written from the paper in another language. Were they to
 * change, every host would send everything it has once more. */
static void the_cuts_are_those_of_every_other_agent(void **state)
{
    static const size_t lengths[] = {134432, 158829, 131089, 133965, 160796, 163344, 152889, 137682,
                                     136901, 153054, 180682, 148322, 40741,  131745, 132681};
    size_t ends[CUTS_MAX];
    size_t count = cut_all(*state, DATA_BYTES, ends);
    assert_int_equal(count, sizeof lengths / sizeof lengths[0]);
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        at += lengths[i];
        assert_int_equal(ends[i], at);
    }
}

static void a_cut_depends_on_nothing_but_the_bytes_before_it(void **state)
{
    const uint8_t *data = *state;
    size_t window = hf_chunker_default.max_bytes;
    size_t ends[CUTS_MAX];
    size_t count = cut_all(data, DATA_BYTES, ends);
    size_t at = 0;
    /* Fed by windows of max_bytes, as a file larger than memory is. */
    for (size_t i = 0; i < count; i++) {
        size_t left = DATA_BYTES - at;
        size_t size = left < window ? left : window;
        at += hf_chunker_cut(&hf_chunker_default, data + at, size, size == left);
        assert_int_equal(at, ends[i]);
    }
}

static size_t shared_ends(const size_t *a, size_t a_count, const size_t *b, size_t b_count,
                          size_t b_shift)
{
    size_t shared = 0;
    for (size_t i = 0; i < a_count; i++) {
        for (size_t j = 0; j < b_count; j++) {
            shared += a[i] + b_shift == b[j];
        }
    }
    return shared;
}

static void boundaries_survive_an_insertion_at_the_front(void **state)
{
    static const size_t inserted[] = {1, 100, 4096, 50001};
    const uint8_t *data = *state;
    size_t before[CUTS_MAX];
    size_t after[CUTS_MAX];
    size_t count = cut_all(data, DATA_BYTES, before);
    for (size_t i = 0; i < sizeof inserted / sizeof inserted[0]; i++) {
        uint8_t *longer = malloc(DATA_BYTES + inserted[i]);
        assert_non_null(longer);
        fill(longer, inserted[i], 77 + i);
        memcpy(longer + inserted[i], data, DATA_BYTES);
        size_t after_count = cut_all(longer, DATA_BYTES + inserted[i], after);
        free(longer);
        assert_true(shared_ends(before, count, after, after_count, inserted[i]) >= count * 2 / 3);
    }
}

static void a_change_in_the_middle_leaves_the_rest_alone(void **state)
{
    uint8_t *data = *state;
    size_t before[CUTS_MAX];
    size_t after[CUTS_MAX];
    size_t count = cut_all(data, DATA_BYTES, before);
    data[DATA_BYTES / 2] ^= 0x55;
    size_t after_count = cut_all(data, DATA_BYTES, after);
    assert_true(shared_ends(before, count, after, after_count, 0) + 4 >= count);
}

static void content_without_any_boundary_is_cut_at_the_maximum(void **state)
{
    (void)state;
    size_t size = 3 * hf_chunker_default.max_bytes + 5;
    uint8_t *zeros = calloc(1, size);
    assert_non_null(zeros);
    size_t at = 0;
    for (int i = 0; i < 3; i++) {
        size_t length = hf_chunker_cut(&hf_chunker_default, zeros + at, size - at, 1);
        assert_int_equal(length, hf_chunker_default.max_bytes);
        at += length;
    }
    assert_int_equal(hf_chunker_cut(&hf_chunker_default, zeros + at, size - at, 1), 5);
    free(zeros);
}

static void what_is_not_longer_than_the_minimum_stays_whole(void **state)
{
    const uint8_t *data = *state;
    assert_int_equal(hf_chunker_cut(&hf_chunker_default, data, 0, 1), 0);
    assert_int_equal(hf_chunker_cut(&hf_chunker_default, data, 1, 1), 1);
    size_t min = hf_chunker_default.min_bytes;
    assert_int_equal(hf_chunker_cut(&hf_chunker_default, data, min, 1), min);
}

static void lengths_gather_around_the_average(void **state)
{
    (void)state;
    size_t size = 8 * DATA_BYTES;
    size_t ends[CUTS_MAX];
    uint8_t *data = malloc(size);
    assert_non_null(data);
    fill(data, size, 4711);
    size_t count = cut_all(data, size, ends);
    size_t near = 0;
    for (size_t i = 0; i < count; i++) {
        size_t length = ends[i] - (i ? ends[i - 1] : 0);
        near += length >= 65536 && length <= 262144;
    }
    free(data);
    assert_true(size >= count * 98304 && size <= count * 196608); /* 96 to 192 KiB each */
    assert_true(near * 10 >= count * 8); /* that is what normalisation is for */
}

static void the_default_keeps_the_promises_of_the_header(void **state)
{
    (void)state;
    const struct hf_chunker_params *p = &hf_chunker_default;
    assert_true(p->min_bytes < p->average_bytes && p->average_bytes < p->max_bytes);
    assert_int_equal(p->average_bytes & (p->average_bytes - 1), 0);
    assert_true(p->max_bytes <= HF_CHUNK_MAX_BYTES);
    assert_true(HF_CHUNK_SINGLE_MAX_BYTES <= HF_CHUNK_MAX_BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_cuts_are_those_of_every_other_agent, make_data,
                                        free_data),
        cmocka_unit_test_setup_teardown(a_cut_depends_on_nothing_but_the_bytes_before_it, make_data,
                                        free_data),
        cmocka_unit_test_setup_teardown(boundaries_survive_an_insertion_at_the_front, make_data,
                                        free_data),
        cmocka_unit_test_setup_teardown(a_change_in_the_middle_leaves_the_rest_alone, make_data,
                                        free_data),
        cmocka_unit_test(content_without_any_boundary_is_cut_at_the_maximum),
        cmocka_unit_test_setup_teardown(what_is_not_longer_than_the_minimum_stays_whole, make_data,
                                        free_data),
        cmocka_unit_test(lengths_gather_around_the_average),
        cmocka_unit_test(the_default_keeps_the_promises_of_the_header),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
