/* Events to bytes and back: everything that was journalled can be read, nothing else is. */
#include <msgpack.h>

#include "catalog_fixture.h"

static const struct hf_bytes texts[] = {{(const uint8_t *)"/home", 5},
                                        {(const uint8_t *)"\xff\xfe raw", 6}};
static const struct hf_label labels[] = {{{(const uint8_t *)"line", 4}, {(const uint8_t *)"3", 1}},
                                         {{(const uint8_t *)"name", 4},
                                          {(const uint8_t *)"r\xc3\xb6"
                                                            "bot",
                                           6}}};
static const struct hf_event_job_result results[] = {
    {{(const uint8_t *)"a\x01\xff", 3}, HF_RESTORE_FAILED, 12, {(const uint8_t *)"no room", 7}},
    {{(const uint8_t *)"b", 1}, HF_RESTORE_IDENTICAL, UINT64_C(1) << 40, {NULL, 0}}};
static uint8_t refs[2 * HF_CHUNK_REF_BYTES];

#define TEXT(t) event_text(t)

/* One of each type, every field set; HF_EVENT_DICTIONARY_TRAINED + 1: a version that is
 * not recorded. */
static struct hf_event sample(int type)
{
    struct hf_event e = {
        .type = (enum hf_event_type)type, .time_ns = T0 + type, .actor = TEXT("token 12 (ops)")};
    for (size_t i = 0; i < 2; i++) {
        chunk_id((unsigned)i + 1, refs + i * HF_CHUNK_REF_BYTES);
        hf_put_le32(refs + i * HF_CHUNK_REF_BYTES + HF_HASH_BYTES, 500);
    }
    switch (type) {
    case HF_EVENT_HOST_CREATED:
        e.host_created = (struct hf_event_host_created){
            3, TEXT("h-0123456789abcdef"), TEXT("robot"), labels, 2, TEXT("t1")};
        break;
    case HF_EVENT_HOST_SEEN:
        e.host_seen = (struct hf_event_host_seen){3,
                                                  TEXT("h-0123456789abcdef"),
                                                  texts[1],
                                                  TEXT("m"),
                                                  TEXT("Debian"),
                                                  TEXT("0.1"),
                                                  TEXT("::1")};
        break;
    case HF_EVENT_HOST_LABELLED:
        e.host_labelled =
            (struct hf_event_host_labelled){3, TEXT("h-0123456789abcdef"), labels, 2, texts, 2};
        break;
    case HF_EVENT_HOST_REVOKED:
        e.host_revoked = (struct hf_event_host_revoked){3, TEXT("h-0123456789abcdef"),
                                                        TEXT("stolen\nlast night")};
        break;
    case HF_EVENT_CERT_ISSUED:
        e.cert_issued = (struct hf_event_cert_issued){.host_row = 3,
                                                      .host_id = TEXT("h-0123456789abcdef"),
                                                      .serial = TEXT("00aa"),
                                                      .key_hash = {1, 2, 3},
                                                      .not_before_ns = -5,
                                                      .not_after_ns = INT64_MAX,
                                                      .certificate_pem = TEXT("-----BEGIN"),
                                                      .token_id = TEXT("t1")};
        break;
    case HF_EVENT_TOKEN_CREATED:
        e.token_created = (struct hf_event_token_created){.token_id = TEXT("t1"),
                                                          .kind = HF_TOKEN_API,
                                                          .role = HF_ROLE_ADMIN,
                                                          .secret_hash = {9, 8, 7},
                                                          .expires_ns = T0,
                                                          .uses = UINT32_MAX,
                                                          .name = TEXT("ops"),
                                                          .labels = labels,
                                                          .label_count = 2};
        break;
    case HF_EVENT_TOKEN_REVOKED:
        e.token_revoked.token_id = TEXT("t1");
        break;
    case HF_EVENT_SOURCE_OPENED:
        e.source_opened = (struct hf_event_source_opened){
            3, 4, TEXT("logs"), TEXT("files"), TEXT("logs"), texts, 2};
        break;
    case HF_EVENT_VERSION:
        e.version = (struct hf_event_version){3, 4, T0, T0 + 1, true, {0}};
        e.version.version = (struct hf_version){.seq = 77,
                                                .type = HF_FILE_REGULAR,
                                                .flags = HF_VERSION_RESTORED,
                                                .path = TEXT("home/\xff\x01/x"),
                                                .captured_ns = T0 - 1,
                                                .mode = 07777,
                                                .uid = UINT32_MAX,
                                                .gid = 1,
                                                .owner = TEXT("robot"),
                                                .group = TEXT("staff"),
                                                .mtime_ns = -1,
                                                .size = 1000,
                                                .refs = {refs, sizeof refs},
                                                .job = 5};
        break;
    case HF_EVENT_CHUNKS_HELD:
        e.chunks_held = (struct hf_event_chunks_held){3, {refs, (size_t)2 * HF_HASH_BYTES}};
        break;
    case HF_EVENT_MARK:
        e.mark = (struct hf_event_mark){4, 77, T0, HF_SOURCE_DEGRADED, 12, TEXT("no inotify")};
        break;
    case HF_EVENT_SNAPSHOT_CREATED:
        e.snapshot_created = (struct hf_event_snapshot_created){
            6, 4, TEXT("before"), T0 - 9, HF_SNAPSHOT_PRE_RESTORE, 5, true, TEXT("audit")};
        break;
    case HF_EVENT_SNAPSHOT_HELD:
    case HF_EVENT_SNAPSHOT_RELEASED:
        e.snapshot_held = (struct hf_event_snapshot_held){6, TEXT("why")};
        break;
    case HF_EVENT_JOB_CREATED:
        e.job_created = (struct hf_event_job_created){5,
                                                      3,
                                                      4,
                                                      TEXT("h-0123456789abcdef"),
                                                      TEXT("h-0123456789abcde0"),
                                                      TEXT("logs"),
                                                      T0,
                                                      texts,
                                                      2,
                                                      TEXT("/tmp/x"),
                                                      HF_CONFLICT_RENAME,
                                                      true,
                                                      T0 + 5,
                                                      10,
                                                      1 << 20};
        break;
    case HF_EVENT_JOB_STATE:
        e.job_state =
            (struct hf_event_job_state){5, HF_JOB_STATE_FAILED, 6, 1000, 2000, TEXT("no room")};
        break;
    case HF_EVENT_JOB_RESULTS:
        e.job_results = (struct hf_event_job_results){5, results, 2};
        break;
    case HF_EVENT_AUDIT:
        e.audit = (struct hf_event_audit){9,          TEXT("restore"),  TEXT("h-1"),
                                          TEXT("{}"), HF_AUDIT_REFUSED, {5, 5, 5}};
        break;
    case HF_EVENT_DICTIONARY_TRAINED:
        e.dictionary_trained =
            (struct hf_event_dictionary_trained){2, TEXT("config"), {6, 6, 6}, TEXT("dictionary")};
        break;
    default:
        e.type = HF_EVENT_VERSION;
        e.version = (struct hf_event_version){
            .host_row = 3, .source_row = 4, .at_ns = T0, .received_ns = T0, .version = {.seq = 78}};
        break;
    }
    return e;
}

#define SAMPLES (HF_EVENT_DICTIONARY_TRAINED + 1)

static struct hf_buf encode(const struct hf_event *event)
{
    struct hf_buf out = {0};
    struct hf_error error = {0};
    int rc = event_encode(event, &out, &error);
    if (rc != HF_OK) {
        print_message("%s\n", error.message);
    }
    assert_int_equal(rc, HF_OK);
    return out;
}

static void every_type_comes_back_as_it_was(void **state)
{
    (void)state;
    for (int type = 1; type <= SAMPLES; type++) {
        struct hf_event event = sample(type);
        struct hf_event decoded;
        struct hf_error error;
        struct hf_buf bytes = encode(&event);
        assert_int_equal(event_decode(bytes.data, bytes.size, &decoded, &error), HF_OK);
        assert_int_equal(decoded.type, event.type);
        assert_int_equal(decoded.time_ns, event.time_ns);
        /* Equal encodings of all fields: each of them was set, and is there. */
        struct hf_buf again = encode(&decoded);
        assert_int_equal(again.size, bytes.size);
        assert_memory_equal(again.data, bytes.data, bytes.size);
        assert_string_not_equal(event_type_name(decoded.type), "unknown");
        event_free(&decoded);
        hf_buf_free(&again);
        hf_buf_free(&bytes);
    }
}

static void every_event_is_one_msgpack_array_to_others(void **state)
{
    (void)state;
    for (int type = 1; type <= SAMPLES; type++) {
        struct hf_event event = sample(type);
        struct hf_buf bytes = encode(&event);
        msgpack_unpacked result;
        size_t offset = 0;
        msgpack_unpacked_init(&result);
        assert_int_equal(
            msgpack_unpack_next(&result, (const char *)bytes.data, bytes.size, &offset),
            MSGPACK_UNPACK_SUCCESS);
        assert_int_equal(offset, bytes.size);
        assert_int_equal(result.data.type, MSGPACK_OBJECT_ARRAY);
        assert_int_equal(result.data.via.array.ptr[1].via.u64, event.type);
        msgpack_unpacked_destroy(&result);
        hf_buf_free(&bytes);
    }
}

static void fields_arrive_in_their_places(void **state)
{
    (void)state;
    struct hf_error error;
    struct hf_event decoded;
    struct hf_event event = sample(HF_EVENT_JOB_CREATED);
    struct hf_buf bytes = encode(&event);
    assert_int_equal(event_decode(bytes.data, bytes.size, &decoded, &error), HF_OK);
    assert_int_equal(decoded.job_created.job_id, 5);
    assert_int_equal(decoded.job_created.path_count, 2);
    assert_bytes(decoded.job_created.paths[1], "\xff\xfe raw");
    assert_bytes(decoded.job_created.destination, "/tmp/x");
    assert_true(decoded.job_created.dry_run);
    event_free(&decoded);
    hf_buf_free(&bytes);
    event = sample(HF_EVENT_VERSION);
    bytes = encode(&event);
    assert_int_equal(event_decode(bytes.data, bytes.size, &decoded, &error), HF_OK);
    assert_true(decoded.version.recorded);
    assert_int_equal(decoded.version.version.seq, 77);
    assert_bytes(decoded.version.version.path, "home/\xff\x01/x");
    assert_int_equal(decoded.version.version.refs.size, sizeof refs);
    event_free(&decoded);
    hf_buf_free(&bytes);
    event = sample(HF_EVENT_HOST_LABELLED);
    bytes = encode(&event);
    assert_int_equal(event_decode(bytes.data, bytes.size, &decoded, &error), HF_OK);
    assert_bytes(decoded.host_labelled.set[0].key, "line");
    assert_bytes(decoded.host_labelled.removed[0], "/home");
    event_free(&decoded);
    hf_buf_free(&bytes);
}

static void every_cut_and_every_appended_byte_is_noticed(void **state)
{
    (void)state;
    for (int type = 1; type <= SAMPLES; type++) {
        struct hf_event event = sample(type);
        struct hf_buf bytes = encode(&event);
        struct hf_event decoded;
        struct hf_error error;
        for (size_t size = 0; size < bytes.size; size++) {
            uint8_t *cut = malloc(size ? size : 1); /* so that a sanitizer sees reads behind it */
            memcpy(cut, bytes.data, size);
            assert_int_equal(event_decode(cut, size, &decoded, &error), HF_ERR_CORRUPT);
            assert_null(decoded.owned);
            free(cut);
        }
        assert_int_equal(hf_buf_append_byte(&bytes, 0), HF_OK);
        assert_int_equal(event_decode(bytes.data, bytes.size, &decoded, &error), HF_ERR_CORRUPT);
        hf_buf_free(&bytes);
    }
}

static void every_flipped_bit_is_survived(void **state)
{
    (void)state;
    for (int type = 1; type <= SAMPLES; type++) {
        struct hf_event event = sample(type);
        struct hf_buf bytes = encode(&event);
        for (size_t bit = 0; bit < bytes.size * 8; bit++) {
            struct hf_event decoded;
            struct hf_error error;
            bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
            int rc = event_decode(bytes.data, bytes.size, &decoded, &error);
            if (rc == HF_OK) { /* then it is an event, and can be journalled again */
                struct hf_buf again = encode(&decoded);
                hf_buf_free(&again);
                event_free(&decoded);
            } else {
                assert_true(rc == HF_ERR_CORRUPT || rc == HF_ERR_UNSUPPORTED);
            }
            bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        hf_buf_free(&bytes);
    }
}

static void fields_of_a_later_version_are_passed_over(void **state)
{
    (void)state;
    struct hf_event event = sample(HF_EVENT_TOKEN_REVOKED);
    struct hf_buf bytes = encode(&event);
    struct hf_event decoded;
    struct hf_error error;
    assert_int_equal(bytes.data[0], 0x95); /* an array of 5 */
    bytes.data[0] = 0x97;
    assert_int_equal(hf_buf_append(&bytes, "\xc0\x92\x01\xa1x", 5), HF_OK); /* nil, [1, "x"] */
    assert_int_equal(event_decode(bytes.data, bytes.size, &decoded, &error), HF_OK);
    assert_bytes(decoded.token_revoked.token_id, "t1");
    event_free(&decoded);
    hf_buf_free(&bytes);
}

static void a_newer_format_and_an_unknown_type_say_so(void **state)
{
    (void)state;
    struct hf_event event = sample(HF_EVENT_TOKEN_REVOKED);
    struct hf_buf bytes = encode(&event);
    struct hf_event decoded;
    struct hf_error error;
    bytes.data[1] = HF_EVENT_FORMAT + 1;
    assert_int_equal(event_decode(bytes.data, bytes.size, &decoded, &error), HF_ERR_UNSUPPORTED);
    assert_non_null(strstr(error.message, "newer"));
    bytes.data[1] = HF_EVENT_FORMAT;
    bytes.data[2] = 99;
    assert_int_equal(event_decode(bytes.data, bytes.size, &decoded, &error), HF_ERR_UNSUPPORTED);
    assert_non_null(strstr(error.message, "99"));
    hf_buf_free(&bytes);
}

static void what_breaks_a_limit_is_not_encoded_and_leaves_the_buffer_alone(void **state)
{
    (void)state;
    char *text = malloc(70000);
    memset(text, 'x', 70000);
    struct hf_buf out = {0};
    struct hf_error error;
    struct hf_event event = sample(HF_EVENT_HOST_REVOKED);
    assert_int_equal(hf_buf_append_str(&out, "before"), HF_OK);
    event.host_revoked.reason = (struct hf_bytes){(uint8_t *)text, HF_EVENT_TEXT_MAX_BYTES + 1};
    assert_int_equal(event_encode(&event, &out, &error), HF_ERR_LIMIT);
    assert_non_null(strstr(error.message, "reason"));
    event.host_revoked.reason = (struct hf_bytes){(const uint8_t *)"a\0b", 3};
    assert_int_equal(event_encode(&event, &out, &error), HF_ERR_INVALID);
    event = sample(HF_EVENT_HOST_CREATED);
    event.host_created.label_count = HF_EVENT_LABELS_MAX + 1;
    assert_int_equal(event_encode(&event, &out, &error), HF_ERR_LIMIT);
    event = sample(HF_EVENT_JOB_STATE);
    event.job_state.state = 99;
    assert_int_equal(event_encode(&event, &out, &error), HF_ERR_INVALID);
    event.type = 999;
    assert_int_equal(event_encode(&event, &out, &error), HF_ERR_INVALID);
    assert_bytes(out, "before");
    hf_buf_free(&out);
    free(text);
}

static void a_count_that_lies_allocates_nothing(void **state)
{
    (void)state;
    /* [1, JOB_RESULTS, 0, "", job 1, an array that claims 2^32 - 1 results */
    static const uint8_t bytes[] = {0x96, 1, 17, 0, 0xa0, 1, 0xdd, 0xff, 0xff, 0xff, 0xff};
    struct hf_event decoded;
    struct hf_error error;
    assert_int_equal(event_decode(bytes, sizeof bytes, &decoded, &error), HF_ERR_CORRUPT);
    assert_null(decoded.owned);
}

static void names_are_what_people_see(void **state)
{
    (void)state;
    assert_string_equal(event_role_name(HF_ROLE_OPERATOR), "operator");
    assert_int_equal(event_role_parse("admin"), HF_ROLE_ADMIN);
    assert_int_equal(event_role_parse("none"), HF_ROLE_NONE);
    assert_int_equal(event_role_parse("root"), HF_ROLE_NONE);
    assert_string_equal(event_job_state_name(HF_JOB_STATE_CANCELLED), "cancelled");
    assert_string_equal(event_job_state_name(99), "unknown");
    assert_string_equal(event_source_state_name(0), "unknown");
    assert_string_equal(event_source_state_name(HF_SOURCE_FAILING), "failing");
    assert_string_equal(event_source_state_name(HF_SOURCE_WAITING), "waiting");
    assert_string_equal(event_source_state_name(HF_SOURCE_RETIRED), "retired");
    assert_string_equal(event_source_state_name(HF_SOURCE_RETIRED + 1), "unknown");
    assert_string_equal(event_snapshot_reason_name(HF_SNAPSHOT_PRE_RESTORE), "pre-restore");
    assert_string_equal(event_token_kind_name(HF_TOKEN_ENROL), "enrol");
    assert_string_equal(event_audit_outcome_name(HF_AUDIT_REFUSED), "refused");
    assert_string_equal(catalog_change_name(HF_CHANGE_METADATA), "metadata");
    assert_false(event_job_is_final(HF_JOB_STATE_RUNNING));
    assert_true(event_job_is_final(HF_JOB_STATE_EXPIRED));
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--write-samples") == 0) { /* seeds for tests/fuzz */
        for (int type = 1; type <= SAMPLES; type++) {
            char name[256];
            struct hf_event event = sample(type);
            struct hf_buf bytes = encode(&event);
            snprintf(name, sizeof name, "%s/event-%02d", argv[2], type);
            FILE *out = fopen(name, "w");
            assert_non_null(out);
            fwrite(bytes.data, 1, bytes.size, out);
            fclose(out);
            hf_buf_free(&bytes);
        }
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_comes_back_as_it_was),
        cmocka_unit_test(every_event_is_one_msgpack_array_to_others),
        cmocka_unit_test(fields_arrive_in_their_places),
        cmocka_unit_test(every_cut_and_every_appended_byte_is_noticed),
        cmocka_unit_test(every_flipped_bit_is_survived),
        cmocka_unit_test(fields_of_a_later_version_are_passed_over),
        cmocka_unit_test(a_newer_format_and_an_unknown_type_say_so),
        cmocka_unit_test(what_breaks_a_limit_is_not_encoded_and_leaves_the_buffer_alone),
        cmocka_unit_test(a_count_that_lies_allocates_nothing),
        cmocka_unit_test(names_are_what_people_see),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
