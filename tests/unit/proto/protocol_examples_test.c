/* PROTOCOL.md's examples are what the code speaks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/fs.h"
#include "common/join_token.h"
#include "proto/frame.h"

#ifndef HF_SOURCE_DIR
#define HF_SOURCE_DIR "."
#endif

static struct hf_buf read_page(void)
{
    struct hf_buf page = {0};
    assert_int_equal(hf_read_file(HF_SOURCE_DIR "/proto/PROTOCOL.md", 1 << 20, &page, NULL), HF_OK);
    assert_int_equal(hf_buf_terminate(&page), HF_OK);
    return page;
}

static size_t read_hex(const char *text, size_t length, uint8_t *out)
{
    size_t count = 0;
    for (size_t i = 0; i + 1 < length; i++) {
        if (text[i] != ' ' && text[i] != '\n') {
            const char digits[3] = {text[i], text[i + 1], '\0'};
            out[count++] = (uint8_t)strtoul(digits, NULL, 16);
            i++;
        }
    }
    return count;
}

static enum hf_frame_type check_example(const uint8_t *bytes, size_t size, uint64_t number)
{
    struct hf_frame frame;
    struct hf_error error = {0};
    struct hf_buf again = {0};
    if (proto_decode(bytes, size, &frame, &error) != HF_OK) {
        fail_msg("example %llu: %s", (unsigned long long)number, error.message);
    }
    assert_int_equal(proto_encode(&frame, &again), HF_OK);
    assert_int_equal(again.size, size);
    assert_memory_equal(again.data, bytes, size);
    proto_frame_free(&frame);
    hf_buf_free(&again);
    return frame.type;
}

static void each_example_of_the_page_decodes_and_encodes_to_the_same_bytes(void **state)
{
    struct hf_buf page = read_page();
    bool seen[HF_FRAME_RESTORE_CANCEL + 1] = {false};
    uint64_t count = 0;
    (void)state;
    const char *at = (const char *)page.data;
    while ((at = strstr(at, "```frame\n"))) {
        uint8_t bytes[4096];
        at += strlen("```frame\n");
        const char *end = strstr(at, "```");
        assert_non_null(end);
        assert_true((size_t)(end - at) < 2 * sizeof bytes);
        seen[check_example(bytes, read_hex(at, (size_t)(end - at), bytes), ++count)] = true;
        at = end;
    }
    hf_buf_free(&page);
    for (int type = 0; type <= HF_FRAME_RESTORE_CANCEL; type++) {
        const char *name = proto_frame_name((enum hf_frame_type)type);
        if (strcmp(name, "unknown") != 0 && !seen[type]) {
            fail_msg("PROTOCOL.md has no example of %s", name);
        }
    }
}

static void the_token_of_the_page_says_what_the_page_says(void **state)
{
    struct hf_buf page = read_page();
    struct hf_join_token token;
    struct hf_error error = {0};
    char text[1024];
    uint8_t bytes[64];
    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)i;
    }
    const char *at = strstr((const char *)page.data, "```token\n");
    assert_non_null(at);
    at += strlen("```token\n");
    snprintf(text, sizeof text, "%.*s", (int)strcspn(at, "\n"), at);
    assert_int_equal(join_token_parse(text, &token, &error), HF_OK);
    assert_string_equal(token.enrol_address, "backup.example:7444");
    assert_string_equal(token.agents_address, "backup.example:7443");
    assert_string_equal(token.id, "0123456789abcdef");
    assert_memory_equal(token.ca_fingerprint, bytes, 32);
    assert_memory_equal(token.secret, bytes + 32, 32);
    struct hf_buf again = {0};
    assert_int_equal(join_token_format(&token, &again), HF_OK);
    assert_string_equal((const char *)again.data, text);
    hf_buf_free(&again);
    hf_buf_free(&page);
}

static void every_cut_of_an_example_is_refused(void **state)
{
    static const uint8_t versions[] = {0x94, 0x08, 0x03, 0x01, 0x91, 0x95, 0x07, 0x00, 0x00,
                                       0xc4, 0x05, 0x65, 0x74, 0x63, 0x2f, 0x78, 0x05};
    struct hf_frame frame;
    (void)state;
    for (size_t size = 0; size < sizeof versions; size++) {
        assert_int_not_equal(proto_decode(versions, size, &frame, NULL), HF_OK);
    }
    assert_int_equal(proto_decode(versions, sizeof versions, &frame, NULL), HF_OK);
    proto_frame_free(&frame);
}

static void five_bytes_that_claim_a_huge_array_are_refused(void **state)
{
    static const uint8_t bomb[] = {0xdd, 0x10, 0x00, 0x00, 0x00};
    struct hf_frame frame;
    struct hf_error error = {0};
    (void)state;
    assert_int_equal(proto_decode(bomb, sizeof bomb, &frame, &error), HF_ERR_PROTOCOL);
    assert_non_null(strstr(error.message, "claims"));
}

static void an_unknown_type_is_refused_by_number_and_trailing_fields_are_ignored(void **state)
{
    static const uint8_t unknown[] = {0x92, 0x63, 0x01};
    static const uint8_t longer[] = {0x95, 0x0a, 0x05, 0x07, 0xc0, 0x91, 0x91, 0xa1, 0x78};
    struct hf_frame frame;
    struct hf_error error = {0};
    (void)state;
    assert_int_equal(proto_decode(unknown, sizeof unknown, &frame, &error), HF_ERR_UNSUPPORTED);
    assert_non_null(strstr(error.message, "99"));
    assert_int_equal(proto_decode(longer, sizeof longer, &frame, &error), HF_OK);
    assert_int_equal(frame.credit.total_bytes, 7);
    proto_frame_free(&frame);
}

static void a_path_that_leaves_its_root_is_refused(void **state)
{
    static const uint8_t dots[] = {0x94, 0x08, 0x03, 0x01, 0x91, 0x95, 0x07, 0x00,
                                   0x00, 0xc4, 0x04, '.',  '.',  '/',  'x',  0x05};
    static const uint8_t absolute[] = {0x94, 0x08, 0x03, 0x01, 0x91, 0x95, 0x07,
                                       0x00, 0x00, 0xc4, 0x02, '/',  'x',  0x05};
    struct hf_frame frame;
    (void)state;
    assert_int_equal(proto_decode(dots, sizeof dots, &frame, NULL), HF_ERR_PROTOCOL);
    assert_int_equal(proto_decode(absolute, sizeof absolute, &frame, NULL), HF_ERR_PROTOCOL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_example_of_the_page_decodes_and_encodes_to_the_same_bytes),
        cmocka_unit_test(the_token_of_the_page_says_what_the_page_says),
        cmocka_unit_test(every_cut_of_an_example_is_refused),
        cmocka_unit_test(five_bytes_that_claim_a_huge_array_are_refused),
        cmocka_unit_test(an_unknown_type_is_refused_by_number_and_trailing_fields_are_ignored),
        cmocka_unit_test(a_path_that_leaves_its_root_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
