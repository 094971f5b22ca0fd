#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/codec.h"
#include "proto/frame.h"
#include "samples.h"

static struct hf_buf encoded(const struct hf_frame *frame)
{
    struct hf_buf out = {0};
    assert_int_equal(proto_encode(frame, &out), HF_OK);
    return out;
}

/* Of exactly the message's size, so that a sanitizer sees a read past its end. */
static int decode_copy(const uint8_t *data, size_t size, struct hf_frame *frame,
                       struct hf_error *error)
{
    uint8_t *copy = malloc(size ? size : 1);
    assert_non_null(copy);
    memcpy(copy, data, size);
    int rc = proto_decode(copy, size, frame, error);
    if (rc == HF_OK) { /* what it says must stand in the message: write it out while that lives */
        struct hf_buf out = {0};
        assert_int_equal(proto_encode(frame, &out), HF_OK);
        hf_buf_free(&out);
        proto_frame_free(frame);
    }
    free(copy);
    return rc;
}

static void every_type_has_a_sample_and_comes_back_as_it_went(void **state)
{
    (void)state;
    bool seen[64] = {false};
    for (size_t i = 0; i < SAMPLE_FRAME_COUNT; i++) {
        struct hf_buf first = encoded(&sample_frames[i]);
        struct hf_buf second = {0};
        struct hf_frame frame;
        struct hf_error error = {0};
        if (proto_decode(first.data, first.size, &frame, &error) != HF_OK) {
            fail_msg("%s: %s", proto_frame_name(sample_frames[i].type), error.message);
        }
        assert_int_equal(frame.type, sample_frames[i].type);
        assert_int_equal(frame.seq, sample_frames[i].seq);
        assert_int_equal(proto_encode(&frame, &second), HF_OK);
        assert_int_equal(first.size, second.size);
        assert_memory_equal(first.data, second.data, first.size);
        proto_frame_free(&frame);
        hf_buf_free(&first);
        hf_buf_free(&second);
        seen[sample_frames[i].type] = true;
    }
    for (int type = 0; type < 64; type++) {
        assert_int_equal(seen[type], codec_find((enum hf_frame_type)type) != NULL);
    }
}

static void a_version_alone_comes_back_as_it_went(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof sample_versions / sizeof sample_versions[0]; i++) {
        struct hf_buf first = {0};
        struct hf_buf second = {0};
        struct hf_version version;
        struct hf_error error = {0};
        assert_int_equal(proto_version_encode(&sample_versions[i], &first), HF_OK);
        assert_true(first.size <= proto_version_size_bound(&sample_versions[i]));
        assert_int_equal(proto_version_decode(first.data, first.size, &version, &error), HF_OK);
        assert_int_equal(version.seq, sample_versions[i].seq);
        assert_int_equal(version.mtime_ns, sample_versions[i].mtime_ns);
        assert_int_equal(version.uid, sample_versions[i].uid);
        assert_int_equal(version.refs.size, sample_versions[i].refs.size);
        assert_int_equal(proto_version_encode(&version, &second), HF_OK);
        assert_int_equal(first.size, second.size);
        assert_memory_equal(first.data, second.data, first.size);
        for (size_t cut = 0; cut < first.size; cut++) {
            uint8_t *part = malloc(cut ? cut : 1);
            memcpy(part, first.data, cut);
            assert_int_not_equal(proto_version_decode(part, cut, &version, &error), HF_OK);
            free(part);
        }
        assert_int_equal(hf_buf_append_byte(&first, 0), HF_OK);
        assert_int_equal(proto_version_decode(first.data, first.size, &version, &error),
                         HF_ERR_PROTOCOL);
        hf_buf_free(&first);
        hf_buf_free(&second);
    }
}

static void a_device_is_its_numbers_and_nothing_else(void **state)
{
    static const struct {
        enum hf_file_type type;
        const char *target;
        bool good;
    } devices[] = {{HF_FILE_CHAR_DEVICE, "1:3", true},   {HF_FILE_BLOCK_DEVICE, "8:0", true},
                   {HF_FILE_BLOCK_DEVICE, "", false},    {HF_FILE_CHAR_DEVICE, "/dev/null", false},
                   {HF_FILE_CHAR_DEVICE, "1:03", false}, {HF_FILE_BLOCK_DEVICE, "4096:0", false},
                   {(enum hf_file_type)6, "1:3", false}, {HF_FILE_DIRECTORY, "1:3", false},
                   {HF_FILE_REGULAR, "1:3", false}};
    (void)state;
    for (size_t i = 0; i < sizeof devices / sizeof devices[0]; i++) {
        struct hf_version version = {
            .seq = 1, .type = devices[i].type, .path = SAMPLE_TEXT("dev/x"), .mode = 0660};
        struct hf_version back;
        struct hf_buf bytes = {0};
        struct hf_error error = {0};
        version.target =
            (struct hf_bytes){(const uint8_t *)devices[i].target, strlen(devices[i].target)};
        assert_int_equal(proto_version_encode(&version, &bytes), HF_OK);
        int rc = proto_version_decode(bytes.data, bytes.size, &back, &error);
        assert_int_equal(rc == HF_OK, devices[i].good);
        if (rc == HF_OK) {
            assert_int_equal(back.type, devices[i].type);
            assert_int_equal(back.target.size, version.target.size);
            assert_memory_equal(back.target.data, version.target.data, version.target.size);
        }
        hf_buf_free(&bytes);
    }
}

static void a_frame_cut_anywhere_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < SAMPLE_FRAME_COUNT; i++) {
        struct hf_buf whole = encoded(&sample_frames[i]);
        for (size_t size = 0; size < whole.size; size++) {
            struct hf_frame frame;
            struct hf_error error = {0};
            int rc = decode_copy(whole.data, size, &frame, &error);
            if (rc == HF_OK) {
                fail_msg("%s decodes from its first %zu of %zu bytes",
                         proto_frame_name(sample_frames[i].type), size, whole.size);
            }
            assert_string_not_equal(error.message, "");
        }
        hf_buf_free(&whole);
    }
}

static void bytes_behind_a_frame_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < SAMPLE_FRAME_COUNT; i++) {
        struct hf_buf whole = encoded(&sample_frames[i]);
        struct hf_frame frame;
        struct hf_error error = {0};
        assert_int_equal(hf_buf_append_byte(&whole, 0xc0), HF_OK);
        assert_int_equal(decode_copy(whole.data, whole.size, &frame, &error), HF_ERR_PROTOCOL);
        hf_buf_free(&whole);
    }
}

/* The same frame with `extra`, objects of any kind, after its fields. */
static struct hf_buf with_trailing(const struct hf_frame *frame, size_t count, const void *extra,
                                   size_t size)
{
    struct hf_buf plain = encoded(frame);
    struct hf_buf out = {0};
    assert_true((plain.data[0] & 0xf0) == 0x90);
    const uint8_t head[] = {0xdc, 0, (uint8_t)((plain.data[0] & 0x0f) + count)};
    assert_int_equal(hf_buf_append(&out, head, sizeof head), HF_OK);
    assert_int_equal(hf_buf_append(&out, plain.data + 1, plain.size - 1), HF_OK);
    assert_int_equal(hf_buf_append(&out, extra, size), HF_OK);
    hf_buf_free(&plain);
    return out;
}

static void an_offer_of_an_earlier_version_names_no_paths(void **state)
{
    (void)state;
    for (size_t i = 0; i < SAMPLE_FRAME_COUNT; i++) {
        if (sample_frames[i].type != HF_FRAME_RESTORE_OFFER) {
            continue;
        }
        struct hf_frame frame = sample_frames[i];
        struct hf_error error = {0};
        frame.offer.paths = NULL;
        frame.offer.path_count = 0;
        struct hf_buf message = encoded(&frame);
        message.data[0]--;
        message.size--; /* the empty array at its end */
        assert_int_equal(proto_decode(message.data, message.size, &frame, &error), HF_OK);
        assert_int_equal(frame.offer.path_count, 0);
        assert_int_equal(frame.offer.expires_ns, sample_frames[i].offer.expires_ns);
        proto_frame_free(&frame);
        hf_buf_free(&message);
    }
}

static void fields_of_a_later_version_are_passed_over(void **state)
{
    (void)state;
    static const uint8_t extra[] = {
        0xc0,                                               /* nil */
        0x82, 0xa1, 'k', 0x93, 1, 2, 3, 0xa1, 'l', 0xcb, 1, /* a map with an array and a float */
        2,    3,    4,   5,    6, 7, 8, 0xd7, 5,   1,    2, /* an extension of 8 bytes */
        3,    4,    5,   6,    7, 8,
    };
    for (size_t i = 0; i < SAMPLE_FRAME_COUNT; i++) {
        struct hf_buf plain = encoded(&sample_frames[i]);
        struct hf_buf longer = with_trailing(&sample_frames[i], 3, extra, sizeof extra);
        struct hf_buf again = {0};
        struct hf_frame frame;
        struct hf_error error = {0};
        if (proto_decode(longer.data, longer.size, &frame, &error) != HF_OK) {
            fail_msg("%s: %s", proto_frame_name(sample_frames[i].type), error.message);
        }
        assert_int_equal(proto_encode(&frame, &again), HF_OK);
        assert_int_equal(again.size, plain.size);
        assert_memory_equal(again.data, plain.data, plain.size);
        proto_frame_free(&frame);
        hf_buf_free(&plain);
        hf_buf_free(&longer);
        hf_buf_free(&again);
    }
}

static void what_is_passed_over_is_bounded_too(void **state)
{
    (void)state;
    uint8_t deep[64];
    struct hf_frame frame;
    struct hf_error error = {0};
    for (size_t depth = 1; depth < sizeof deep; depth++) {
        memset(deep, 0x91, sizeof deep);
        deep[depth - 1] = 0xc0;
        struct hf_buf message = with_trailing(&sample_frames[0], 1, deep, depth);
        int rc = decode_copy(message.data, message.size, &frame, &error);
        assert_int_equal(rc, depth <= HF_FRAME_DEPTH_MAX + 1 ? HF_OK : HF_ERR_LIMIT);
        hf_buf_free(&message);
    }
    /* As many nils as fit, and a map that counts twice. */
    size_t count = 70000;
    uint8_t *many = malloc(count + 5);
    assert_non_null(many);
    memset(many, 0xc0, count + 5);
    const uint8_t head[] = {0xdd, 0x00, 0x01, 0x11, 0x70};
    memcpy(many, head, sizeof head);
    struct hf_buf message = with_trailing(&sample_frames[0], 1, many, count + 5);
    assert_int_equal(decode_copy(message.data, message.size, &frame, &error), HF_ERR_LIMIT);
    hf_buf_free(&message);
    message = with_trailing(&sample_frames[0], 1, "\xdf\xff\xff\xff\xff\xc0\xc0", 7);
    assert_int_equal(decode_copy(message.data, message.size, &frame, &error), HF_ERR_PROTOCOL);
    hf_buf_free(&message);
    message = with_trailing(&sample_frames[0], 1, "\xc6\xff\xff\xff\xff", 5);
    assert_int_equal(decode_copy(message.data, message.size, &frame, &error), HF_ERR_PROTOCOL);
    hf_buf_free(&message);
    message = with_trailing(&sample_frames[0], 1, "\xc1", 1);
    assert_int_equal(decode_copy(message.data, message.size, &frame, &error), HF_ERR_PROTOCOL);
    hf_buf_free(&message);
    free(many);
}

static void a_frame_with_too_few_fields_says_how_many_it_needs(void **state)
{
    (void)state;
    for (size_t i = 0; i < SAMPLE_FRAME_COUNT; i++) {
        struct hf_buf whole = encoded(&sample_frames[i]);
        struct hf_frame frame;
        struct hf_error error = {0};
        whole.data[0] = (uint8_t)(whole.data[0] - 1 - codec_find(sample_frames[i].type)->younger);
        assert_int_equal(decode_copy(whole.data, whole.size, &frame, &error), HF_ERR_PROTOCOL);
        assert_non_null(strstr(error.message, "fields; it needs"));
        assert_non_null(strstr(error.message, proto_frame_name(sample_frames[i].type)));
        hf_buf_free(&whole);
    }
}

static void an_unknown_type_is_refused_by_its_number(void **state)
{
    (void)state;
    static const uint8_t unknown[] = {0x93, 0xcd, 0x03, 0xe7, 0x05, 0xc0};
    struct hf_frame frame;
    struct hf_error error = {0};
    assert_int_equal(proto_decode(unknown, sizeof unknown, &frame, &error), HF_ERR_UNSUPPORTED);
    assert_non_null(strstr(error.message, "999"));
    assert_int_equal(frame.type, 999);
    assert_int_equal(frame.seq, 5);
    assert_null(frame.owned);

    struct hf_buf out = {0};
    struct hf_frame made = {.type = (enum hf_frame_type)20, .seq = 1};
    assert_int_equal(proto_encode(&made, &out), HF_ERR_UNSUPPORTED);
    assert_int_equal(out.size, 0);
}

static void a_message_of_another_kind_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
    } messages[] = {
        {"", 0},
        {"\xc0", 1},
        {"\x01", 1},
        {"\xa3xyz", 4},
        {"\x90", 1},
        {"\x91\x01", 2},
        {"\x92\x01", 2},
        {"\x80", 1},
        {"\x92\xc0\x01", 3},
        {"\xc1", 1},
        {"\x92\x01\xc0", 3},
        {"\x92\x01\x00", 3}, /* seq 0 */
        {"\x92\xff\x01", 3}, /* a negative type */
        {"{\"type\":1}", 10},
    };
    for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++) {
        struct hf_frame frame;
        struct hf_error error = {0};
        assert_int_equal(
            decode_copy((const uint8_t *)messages[i].bytes, messages[i].size, &frame, &error),
            HF_ERR_PROTOCOL);
        assert_string_not_equal(error.message, "");
    }
}

static uint64_t random_next(uint64_t *random) /* splitmix64 */
{
    uint64_t z = *random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static void damaged_frames_are_refused_or_mean_something_whole(void **state)
{
    (void)state;
    static const uint8_t telling[] = {0x00, 0x7f, 0x80, 0x90, 0xc0, 0xc1, 0xc4, 0xc6,
                                      0xcc, 0xcf, 0xd3, 0xd9, 0xdb, 0xdc, 0xdd, 0xff};
    uint64_t random = 20261123;
    size_t accepted = 0;
    size_t refused = 0;
    for (int round = 0; round < 40000; round++) {
        struct hf_buf message = encoded(&sample_frames[(size_t)round % SAMPLE_FRAME_COUNT]);
        unsigned changes = 1 + (unsigned)(random_next(&random) % 3);
        for (unsigned i = 0; i < changes; i++) {
            uint64_t draw = random_next(&random);
            size_t at = (draw >> 8) % message.size;
            message.data[at] = draw & 1 ? (uint8_t)(draw >> 40) : telling[(draw >> 40) % 16];
        }
        struct hf_frame frame;
        struct hf_error error = {0};
        int rc = decode_copy(message.data, message.size, &frame, &error);
        accepted += rc == HF_OK;
        refused += rc != HF_OK;
        hf_buf_free(&message);
    }
    assert_true(accepted > 1000);
    assert_true(refused > 1000);
}

static void random_bytes_are_no_frame(void **state)
{
    (void)state;
    uint64_t random = 7;
    for (int round = 0; round < 20000; round++) {
        uint8_t noise[96];
        struct hf_frame frame;
        struct hf_error error = {0};
        for (size_t i = 0; i < sizeof noise; i++) {
            noise[i] = (uint8_t)random_next(&random);
        }
        noise[0] = (uint8_t)(0x90 | (noise[0] & 15));
        noise[1] &= 63;
        noise[2] &= 127;
        (void)decode_copy(noise, 1 + noise[95] % 95, &frame, &error);
    }
}

static void only_the_agents_content_and_history_cost_credit(void **state)
{
    (void)state;
    for (int type = 0; type < 64; type++) {
        assert_int_equal(proto_frame_is_bulk((enum hf_frame_type)type),
                         type == HF_FRAME_CHUNKS || type == HF_FRAME_VERSIONS);
    }
}

static void everything_has_a_name(void **state)
{
    (void)state;
    assert_string_equal(proto_frame_name(HF_FRAME_SOURCE_STATE), "SOURCE_STATE");
    assert_string_equal(proto_frame_name((enum hf_frame_type)20), "unknown");
    for (int code = HF_WIRE_MALFORMED; code <= HF_WIRE_EXPIRED; code++) {
        assert_string_not_equal(proto_code_name((enum hf_wire_code)code), "unknown");
    }
    assert_string_equal(proto_code_name(HF_WIRE_MISSING_CHUNKS), "missing-chunks");
    assert_string_equal(proto_code_name((enum hf_wire_code)0), "unknown");
    assert_string_equal(proto_code_name((enum hf_wire_code)65535), "unknown");
    for (int status = HF_RESTORE_RESTORED; status <= HF_RESTORE_WOULD; status++) {
        assert_string_not_equal(proto_status_name((enum hf_restore_status)status), "unknown");
    }
    assert_string_equal(proto_status_name((enum hf_restore_status)0), "unknown");
    assert_string_equal(proto_status_name((enum hf_restore_status)99), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_has_a_sample_and_comes_back_as_it_went),
        cmocka_unit_test(a_version_alone_comes_back_as_it_went),
        cmocka_unit_test(a_frame_cut_anywhere_is_refused),
        cmocka_unit_test(bytes_behind_a_frame_are_refused),
        cmocka_unit_test(an_offer_of_an_earlier_version_names_no_paths),
        cmocka_unit_test(fields_of_a_later_version_are_passed_over),
        cmocka_unit_test(what_is_passed_over_is_bounded_too),
        cmocka_unit_test(a_frame_with_too_few_fields_says_how_many_it_needs),
        cmocka_unit_test(an_unknown_type_is_refused_by_its_number),
        cmocka_unit_test(a_message_of_another_kind_is_refused),
        cmocka_unit_test(damaged_frames_are_refused_or_mean_something_whole),
        cmocka_unit_test(a_device_is_its_numbers_and_nothing_else),
        cmocka_unit_test(random_bytes_are_no_frame),
        cmocka_unit_test(only_the_agents_content_and_history_cost_credit),
        cmocka_unit_test(everything_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
