#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/chunker_private.h"
#include "common/hash.h"

#define DATA_BYTES  ((size_t)2 * 1024 * 1024)
#define CUTS_MAX    2048
#define SMALL_BYTES 256u

struct scene {
    struct hf_chunker *chunker;
    uint8_t *data; /* DATA_BYTES without structure */
};

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

/* The seed of PROTOCOL.md's example: first, first + 1, ... */
static struct hf_chunker *chunker_from(uint8_t first)
{
    uint8_t seed[HF_CHUNK_SEED_BYTES];
    for (size_t i = 0; i < sizeof seed; i++) {
        seed[i] = (uint8_t)(first + i);
    }
    struct hf_chunker *chunker = hf_chunker_new(seed);
    assert_non_null(chunker);
    return chunker;
}

static int set_up(void **state)
{
    struct scene *scene = calloc(1, sizeof *scene);
    assert_non_null(scene);
    scene->chunker = chunker_from(0);
    scene->data = malloc(DATA_BYTES);
    assert_non_null(scene->data);
    fill(scene->data, DATA_BYTES, UINT64_C(0x9e3779b97f4a7c15));
    *state = scene;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *scene = *state;
    hf_chunker_free(scene->chunker);
    free(scene->data);
    free(scene);
    return 0;
}

static const struct hf_chunker_params *fine(void)
{
    return hf_chunker_params_of("workflows", DATA_BYTES);
}

static const struct hf_chunker_params *coarse(void)
{
    return hf_chunker_params_of("logs", DATA_BYTES);
}

/* Ends of all chunks; returns how many. */
static size_t cut_all(const struct hf_chunker *chunker, const struct hf_chunker_params *params,
                      const uint8_t *data, size_t size, size_t ends[CUTS_MAX])
{
    size_t count = 0;
    for (size_t at = 0; at < size;) {
        size_t length = hf_chunker_cut(chunker, params, data + at, size - at, 1);
        assert_in_range(length, 1, params->max_bytes);
        at += length;
        assert_true(at <= size && count < CUTS_MAX);
        if (at < size) {
            assert_in_range(length, params->min_bytes, params->max_bytes);
        }
        ends[count++] = at;
    }
    return count;
}

/* --- the rule, by numbers that were computed from PROTOCOL.md in another language, with another
 * implementation of AES. Were they to change, every host would send everything once more. --- */

static void the_secret_of_the_example_is_that_of_the_page(void **state)
{
    struct scene *scene = *state;
    static const uint8_t key[CHUNKER_KEY_BYTES] = {0x99, 0x36, 0x48, 0xdf, 0x82, 0xff, 0x64, 0x50,
                                                   0x15, 0xc7, 0xef, 0xa1, 0x94, 0xb1, 0x28, 0xa0};
    assert_memory_equal(scene->chunker->key, key, sizeof key);
    assert_true(scene->chunker->gear[0] == UINT64_C(0x58f457b8be567fde));
    assert_true(scene->chunker->gear[1] == UINT64_C(0x5cb06632fba5527e));
    assert_true(scene->chunker->gear[255] == UINT64_C(0xa4dd543bd7d6fef4));
}

static void fine_and_coarse_cuts_are_those_of_every_other_agent(void **state)
{
    static const size_t fine_lengths[] = {23619, 19456, 17433, 14393, 17316, 22483, 19220, 19975,
                                          20242, 20082, 24449, 17788, 26045, 26505, 27927, 14464};
    static const size_t coarse_lengths[] = {74901, 119318, 68282, 68896, 74116, 110648, 103805,
                                            74231, 67423,  68199, 81539, 70729, 87140,  80817,
                                            71538, 85554,  68520, 98093, 68996, 89777,  69244,
                                            74615, 66030,  89107, 82442, 70045, 13147};
    struct scene *scene = *state;
    size_t ends[CUTS_MAX];
    assert_int_equal(cut_all(scene->chunker, fine(), scene->data, DATA_BYTES, ends), 104);
    for (size_t i = 0, at = 0; i < sizeof fine_lengths / sizeof *fine_lengths; i++) {
        at += fine_lengths[i];
        assert_int_equal(ends[i], at);
    }
    size_t count = cut_all(scene->chunker, coarse(), scene->data, DATA_BYTES, ends);
    assert_int_equal(count, sizeof coarse_lengths / sizeof *coarse_lengths);
    for (size_t i = 0, at = 0; i < count; i++) {
        at += coarse_lengths[i];
        assert_int_equal(ends[i], at);
    }
}

struct scan {
    const char *name;
    chunker_scan *scan;
};

/* What this machine can do of it. */
static size_t scans_here(struct scan scans[3])
{
    size_t count = 0;
    scans[count++] = (struct scan){"portable", chunker_scan_portable};
#ifdef CHUNKER_X86
    if (chunker_has_aesni()) {
        scans[count++] = (struct scan){"AES-NI", chunker_scan_aesni};
    }
    if (chunker_has_aesni() && chunker_has_vaes()) {
        scans[count++] = (struct scan){"VAES", chunker_scan_vaes};
    }
#endif
    return count;
}

static void every_scan_judges_as_the_page_says(void **state)
{
    struct scene *scene = *state;
    static const struct {
        size_t at;
        uint32_t number;
    } judged[] = {{63, 0x66a14c53}, {64, 0x57a19828}, {255, 0xa4503a3e}};
    struct scan scans[3];
    size_t count = scans_here(scans);
    uint8_t data[SMALL_BYTES];
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)(i * i % 251);
    }
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < sizeof judged / sizeof *judged; j++) {
            size_t at = judged[j].at;
            uint32_t number = judged[j].number;
            assert_int_equal(scans[i].scan(scene->chunker, data, at, at + 1, number), 0);
            assert_int_equal(scans[i].scan(scene->chunker, data, at, at + 1, number + 1), at + 1);
        }
    }
}

/* --- fast ways find what the plain one finds --- */

static void compare(const struct scene *scene, const uint8_t *data, size_t begin, size_t end,
                    uint32_t limit)
{
    struct scan scans[3];
    size_t count = scans_here(scans);
    size_t expected = scans[0].scan(scene->chunker, data, begin, end, limit);
    for (size_t i = 1; i < count; i++) {
        size_t found = scans[i].scan(scene->chunker, data, begin, end, limit);
        if (found != expected) {
            fail_msg("%s: %zu, not %zu, in %zu..%zu below %u", scans[i].name, found, expected,
                     begin, end, limit);
        }
    }
}

static void all_scans_find_the_same_wherever_they_begin_and_end(void **state)
{
    struct scene *scene = *state;
    for (size_t begin = 63; begin < 63 + 20; begin++) {
        for (size_t length = 0; length < 50; length++) {
            compare(scene, scene->data, begin, begin + length, UINT32_C(1) << 26);
            compare(scene, scene->data, begin, begin + length, 0);
            compare(scene, scene->data, begin, begin + length, UINT32_MAX);
        }
    }
}

/* The place of the cut within what is judged at a time, too. */
static void all_scans_find_the_same_in_any_content(void **state)
{
    struct scene *scene = *state;
    enum { SIZE = 65536 };
    static uint8_t data[SIZE];
    for (unsigned kind = 0; kind < 6; kind++) {
        memset(data, kind == 1 ? 0xff : 0, SIZE);
        for (size_t i = 0; i < SIZE && kind >= 2; i++) {
            data[i] = kind == 2   ? (uint8_t)i
                      : kind == 3 ? (uint8_t)(i / 64)
                      : kind == 4 ? (uint8_t)(i % 63 == 0)
                                  : (uint8_t)(i % 2 * 0x80 + i / 4096);
        }
        for (unsigned bits = 0; bits <= 31; bits++) {
            compare(scene, data, 64, SIZE, UINT32_C(1) << bits);
        }
    }
    for (size_t at = 64; at < DATA_BYTES;) {
        size_t end = at + 40000 < DATA_BYTES ? at + 40000 : DATA_BYTES;
        compare(scene, scene->data, at, end, UINT32_C(1) << 19);
        size_t found =
            chunker_scan_portable(scene->chunker, scene->data, at, end, UINT32_C(1) << 19);
        at = found > 0 ? found : end;
    }
}

static void the_last_byte_is_judged_and_the_one_behind_it_is_not(void **state)
{
    struct scene *scene = *state;
    struct scan scans[3];
    size_t count = scans_here(scans);
    size_t cut = chunker_scan_portable(scene->chunker, scene->data, 64, DATA_BYTES, 1 << 18);
    assert_in_range(cut, 65, DATA_BYTES);
    for (size_t i = 0; i < count; i++) {
        uint8_t *exact = malloc(cut); /* a byte more would be seen by the sanitizers */
        assert_non_null(exact);
        memcpy(exact, scene->data, cut);
        assert_int_equal(scans[i].scan(scene->chunker, exact, 64, cut, 1 << 18), cut);
        assert_int_equal(scans[i].scan(scene->chunker, exact, 64, cut - 1, 1 << 18), 0);
        free(exact);
    }
}

/* --- the secret --- */

static void another_seed_cuts_elsewhere(void **state)
{
    struct scene *scene = *state;
    size_t one[CUTS_MAX], other[CUTS_MAX], shared = 0;
    struct hf_chunker *chunker = chunker_from(1);
    size_t count = cut_all(scene->chunker, fine(), scene->data, DATA_BYTES, one);
    size_t other_count = cut_all(chunker, fine(), scene->data, DATA_BYTES, other);
    for (size_t i = 0; i + 1 < count; i++) {
        for (size_t j = 0; j + 1 < other_count; j++) {
            shared += one[i] == other[j];
        }
    }
    hf_chunker_free(chunker);
    assert_in_range(shared, 0, 3);
}

/* That a gear hash alone decides is what was broken: its upper bits are zero at every cut then. */
static void cuts_tell_nothing_of_the_gear_hash(void **state)
{
    struct scene *scene = *state;
    size_t ends[CUTS_MAX], ones[64] = {0};
    size_t count = cut_all(scene->chunker, fine(), scene->data, DATA_BYTES, ends) - 1;
    for (size_t i = 0; i < count; i++) {
        uint64_t hash = chunker_warm(scene->chunker, scene->data, ends[i]);
        for (size_t bit = 0; bit < 63; bit++) { /* of the last 63 bytes */
            ones[bit] += hash >> bit & 1;
        }
    }
    for (size_t bit = 0; bit < 63; bit++) {
        assert_in_range(ones[bit], count / 4, count * 3 / 4);
    }
}

static void a_share_outlives_the_first_owner(void **state)
{
    struct scene *scene = *state;
    struct hf_chunker *chunker = chunker_from(0);
    struct hf_chunker *share = hf_chunker_share(chunker);
    hf_chunker_free(chunker);
    assert_int_equal(hf_chunker_cut(share, fine(), scene->data, DATA_BYTES, 1), 23619);
    hf_chunker_free(share);
    hf_chunker_free(NULL);
}

/* --- what makes cuts worth anything --- */

static void a_cut_depends_on_nothing_but_the_bytes_before_it(void **state)
{
    struct scene *scene = *state;
    size_t window = coarse()->max_bytes;
    size_t ends[CUTS_MAX];
    size_t count = cut_all(scene->chunker, coarse(), scene->data, DATA_BYTES, ends);
    size_t at = 0;
    /* Fed by windows of max_bytes, as a file larger than memory is. */
    for (size_t i = 0; i < count; i++) {
        size_t left = DATA_BYTES - at;
        size_t size = left < window ? left : window;
        at += hf_chunker_cut(scene->chunker, coarse(), scene->data + at, size, size == left);
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
    struct scene *scene = *state;
    size_t before[CUTS_MAX];
    size_t after[CUTS_MAX];
    size_t count = cut_all(scene->chunker, coarse(), scene->data, DATA_BYTES, before);
    for (size_t i = 0; i < sizeof inserted / sizeof inserted[0]; i++) {
        uint8_t *longer = malloc(DATA_BYTES + inserted[i]);
        assert_non_null(longer);
        fill(longer, inserted[i], 77 + i);
        memcpy(longer + inserted[i], scene->data, DATA_BYTES);
        size_t after_count =
            cut_all(scene->chunker, coarse(), longer, DATA_BYTES + inserted[i], after);
        free(longer);
        assert_true(shared_ends(before, count, after, after_count, inserted[i]) >= count * 2 / 3);
    }
}

static void a_change_in_the_middle_leaves_the_rest_alone(void **state)
{
    struct scene *scene = *state;
    size_t before[CUTS_MAX];
    size_t after[CUTS_MAX];
    size_t count = cut_all(scene->chunker, fine(), scene->data, DATA_BYTES, before);
    scene->data[DATA_BYTES / 2] ^= 0x55;
    size_t after_count = cut_all(scene->chunker, fine(), scene->data, DATA_BYTES, after);
    assert_true(shared_ends(before, count, after, after_count, 0) + 6 >= count);
}

static void content_without_any_boundary_is_cut_at_the_maximum(void **state)
{
    struct scene *scene = *state;
    size_t max = coarse()->max_bytes;
    size_t size = 3 * max + 5;
    uint8_t *zeros = calloc(1, size);
    assert_non_null(zeros);
    size_t at = 0;
    for (int i = 0; i < 3; i++) {
        size_t length = hf_chunker_cut(scene->chunker, coarse(), zeros + at, size - at, 1);
        assert_int_equal(length, max);
        at += length;
    }
    assert_int_equal(hf_chunker_cut(scene->chunker, coarse(), zeros + at, size - at, 1), 5);
    free(zeros);
}

static void what_is_not_longer_than_the_minimum_stays_whole(void **state)
{
    struct scene *scene = *state;
    size_t min = fine()->min_bytes;
    assert_int_equal(hf_chunker_cut(scene->chunker, fine(), scene->data, 0, 1), 0);
    assert_int_equal(hf_chunker_cut(scene->chunker, fine(), scene->data, 1, 1), 1);
    assert_int_equal(hf_chunker_cut(scene->chunker, fine(), scene->data, min, 1), min);
}

static void lengths_gather_around_the_average(void **state)
{
    struct scene *scene = *state;
    size_t size = 8 * DATA_BYTES;
    size_t ends[CUTS_MAX];
    size_t near = 0;
    uint8_t *data = malloc(size);
    assert_non_null(data);
    fill(data, size, 4711);
    size_t count = cut_all(scene->chunker, fine(), data, size, ends);
    for (size_t i = 0; i < count; i++) {
        size_t length = ends[i] - (i ? ends[i - 1] : 0);
        near += length >= 12288 && length <= 32768;
    }
    free(data);
    assert_true(size >= count * 16384 && size <= count * 24576); /* 16 to 24 KiB each */
    assert_true(near * 10 >= count * 8); /* that is what normalisation is for */
}

/* --- parameters --- */

static void the_parameters_of_every_class_keep_the_promises_of_the_header(void **state)
{
    static const char *const classes[] = {"workflows", "credentials", "logs",
                                          "config",    "metrics",     "checkpoints",
                                          "database",  "unheard-of",  NULL};
    static const uint64_t sizes[] = {0, HF_CHUNK_LARGE_BYTES, HF_CHUNK_LARGE_BYTES + 1, UINT64_MAX};
    (void)state;
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        for (size_t j = 0; j < sizeof sizes / sizeof *sizes; j++) {
            const struct hf_chunker_params *p = hf_chunker_params_of(classes[i], sizes[j]);
            assert_true(p->min_bytes >= CHUNKER_WINDOW_BYTES);
            assert_true(p->min_bytes < p->average_bytes && p->average_bytes < p->max_bytes);
            assert_int_equal(p->average_bytes & (p->average_bytes - 1), 0);
            assert_true(p->max_bytes <= HF_CHUNK_MAX_BYTES);
            assert_in_range(p->single_max_bytes, HF_CHUNK_SINGLE_MAX_BYTES, HF_CHUNK_MAX_BYTES);
        }
    }
}

static void what_changes_all_over_is_cut_finer_and_what_is_long_coarser(void **state)
{
    (void)state;
    size_t database = hf_chunker_params_of("database", 1 << 30)->average_bytes;
    size_t other = hf_chunker_params_of("unheard-of", 1 << 30)->average_bytes;
    size_t huge = hf_chunker_params_of("database", UINT64_C(1) << 40)->average_bytes;
    assert_true(database < other && other < huge);
    assert_int_equal(hf_chunker_params_of("checkpoints", 0)->single_max_bytes, HF_CHUNK_MAX_BYTES);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_secret_of_the_example_is_that_of_the_page),
        TEST(fine_and_coarse_cuts_are_those_of_every_other_agent),
        TEST(every_scan_judges_as_the_page_says),
        TEST(all_scans_find_the_same_wherever_they_begin_and_end),
        TEST(all_scans_find_the_same_in_any_content),
        TEST(the_last_byte_is_judged_and_the_one_behind_it_is_not),
        TEST(another_seed_cuts_elsewhere),
        TEST(cuts_tell_nothing_of_the_gear_hash),
        TEST(a_share_outlives_the_first_owner),
        TEST(a_cut_depends_on_nothing_but_the_bytes_before_it),
        TEST(boundaries_survive_an_insertion_at_the_front),
        TEST(a_change_in_the_middle_leaves_the_rest_alone),
        TEST(content_without_any_boundary_is_cut_at_the_maximum),
        TEST(what_is_not_longer_than_the_minimum_stays_whole),
        TEST(lengths_gather_around_the_average),
        cmocka_unit_test(the_parameters_of_every_class_keep_the_promises_of_the_header),
        cmocka_unit_test(what_changes_all_over_is_cut_finer_and_what_is_long_coarser),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
