#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/session/websocket.h"

#define PROTOCOL "holdfast-test"
/* RFC 6455, section 1.3. */
#define KEY    "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
#define GOOD                                                                                       \
    "HTTP/1.1 101 Switching Protocols\r\n"                                                         \
    "Upgrade: websocket\r\n"                                                                       \
    "Connection: Upgrade\r\n"                                                                      \
    "Sec-WebSocket-Accept: " ACCEPT "\r\n"                                                         \
    "Sec-WebSocket-Protocol: " PROTOCOL "\r\n\r\n"

/* --- opening --- */

static void assert_request(const char *host, const char *host_line)
{
    char key[HF_WEBSOCKET_KEY_BYTES], again[HF_WEBSOCKET_KEY_BYTES], expected[1024];
    uint8_t nonce[32];
    struct hf_buf out = {0};
    assert_int_equal(hf_buf_append(&out, "before", 6), 0);
    assert_int_equal(websocket_request(host, 8443, "/agent", PROTOCOL, key, &out), 0);
    snprintf(expected, sizeof(expected),
             "beforeGET /agent HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\n"
             "Connection: Upgrade\r\nSec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n"
             "Sec-WebSocket-Protocol: " PROTOCOL "\r\n\r\n",
             host_line, key);
    assert_int_equal(hf_buf_terminate(&out), 0);
    assert_string_equal((char *)out.data, expected);
    assert_int_equal(out.size, strlen(expected));
    assert_int_equal(strlen(key), 24);
    assert_int_equal(EVP_DecodeBlock(nonce, (unsigned char *)key, 24), 18); /* 16 and padding */
    hf_buf_clear(&out);
    assert_int_equal(websocket_request(host, 8443, "/agent", PROTOCOL, again, &out), 0);
    assert_string_not_equal(key, again);
    hf_buf_free(&out);
}

static void a_request_names_the_host_and_has_a_key_of_its_own(void **state)
{
    (void)state;
    assert_request("collector.example", "collector.example:8443");
    assert_request("192.0.2.1", "192.0.2.1:8443");
    assert_request("2001:db8::1", "[2001:db8::1]:8443");
}

/* From memory that ends where the text does. */
static int respond(const char *text, size_t size, size_t *used, struct hf_error *error)
{
    uint8_t *copy = malloc(size ? size : 1);
    assert_non_null(copy);
    memcpy(copy, text, size);
    *used = 0;
    int result = websocket_response((struct hf_bytes){copy, size}, KEY, PROTOCOL, used, error);
    free(copy);
    return result;
}

static void assert_response(int expected, const char *text, const char *words)
{
    struct hf_error error = {0};
    size_t used;
    assert_int_equal(respond(text, strlen(text), &used, &error), expected);
    if (expected == 0)
        assert_int_equal(used, strlen(text));
    if (words)
        assert_non_null(strstr(error.message, words));
}

static void the_acceptance_of_the_standards_example_is_known(void **state)
{
    (void)state;
    assert_response(0, GOOD, NULL);
}

static void an_answer_that_is_not_whole_is_waited_for(void **state)
{
    (void)state;
    struct hf_error error;
    size_t used;
    for (size_t size = 0; size < strlen(GOOD); size++)
        assert_int_equal(respond(GOOD, size, &used, &error), HF_ERR_AGAIN);
}

static void what_follows_an_answer_is_left(void **state)
{
    (void)state;
    static const char with_more[] = GOOD "\x82\x03\r\n\r\n";
    struct hf_error error;
    size_t used;
    assert_int_equal(respond(with_more, sizeof(with_more) - 1, &used, &error), 0);
    assert_int_equal(used, strlen(GOOD));
}

static void headers_are_known_in_any_case_and_order_and_among_others(void **state)
{
    (void)state;
    assert_response(0,
                    "HTTP/1.1 101\r\n"
                    "SEC-WEBSOCKET-PROTOCOL:" PROTOCOL "\r\n"
                    "sec-websocket-accept:\t  " ACCEPT " \t\r\n"
                    "X-Other: a: b, websocket\r\n"
                    "no colon at all\r\n"
                    "cOnnection: keep-alive ,uPgrade\r\n"
                    "upgrade: WebSocket\r\n\r\n",
                    NULL);
}

static void an_answer_that_lacks_something_or_says_another_thing_is_refused(void **state)
{
    (void)state;
    static const char *const good[] = {"Upgrade: websocket\r\n", "Connection: Upgrade\r\n",
                                       "Sec-WebSocket-Accept: " ACCEPT "\r\n",
                                       "Sec-WebSocket-Protocol: " PROTOCOL "\r\n"};
    static const struct {
        size_t instead_of;
        const char *line, *words;
    } cases[] = {
        {0, "", "another protocol"},
        {0, "Upgrade:\r\n", "another protocol"},
        {0, "Upgrade: h2c\r\n", "another protocol"},
        {0, "Upgrade: websockets\r\n", "another protocol"},
        {1, "", "another protocol"},
        {1, "Connection: close\r\n", "another protocol"},
        {1, "Connection: Upgraded, , ,\r\n", "another protocol"},
        {2, "", "another protocol"},
        {2, "Sec-WebSocket-Accept:\r\n", "another protocol"},
        {2, "Sec-WebSocket-Accept: t3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", "another protocol"},
        {2, "Sec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", "another protocol"},
        {2, "Sec-WebSocket-Accept: " ACCEPT "=\r\n", "another protocol"},
        {3, "", "does not speak " PROTOCOL},
        {3, "Sec-WebSocket-Protocol: holdfast-other\r\n", "does not speak " PROTOCOL},
        {3, "Sec-WebSocket-Protocol: " PROTOCOL "\r\nSec-WebSocket-Extensions: gzip\r\n",
         "does not speak " PROTOCOL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[1024] = "HTTP/1.1 101 Switching Protocols\r\n";
        for (size_t line = 0; line < 4; line++)
            strcat(text, line == cases[i].instead_of ? cases[i].line : good[line]);
        strcat(text, "\r\n");
        assert_response(HF_ERR_PROTOCOL, text, cases[i].words);
    }
}

static void an_answer_that_is_no_acceptance_is_quoted(void **state)
{
    (void)state;
    char text[512];
    assert_response(HF_ERR_PROTOCOL, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
                    "\"HTTP/1.1 403 Forbidden\"");
    assert_response(HF_ERR_PROTOCOL, "HTTP/1.1 1010 Odd\r\n\r\n", "\"HTTP/1.1 1010 Odd\"");
    assert_response(HF_ERR_PROTOCOL, "HTTP/1.0 101 Old\r\n\r\n", "\"HTTP/1.0 101 Old\"");
    assert_response(HF_ERR_PROTOCOL, "\r\n\r\n", "\"\"");
    assert_response(HF_ERR_PROTOCOL, "\x1b[2J\xff\r\n\r\n",
                    "\"?[2J?\""); /* nothing for terminals */
    memset(text, 'x', 200);
    strcpy(text + 200, "\r\n\r\n");
    struct hf_error error;
    size_t used;
    assert_int_equal(respond(text, strlen(text), &used, &error), HF_ERR_PROTOCOL);
    assert_null(
        strstr(error.message, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"));
}

static void an_answer_without_end_is_refused(void **state)
{
    (void)state;
    char text[HF_WEBSOCKET_RESPONSE_BYTES + 100];
    struct hf_error error = {0};
    static const char status[] = {'H', 'T', 'T', 'P', '/', '1', '.',  '1',
                                  ' ', '1', '0', '1', ' ', 'x', '\r', '\n'};
    static const char end[] = {'\r', '\n', '\r', '\n'};
    size_t used;
    memset(text, 'a', sizeof(text));
    memcpy(text, status, sizeof(status));
    assert_int_equal(respond(text, HF_WEBSOCKET_RESPONSE_BYTES - 1, &used, &error), HF_ERR_AGAIN);
    assert_int_equal(respond(text, HF_WEBSOCKET_RESPONSE_BYTES, &used, &error), HF_ERR_PROTOCOL);
    assert_non_null(strstr(error.message, "4096"));
    /* An end that comes too late is none. */
    memcpy(text + sizeof(text) - sizeof(end), end, sizeof(end));
    assert_int_equal(respond(text, sizeof(text), &used, &error), HF_ERR_PROTOCOL);
}

static void where_no_checksum_can_be_made_nothing_is_accepted(void **state)
{
    (void)state;
    /* As on a system whose policy takes SHA-1 away. */
    assert_int_equal(EVP_set_default_properties(NULL, "provider=none"), 1);
    assert_response(HF_ERR_PROTOCOL,
                    "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    "Sec-WebSocket-Protocol: " PROTOCOL "\r\n\r\n",
                    NULL);
    assert_response(HF_ERR_PROTOCOL, GOOD, NULL);
    assert_int_equal(EVP_set_default_properties(NULL, ""), 1);
    assert_response(0, GOOD, NULL);
}

/* --- sending --- */

static void a_frame_is_what_the_other_end_takes_apart_again(void **state)
{
    (void)state;
    static const struct {
        size_t size, head;
    } cases[] = {{0, 6},   {1, 6},     {125, 6},    {126, 8},
                 {127, 8}, {65535, 8}, {65536, 14}, {65543, 14}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t size = cases[i].size, at = 2;
        uint8_t *room = malloc(HF_WEBSOCKET_HEAD_BYTES + size);
        assert_non_null(room);
        uint8_t *data = room + HF_WEBSOCKET_HEAD_BYTES;
        for (size_t n = 0; n < size; n++)
            data[n] = (uint8_t)(n * 7 + (n >> 8));
        assert_int_equal(websocket_frame(HF_WEBSOCKET_BINARY, data, size), cases[i].head);
        const uint8_t *frame = data - cases[i].head;
        assert_int_equal(frame[0], 0x82);
        assert_int_equal(frame[1] & 0x80, 0x80);
        uint64_t length = frame[1] & 0x7f;
        size_t wide = length == 126 ? 2 : length == 127 ? 8 : 0;
        for (length = wide ? 0 : length; at < 2 + wide; at++)
            length = length << 8 | frame[at];
        assert_int_equal(length, size);
        const uint8_t *mask = frame + at;
        assert_ptr_equal(mask + 4, data);
        for (size_t n = 0; n < size; n++)
            assert_int_equal(data[n] ^ mask[n % 4], (uint8_t)(n * 7 + (n >> 8)));
        free(room);
    }
}

static void no_two_frames_have_the_same_mask(void **state)
{
    (void)state;
    uint8_t room[HF_WEBSOCKET_HEAD_BYTES] = {0};
    uint32_t masks[16];
    size_t same = 0;
    for (size_t i = 0; i < 16; i++) {
        assert_int_equal(websocket_frame(HF_WEBSOCKET_PING, room + sizeof(room), 0), 6);
        assert_int_equal(room[8], 0x89);
        memcpy(&masks[i], room + 10, 4);
        for (size_t n = 0; n < i; n++)
            same += masks[n] == masks[i];
    }
    assert_in_range(same, 0, 1); /* by chance, once in thousands of years */
}

/* --- receiving --- */

/* What came of it, as text: "M<size>:<checksum>" "P<size>" "O<size>" "C<size>" or "!<error>". */
struct story {
    char text[1024];
    size_t size;
};

static void tell(struct story *story, char kind, const void *data, size_t size)
{
    uint32_t sum = 1;
    for (size_t i = 0; i < size; i++)
        sum = sum * 31 + ((const uint8_t *)data)[i];
    story->size += (size_t)snprintf(story->text + story->size, sizeof(story->text) - story->size,
                                    "%c%zu:%x ", kind, size, (unsigned)sum);
    assert_true(story->size < sizeof(story->text));
}

static int take(struct hf_websocket_reader *reader, const void *data, size_t size,
                struct story *story)
{
    static const char kinds[] = {' ', 'M', 'P', 'O', 'C'};
    uint8_t *copy = malloc(size ? size : 1); /* its end is the end of what may be read */
    assert_non_null(copy);
    if (size > 0)
        memcpy(copy, data, size);
    struct hf_bytes in = {copy, size};
    struct hf_error error = {0};
    enum hf_websocket_event event = HF_WEBSOCKET_PONGED;
    int result;
    while (!(result = websocket_take(reader, &in, &event, &error)) && event) {
        bool message = event == HF_WEBSOCKET_MESSAGE;
        tell(story, kinds[event], message ? reader->message.data : reader->control,
             message ? reader->message.size : reader->control_size);
        if (message)
            hf_buf_clear(&reader->message);
    }
    if (!result)
        assert_int_equal(in.size, 0);
    else
        assert_true(error.message[0] != '\0');
    free(copy);
    return result;
}

/* A frame as a server sends it. */
static void put(struct hf_buf *out, uint8_t first, const void *data, size_t size)
{
    uint8_t head[10] = {first};
    size_t wide = size < 126 ? 0 : size <= UINT16_MAX ? 2 : 8;
    head[1] = (uint8_t)(wide == 0 ? size : wide == 2 ? 126 : 127);
    for (size_t i = 0; i < wide; i++)
        head[2 + i] = (uint8_t)((uint64_t)size >> (8 * (wide - 1 - i)));
    assert_int_equal(hf_buf_append(out, head, 2 + wide), 0);
    assert_int_equal(hf_buf_append(out, data, size), 0);
}

static void what_comes_in_means_the_same_wherever_it_is_cut(void **state)
{
    (void)state;
    static uint8_t data[70000];
    struct hf_buf in = {0};
    struct story expected = {0};
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 13);
    put(&in, 0x82, data, 5);
    tell(&expected, 'M', data, 5);
    put(&in, 0x82, "", 0);
    tell(&expected, 'M', "", 0);
    put(&in, 0x8a, "late", 4);
    tell(&expected, 'O', "late", 4);
    put(&in, 0x02, data, 100); /* a message in three frames, with a PING between */
    put(&in, 0x00, data + 100, 0);
    put(&in, 0x89, data, 125);
    tell(&expected, 'P', data, 125);
    put(&in, 0x00, data + 100, 0);
    put(&in, 0x80, data + 100, 200);
    tell(&expected, 'M', data, 300);
    put(&in, 0x02, "", 0);
    put(&in, 0x89, "", 0);
    tell(&expected, 'P', "", 0);
    put(&in, 0x80, "", 0);
    tell(&expected, 'M', "", 0);
    put(&in, 0x88, "\x03\xe8why", 5);
    tell(&expected, 'C', "\x03\xe8why", 5);
    for (size_t cut = 0; cut <= in.size; cut++) {
        struct hf_websocket_reader reader = {.limit = 1000};
        struct story story = {0};
        assert_int_equal(take(&reader, in.data, cut, &story), 0);
        assert_int_equal(take(&reader, in.data + cut, in.size - cut, &story), 0);
        assert_string_equal(story.text, expected.text);
        websocket_reset(&reader);
    }
    struct hf_websocket_reader reader = {.limit = 1000};
    struct story story = {0};
    for (size_t i = 0; i < in.size; i++)
        assert_int_equal(take(&reader, in.data + i, 1, &story), 0);
    assert_string_equal(story.text, expected.text);
    websocket_reset(&reader);

    static const size_t sizes[] = {125, 126, 65535, 65536, 70000};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct hf_websocket_reader large = {.limit = sizeof(data)};
        story = expected = (struct story){0};
        hf_buf_clear(&in);
        put(&in, 0x82, data, sizes[i]);
        tell(&expected, 'M', data, sizes[i]);
        size_t head = in.size - sizes[i];
        for (size_t at = 0; at < head; at++)
            assert_int_equal(take(&large, in.data + at, 1, &story), 0);
        assert_int_equal(take(&large, in.data + head, sizes[i] - 1, &story), 0);
        assert_string_equal(story.text, "");
        assert_int_equal(take(&large, in.data + in.size - 1, 1, &story), 0);
        assert_string_equal(story.text, expected.text);
        websocket_reset(&large);
    }
    hf_buf_free(&in);
}

static void a_message_may_be_as_large_as_the_limit_and_not_a_byte_larger(void **state)
{
    (void)state;
    static const uint8_t data[301];
    for (size_t over = 0; over < 2; over++) {
        int expected = over ? HF_ERR_LIMIT : 0;
        struct hf_buf whole = {0}, pieces = {0};
        struct story story = {0};
        struct hf_websocket_reader reader = {.limit = 300};
        put(&whole, 0x82, data, 300 + over);
        assert_int_equal(take(&reader, whole.data, whole.size, &story), expected);
        websocket_reset(&reader);
        assert_int_equal(reader.limit, 300);
        put(&pieces, 0x02, data, 100);
        put(&pieces, 0x00, data, 100);
        put(&pieces, 0x80, data, 100 + over); /* of the sum of its frames, too */
        assert_int_equal(take(&reader, pieces.data, pieces.size, &story), expected);
        websocket_reset(&reader);
        hf_buf_free(&whole);
        hf_buf_free(&pieces);
    }
}

static void a_length_that_is_only_announced_takes_no_memory_beyond_the_limit(void **state)
{
    (void)state;
    static const uint8_t lengths[][8] = {
        {0, 0, 0, 0, 0, 0, 1, 45},                             /* limit and one */
        {0, 0, 0, 1, 0, 0, 0, 0},                              /* 4 GiB */
        {0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},      /* all that is allowed */
        {0x80, 0, 0, 0, 0, 0, 0, 0},                           /* and that isn't */
        {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},      /* wraps with what is there */
        {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff - 99}, /* wraps to a little */
    };
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        static const uint8_t data[100];
        struct hf_websocket_reader reader = {.limit = 300};
        struct story story = {0};
        struct hf_buf in = {0};
        put(&in, 0x02, data, sizeof(data));
        hf_buf_append(&in, (const uint8_t[]){0x80, 127}, 2);
        hf_buf_append(&in, lengths[i], 8);
        assert_int_equal(take(&reader, in.data, in.size, &story), HF_ERR_LIMIT);
        assert_true(reader.message.capacity <= 300);
        websocket_reset(&reader);
        hf_buf_free(&in);
    }
}

struct breach {
    uint8_t bytes[12];
    size_t size;
};

static const struct breach breaches[] = {
    {{0xc2, 0}, 2}, /* reserved bits: an extension that nobody agreed to */
    {{0xa2, 0}, 2},
    {{0x92, 0}, 2},
    {{0x82, 0x80}, 2}, /* masked */
    {{0x89, 0x80}, 2},
    {{0x81, 1, 'x'}, 3}, /* text */
    {{0x01, 1, 'x'}, 3},
    {{0x83, 0}, 2}, /* kinds that don't exist */
    {{0x87, 0}, 2},
    {{0x8b, 0}, 2},
    {{0x8f, 0}, 2},
    {{0x80, 0}, 2}, /* the rest of nothing */
    {{0x00, 0}, 2},
    {{0x02, 0, 0x82, 0}, 4}, /* a message inside another */
    {{0x02, 0, 0x02, 0}, 4},
    {{0x82, 0, 0x80, 0}, 4}, /* goes on after its end */
    {{0x02, 0, 0x80, 0, 0x80, 0}, 6},
    {{0x09, 0}, 2}, /* control frames in pieces */
    {{0x08, 0}, 2},
    {{0x0a, 0}, 2},
    {{0x89, 126, 0, 126}, 4}, /* and too long */
    {{0x8a, 127, 0, 0, 0, 0, 0, 0, 0, 126}, 10},
    {{0x88, 126, 0, 1}, 4},
    {{0x88, 1, 3}, 3}, /* half a code */
};

static void what_a_server_may_not_send_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(breaches) / sizeof(breaches[0]); i++) {
        struct hf_websocket_reader reader = {.limit = 300};
        struct story story = {0};
        assert_int_equal(take(&reader, breaches[i].bytes, breaches[i].size, &story),
                         HF_ERR_PROTOCOL);
        websocket_reset(&reader);
    }
}

static void after_a_refusal_nothing_more_is_taken(void **state)
{
    (void)state;
    static uint8_t more[1000]; /* longer than any control frame */
    for (size_t i = 0; i < sizeof(breaches) / sizeof(breaches[0]); i++) {
        struct hf_websocket_reader reader = {.limit = 2000};
        struct story story = {0};
        assert_int_equal(take(&reader, breaches[i].bytes, breaches[i].size, &story),
                         HF_ERR_PROTOCOL);
        size_t told = story.size;
        memset(more, 0x02, sizeof(more)); /* lengths, and messages, to who would read on */
        for (size_t n = 0; n < 3; n++)
            assert_int_equal(take(&reader, more, sizeof(more), &story), HF_ERR_PROTOCOL);
        assert_int_equal(story.size, told);
        websocket_reset(&reader);
        story = (struct story){0};
        assert_int_equal(take(&reader, "\x82\x01x", 3, &story), 0); /* a new beginning */
        assert_string_equal(story.text, "M1:97 ");
        websocket_reset(&reader);
    }
}

static void a_close_says_why_or_nothing(void **state)
{
    (void)state;
    static const char reason[] = "\x03\xe9going";
    static const size_t sizes[] = {0, 2, 3, 7};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct hf_websocket_reader reader = {.limit = 300};
        struct story story = {0}, expected = {0};
        struct hf_buf in = {0};
        put(&in, 0x88, reason, sizes[i]);
        tell(&expected, 'C', reason, sizes[i]);
        assert_int_equal(take(&reader, in.data, in.size, &story), 0);
        assert_string_equal(story.text, expected.text);
        websocket_reset(&reader);
        hf_buf_free(&in);
    }
}

static void a_reset_forgets_half_a_message(void **state)
{
    (void)state;
    struct hf_websocket_reader reader = {.limit = 300};
    struct story story = {0};
    assert_int_equal(take(&reader, "\x02\x02xy\x80\x05z", 7, &story), 0);
    assert_int_equal(reader.message.size, 3);
    websocket_reset(&reader);
    assert_null(reader.message.data);
    assert_int_equal(take(&reader, "\x82\x01x", 3, &story), 0);
    assert_string_equal(story.text, "M1:97 ");
    websocket_reset(&reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_names_the_host_and_has_a_key_of_its_own),
        cmocka_unit_test(the_acceptance_of_the_standards_example_is_known),
        cmocka_unit_test(an_answer_that_is_not_whole_is_waited_for),
        cmocka_unit_test(what_follows_an_answer_is_left),
        cmocka_unit_test(headers_are_known_in_any_case_and_order_and_among_others),
        cmocka_unit_test(an_answer_that_lacks_something_or_says_another_thing_is_refused),
        cmocka_unit_test(an_answer_that_is_no_acceptance_is_quoted),
        cmocka_unit_test(an_answer_without_end_is_refused),
        cmocka_unit_test(where_no_checksum_can_be_made_nothing_is_accepted),
        cmocka_unit_test(a_frame_is_what_the_other_end_takes_apart_again),
        cmocka_unit_test(no_two_frames_have_the_same_mask),
        cmocka_unit_test(what_comes_in_means_the_same_wherever_it_is_cut),
        cmocka_unit_test(a_message_may_be_as_large_as_the_limit_and_not_a_byte_larger),
        cmocka_unit_test(a_length_that_is_only_announced_takes_no_memory_beyond_the_limit),
        cmocka_unit_test(what_a_server_may_not_send_is_refused),
        cmocka_unit_test(after_a_refusal_nothing_more_is_taken),
        cmocka_unit_test(a_close_says_why_or_nothing),
        cmocka_unit_test(a_reset_forgets_half_a_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
