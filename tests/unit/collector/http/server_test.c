/* The HTTP server over real TLS: requests that are torn, long, many, wrong or given up. */
#include "tests/unit/collector/http/http_fixture.h"

#include <stdatomic.h>

#define STREAM_BYTES (5u * 1024u * 1024u)

static struct http_site site;
static struct {
    _Atomic unsigned handled, freed; /* requests; streams whose state was freed */
    _Atomic bool held;               /* requests for /held wait while it is set */
    _Atomic unsigned holding;
} seen;

struct stream {
    size_t left;
    bool breaks;
    uint8_t next;
};

/* Bytes that count up, so that a lost, doubled or shifted piece shows. */
static int stream_produce(void *state, struct hf_catalog_reader *catalog,
                          struct hf_store_reader *store, struct hf_buf *out, bool *done,
                          struct hf_error *error)
{
    struct stream *stream = state;
    assert_non_null(catalog);
    assert_non_null(store);
    size_t size = stream->left < 100003 ? stream->left : 100003;
    for (size_t i = 0; i < size; i++) {
        assert_int_equal(hf_buf_append_byte(out, stream->next), HF_OK);
        stream->next = (uint8_t)((stream->next + 1) % 251);
    }
    stream->left -= size;
    *done = stream->left == 0;
    if (stream->breaks && stream->left < STREAM_BYTES / 2) {
        return hf_error_set(error, HF_ERR_IO, 0, "A chunk can't be read");
    }
    return HF_OK;
}

static void stream_free(void *state)
{
    free(state);
    seen.freed++;
}

static void start_stream(const struct hf_http_request *request, struct hf_http_response *response)
{
    struct stream *stream = calloc(1, sizeof *stream);
    *stream = (struct stream){.left = STREAM_BYTES, .breaks = http_param(request, "breaks")};
    response->produce = stream_produce;
    response->produce_state = stream;
    response->produce_free = stream_free;
    response->length = http_param(request, "chunked") ? -1 : (int64_t)STREAM_BYTES;
    response->content_type = "application/octet-stream";
}

/* Says back what it understood. */
static void echo(void *context, const struct hf_http_request *request,
                 struct hf_catalog_reader *catalog, struct hf_store_reader *store,
                 struct hf_http_response *response)
{
    (void)catalog;
    (void)store;
    assert_ptr_equal(context, &site);
    seen.handled++;
    if (strcmp(request->path, "/stream") == 0) {
        start_stream(request, response);
        return;
    }
    if (strcmp(request->path, "/held") == 0) {
        seen.holding++;
        while (seen.held) {
            usleep(1000);
        }
    }
    if (strcmp(request->path, "/wait") == 0) {
        response->status = 429;
        response->retry_after_s = 7;
    }
    uint8_t hash[HF_HASH_BYTES];
    char hex[2 * HF_HASH_BYTES + 1];
    hf_sha256(request->body.data, request->body.size, hash);
    hf_hex_encode(hash, sizeof hash, hex);
    hf_buf_append_format(&response->body, "%s %s auth=%s peer=%s body=%zu:%.8s", request->method,
                         request->path, request->authorization, request->peer, request->body.size,
                         hex);
    for (size_t i = 0; i < request->param_count; i++) {
        hf_buf_append_format(&response->body, " %s=[%s]", request->params[i].name,
                             (const char *)request->params[i].value.data);
    }
}

static int set_up(void **state)
{
    (void)state;
    site.deployment = deployment_new(DAY_NS);
    http_site_start(&site, echo, &site, 4);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    http_site_stop(&site);
    return 0;
}

static void assert_answer(struct answer *answer, int status, const char *text)
{
    assert_int_equal(answer->status, status);
    assert_true(answer->whole);
    if (text) {
        assert_string_equal(as_text(&answer->body), text);
    }
    answer_free(answer);
}

static const char post[] = "POST /v1/x?a=1&path=%2Fetc%2Fa%20b&flag HTTP/1.1\r\nHost: x\r\n"
                           "Authorization: Bearer hfa.1.2\r\nContent-Length: 5\r\n\r\nhello";
static const char post_answer[] = "POST /v1/x auth=Bearer hfa.1.2 peer=127.0.0.1 body=5:2cf24dba"
                                  " a=[1] path=[/etc/a b] flag=[]";

static void a_request_reaches_its_handler_decoded(void **state)
{
    (void)state;
    struct answer answer = web_ask(&site, post);
    assert_answer(&answer, 200, post_answer);
}

static void a_request_torn_at_any_byte_is_the_same_request(void **state)
{
    (void)state;
    struct web web = web_connect(&site);
    for (size_t cut = 1; cut < sizeof post - 1; cut++) {
        assert_true(web_send(&web, post, cut));
        assert_true(web_send(&web, post + cut, sizeof post - 1 - cut));
        struct answer answer = web_answer(&web, true);
        assert_answer(&answer, 200, post_answer);
    }
    web_close(&web);
}

static void a_request_in_single_bytes_is_the_same_request(void **state)
{
    (void)state;
    struct web web = web_connect(&site);
    for (size_t i = 0; i < sizeof post - 1; i++) {
        assert_true(web_send(&web, post + i, 1));
    }
    struct answer answer = web_answer(&web, true);
    assert_answer(&answer, 200, post_answer);
    web_close(&web);
}

static void requests_sent_without_waiting_are_answered_in_their_order(void **state)
{
    (void)state;
    struct web web = web_connect(&site);
    char text[4096] = "";
    for (int i = 0; i < 20; i++) {
        snprintf(text + strlen(text), sizeof text - strlen(text),
                 "GET /n%d HTTP/1.1\r\nHost: x\r\n\r\n", i);
    }
    assert_true(web_say(&web, text));
    for (int i = 0; i < 20; i++) {
        char expected[160];
        snprintf(expected, sizeof expected, "GET /n%d auth= peer=127.0.0.1 body=0:e3b0c442", i);
        struct answer answer = web_answer(&web, true);
        assert_answer(&answer, 200, expected);
    }
    web_close(&web);
}

static void answers_say_that_nobody_may_keep_or_guess_them(void **state)
{
    (void)state;
    struct answer answer = web_ask(&site, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_non_null(header_of(&answer, "cache-control: no-store"));
    assert_non_null(header_of(&answer, "x-content-type-options: nosniff"));
    assert_non_null(header_of(&answer, "content-type: application/json"));
    answer_free(&answer);
}

static void an_answer_can_ask_for_patience(void **state)
{
    (void)state;
    struct answer answer = web_ask(&site, "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_non_null(header_of(&answer, "retry-after: 7"));
    assert_answer(&answer, 429, NULL);
}

static void head_gives_the_headers_of_get_and_no_body(void **state)
{
    (void)state;
    struct web web = web_connect(&site);
    assert_true(web_say(&web, "HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n"));
    struct answer answer = web_answer(&web, false);
    assert_non_null(header_of(&answer, "content-length:"));
    assert_answer(&answer, 200, "");
    assert_true(web_say(&web, "GET /b HTTP/1.1\r\nHost: x\r\n\r\n"));
    answer = web_answer(&web, true);
    assert_answer(&answer, 200, "GET /b auth= peer=127.0.0.1 body=0:e3b0c442");
    web_close(&web);
}

/* --- bodies --- */

static char *body_request(size_t size, size_t *length)
{
    char *text = malloc(size + 200);
    int head =
        snprintf(text, 200, "POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n", size);
    memset(text + head, 'z', size);
    *length = (size_t)head + size;
    return text;
}

static void a_body_of_a_mebibyte_is_taken(void **state)
{
    (void)state;
    size_t length = 0;
    char *text = body_request(HF_HTTP_BODY_MAX_BYTES, &length);
    struct web web = web_connect(&site);
    assert_true(web_send(&web, text, length));
    struct answer answer = web_answer(&web, true);
    assert_int_equal(answer.status, 200);
    assert_says(as_text(&answer.body), "body=1048576:");
    answer_free(&answer);
    web_close(&web);
    free(text);
}

static void a_longer_body_is_refused_and_its_connection_ends(void **state)
{
    (void)state;
    size_t length = 0;
    unsigned before = seen.handled;
    char *text = body_request(HF_HTTP_BODY_MAX_BYTES + 1, &length);
    struct web web = web_connect(&site);
    web_send(&web, text, length); /* may fail: the server need not read it all */
    struct answer answer = web_answer(&web, true);
    assert_true(answer.status == 413 || answer.status == 0);
    answer_free(&answer);
    assert_true(web_is_over(&web));
    web_close(&web);
    free(text);
    assert_int_equal(seen.handled, before);
}

static void a_body_that_stops_half_way_reaches_no_handler(void **state)
{
    (void)state;
    unsigned before = seen.handled;
    struct web web = web_connect(&site);
    assert_true(web_send(&web, post, sizeof post - 3));
    web_close(&web);
    struct answer answer = web_ask(&site, "GET /after HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_answer(&answer, 200, NULL);
    assert_int_equal(seen.handled, before + 1);
}

/* --- what is no request --- */

static void what_is_no_request_is_refused_and_reaches_no_handler(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int status; /* 0: the connection ends without an answer */
    } wrong[] = {
        {"BREW /pot HTTP/1.1\r\nHost: x\r\n\r\n", 0},
        {"OPTIONS /a HTTP/1.1\r\nHost: x\r\n\r\n", 405},
        {"\r\n\r\n\x01\x02\xff\xfe\r\n\r\n", 0},
        {"GET /a?=nameless HTTP/1.1\r\nHost: x\r\n\r\n", 400},
        {"GET /a?path=%00zero HTTP/1.1\r\nHost: x\r\n\r\n", 0},
    };
    unsigned before = seen.handled;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct web web = web_connect(&site);
        web_say(&web, wrong[i].text);
        struct answer answer = web_answer(&web, true);
        if (wrong[i].status == 0 ? answer.status != 0 && answer.status < 400
                                 : answer.status != wrong[i].status) {
            fail_msg("%s was answered with %d", wrong[i].text, answer.status);
        }
        answer_free(&answer);
        web_close(&web);
    }
    assert_int_equal(seen.handled, before);
}

static void a_path_longer_than_the_limit_is_refused(void **state)
{
    (void)state;
    char text[HF_HTTP_PATH_MAX_BYTES + 200];
    char path[HF_HTTP_PATH_MAX_BYTES + 2];
    unsigned before = seen.handled;
    memset(path, 'p', sizeof path - 1);
    path[0] = '/';
    path[sizeof path - 1] = '\0';
    snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path);
    struct answer answer = web_ask(&site, text);
    assert_int_equal(answer.status, 414);
    answer_free(&answer);
    assert_int_equal(seen.handled, before);
}

static void more_parameters_than_the_limit_are_refused(void **state)
{
    (void)state;
    char text[1024] = "GET /a?p=0";
    for (unsigned i = 1; i < HF_HTTP_QUERY_MAX; i++) {
        strcat(text, "&p=1");
    }
    size_t full = strlen(text);
    strcat(text, " HTTP/1.1\r\nHost: x\r\n\r\n");
    struct answer answer = web_ask(&site, text);
    assert_answer(&answer, 200, NULL);
    strcpy(text + full, "&p=2 HTTP/1.1\r\nHost: x\r\n\r\n");
    answer = web_ask(&site, text);
    assert_int_equal(answer.status, 400);
    answer_free(&answer);
}

static void headers_without_end_do_not_fill_the_memory(void **state)
{
    (void)state;
    unsigned before = seen.handled;
    char line[1024];
    size_t head = (size_t)snprintf(line, sizeof line, "X-Long: ");
    memset(line + head, 'h', sizeof line - head);
    line[sizeof line - 2] = '\r';
    line[sizeof line - 1] = '\n';
    struct web web = web_connect(&site);
    web_say(&web, "GET /a HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ");
    int sent = 0;
    while (sent < 4096 && web_send(&web, line, sizeof line)) {
        sent++;
    }
    struct answer answer = web_answer(&web, true);
    assert_true(answer.status == 0 || answer.status >= 400);
    answer_free(&answer);
    web_close(&web);
    assert_int_equal(seen.handled, before);
}

static void nobody_upgrades_to_a_websocket(void **state)
{
    (void)state;
    struct answer answer = web_ask(&site, "GET /a HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
                                          "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                                          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                                          "Sec-WebSocket-Protocol: http\r\n\r\n");
    assert_int_not_equal(answer.status, 101);
    answer_free(&answer);
}

/* --- streams --- */

static void assert_counts_up(const struct hf_buf *body, size_t size)
{
    assert_int_equal(body->size, size);
    for (size_t i = 0; i < size; i++) {
        if (body->data[i] != i % 251) {
            fail_msg("byte %zu is %u", i, body->data[i]);
        }
    }
}

static void a_stream_of_known_length_arrives_whole(void **state)
{
    (void)state;
    struct answer answer = web_ask(&site, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_non_null(header_of(&answer, "content-length: 5242880"));
    assert_true(answer.whole);
    assert_counts_up(&answer.body, STREAM_BYTES);
    answer_free(&answer);
}

static void a_stream_of_unknown_length_arrives_whole_in_chunks(void **state)
{
    (void)state;
    struct answer answer = web_ask(&site, "GET /stream?chunked HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_true(answer.whole);
    assert_counts_up(&answer.body, STREAM_BYTES);
    answer_free(&answer);
}

static void a_stream_that_fails_is_seen_to_be_cut(void **state)
{
    (void)state;
    static const char *const requests[] = {
        "GET /stream?breaks HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /stream?breaks&chunked HTTP/1.1\r\nHost: x\r\n\r\n"};
    for (size_t i = 0; i < 2; i++) {
        struct answer answer = web_ask(&site, requests[i]);
        assert_int_equal(answer.status, 200);
        assert_false(answer.whole);
        answer_free(&answer);
    }
}

static void clients_that_go_away_leave_no_stream_behind(void **state)
{
    (void)state;
    unsigned freed = seen.freed;
    for (unsigned i = 0; i < 12; i++) {
        struct web web = web_connect(&site);
        bool sent = web_say(&web, "GET /stream?chunked HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_true(sent);
        assert_true(web_read(&web, PATIENCE_MS));
        web_close(&web);
        for (int wait = 0; wait < PATIENCE_MS && seen.freed < freed + i + 1; wait++) {
            usleep(1000);
        }
        assert_int_equal(seen.freed, freed + i + 1);
    }
}

/* --- too many --- */

static void requests_over_the_limit_are_told_to_come_again(void **state)
{
    (void)state;
    struct web webs[4];
    unsigned holding = seen.holding;
    seen.held = true;
    for (unsigned i = 0; i < 4; i++) {
        webs[i] = web_connect(&site);
        assert_true(web_say(&webs[i], "GET /held HTTP/1.1\r\nHost: x\r\n\r\n"));
    }
    while (seen.holding < holding + 4) {
        usleep(1000);
    }
    struct answer answer = web_ask(&site, "GET /one-more HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_int_equal(answer.status, 503);
    answer_free(&answer);
    seen.held = false;
    for (unsigned i = 0; i < 4; i++) {
        answer = web_answer(&webs[i], true);
        assert_answer(&answer, 200, NULL);
        web_close(&webs[i]);
    }
    answer = web_ask(&site, "GET /again HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_answer(&answer, 200, NULL);
}

static void a_client_that_leaves_before_its_answer_harms_nobody(void **state)
{
    (void)state;
    unsigned holding = seen.holding;
    seen.held = true;
    struct web web = web_connect(&site);
    assert_true(web_say(&web, "GET /held HTTP/1.1\r\nHost: x\r\n\r\n"));
    while (seen.holding < holding + 1) {
        usleep(1000);
    }
    web_close(&web);
    seen.held = false;
    struct answer answer = web_ask(&site, "GET /after HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_answer(&answer, 200, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_reaches_its_handler_decoded),
        cmocka_unit_test(a_request_torn_at_any_byte_is_the_same_request),
        cmocka_unit_test(a_request_in_single_bytes_is_the_same_request),
        cmocka_unit_test(requests_sent_without_waiting_are_answered_in_their_order),
        cmocka_unit_test(answers_say_that_nobody_may_keep_or_guess_them),
        cmocka_unit_test(an_answer_can_ask_for_patience),
        cmocka_unit_test(head_gives_the_headers_of_get_and_no_body),
        cmocka_unit_test(a_body_of_a_mebibyte_is_taken),
        cmocka_unit_test(a_longer_body_is_refused_and_its_connection_ends),
        cmocka_unit_test(a_body_that_stops_half_way_reaches_no_handler),
        cmocka_unit_test(what_is_no_request_is_refused_and_reaches_no_handler),
        cmocka_unit_test(a_path_longer_than_the_limit_is_refused),
        cmocka_unit_test(more_parameters_than_the_limit_are_refused),
        cmocka_unit_test(headers_without_end_do_not_fill_the_memory),
        cmocka_unit_test(nobody_upgrades_to_a_websocket),
        cmocka_unit_test(a_stream_of_known_length_arrives_whole),
        cmocka_unit_test(a_stream_of_unknown_length_arrives_whole_in_chunks),
        cmocka_unit_test(a_stream_that_fails_is_seen_to_be_cut),
        cmocka_unit_test(clients_that_go_away_leave_no_stream_behind),
        cmocka_unit_test(requests_over_the_limit_are_told_to_come_again),
        cmocka_unit_test(a_client_that_leaves_before_its_answer_harms_nobody),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
