#include "fake_collector.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "agent/session/transport.h"
#include "agent/session/websocket.h"

#define NAME "collector.example"

/* The other end: OpenSSL in memory, a WebSocket that the test makes by hand. */
struct server {
    struct collector *files;
    struct hf_tls_client *credentials;
    struct hf_transport *transport;
    SSL_CTX *context;
    SSL *ssl;
    BIO *in, *out; /* of ssl, which owns them */
    size_t piece;  /* of what the agent is given at a time; 0: all */
};

static const struct certificate_wish good_wish = {"collector", "DNS:" NAME ",IP:::1", "serverAuth",
                                                  -60, 3600};

static void server_begin(struct server *s, const struct certificate_wish *wish, const char *name)
{
    struct hf_error error = {0};
    *s = (struct server){.files = collector_new()};
    struct collector *c = s->files;
    authority_issue(&c->authority, c->server, wish);
    assert_int_equal(tls_client_new(c->agent, c->root, &s->credentials, &error), 0);
    assert_int_equal(transport_new(s->credentials, name, 8443, &s->transport, &error), 0);
    s->context = SSL_CTX_new(TLS_server_method());
    assert_int_equal(SSL_CTX_use_certificate_file(s->context, c->server, SSL_FILETYPE_PEM), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey_file(s->context, c->server, SSL_FILETYPE_PEM), 1);
    assert_int_equal(SSL_CTX_load_verify_file(s->context, c->root), 1);
    SSL_CTX_set_verify(s->context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
}

static void server_listen(struct server *s)
{
    s->ssl = SSL_new(s->context);
    s->in = BIO_new(BIO_s_mem());
    s->out = BIO_new(BIO_s_mem());
    BIO_set_mem_eof_return(s->in, -1);
    SSL_set_bio(s->ssl, s->in, s->out);
    SSL_set_accept_state(s->ssl);
}

static void server_end(struct server *s)
{
    transport_free(s->transport);
    tls_client_free(s->credentials);
    SSL_free(s->ssl);
    SSL_CTX_free(s->context);
    collector_free(s->files);
    ERR_clear_error();
}

/* What the agent has for the server, to it; how many bytes. */
static size_t fetch(struct server *s)
{
    struct hf_bytes out = transport_outgoing(s->transport);
    size_t size = out.size;
    if (size > 0)
        assert_int_equal(BIO_write(s->in, out.data, (int)size), size);
    transport_sent(s->transport, size);
    return size;
}

/* What the server has for the agent, out of its memory. */
static struct hf_buf deliverable(struct server *s)
{
    struct hf_buf bytes = {0};
    uint8_t part[16384];
    for (int got; (got = BIO_read(s->out, part, sizeof(part))) > 0;)
        assert_int_equal(hf_buf_append(&bytes, part, (size_t)got), 0);
    return bytes;
}

/* What came of giving bytes to the agent: messages are kept, one behind the other. */
struct outcome {
    unsigned opened, closed, messages;
    int result;
    struct hf_buf all;
    struct hf_buf reason;
    struct hf_error error;
};

static void give(struct server *s, const uint8_t *data, size_t size, struct outcome *o)
{
    size_t piece = s->piece ? s->piece : size;
    for (size_t at = 0; at < size && !o->result; at += piece) {
        size_t part = size - at < piece ? size - at : piece;
        uint8_t *copy = malloc(part);
        assert_non_null(copy);
        memcpy(copy, data + at, part);
        transport_give(s->transport, copy, part);
        enum hf_transport_event event;
        do {
            o->result = transport_next(s->transport, &event, &o->error);
            if (o->result)
                break;
            o->opened += event == HF_TRANSPORT_OPENED;
            if (event == HF_TRANSPORT_MESSAGE) {
                struct hf_buf message = transport_message(s->transport);
                o->messages++;
                assert_int_equal(hf_buf_append(&o->all, message.data, message.size), 0);
                hf_buf_free(&message);
            } else if (event == HF_TRANSPORT_CLOSED) {
                struct hf_bytes reason = transport_reason(s->transport);
                o->closed++;
                assert_int_equal(hf_buf_append(&o->reason, reason.data, reason.size), 0);
            }
        } while (event != HF_TRANSPORT_NOTHING);
        free(copy);
    }
}

static void outcome_free(struct outcome *o)
{
    hf_buf_free(&o->all);
    hf_buf_free(&o->reason);
}

static void deliver(struct server *s, struct outcome *o)
{
    struct hf_buf bytes = deliverable(s);
    give(s, bytes.data, bytes.size, o);
    hf_buf_free(&bytes);
}

/* Until the server's side of TLS is done or nothing moves; whether it is done. */
static bool shake_hands(struct server *s, struct outcome *o)
{
    for (int i = 0; i < 10 && !o->result; i++) {
        fetch(s);
        int done = SSL_do_handshake(s->ssl);
        deliver(s, o);
        if (done == 1)
            return true;
    }
    return false;
}

static size_t hear(struct server *s, uint8_t *to, size_t size)
{
    size_t got = 0, all = 0;
    fetch(s);
    while (all < size && SSL_read_ex(s->ssl, to + all, size - all, &got) == 1)
        all += got;
    return all;
}

static void say(struct server *s, const void *data, size_t size)
{
    size_t put;
    if (size > 0)
        assert_int_equal(SSL_write_ex(s->ssl, data, size, &put), 1);
}

/* A frame as a server sends it. */
static void say_frame(struct server *s, uint8_t first, const void *data, size_t size)
{
    uint8_t head[10] = {first};
    size_t wide = size < 126 ? 0 : size <= UINT16_MAX ? 2 : 8;
    head[1] = (uint8_t)(wide == 0 ? size : wide == 2 ? 126 : 127);
    for (size_t i = 0; i < wide; i++)
        head[2 + i] = (uint8_t)((uint64_t)size >> (8 * (wide - 1 - i)));
    say(s, head, 2 + wide);
    say(s, data, size);
}

static void say_response(struct server *s, const char *request)
{
    char text[512];
    uint8_t sum[EVP_MAX_MD_SIZE], accept[64];
    unsigned size;
    const char *key = strstr(request, "Sec-WebSocket-Key: ");
    assert_non_null(key);
    snprintf(text, sizeof(text), "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key + 19);
    assert_int_equal(EVP_Digest(text, strlen(text), sum, &size, EVP_sha1(), NULL), 1);
    EVP_EncodeBlock(accept, sum, (int)size);
    snprintf(text, sizeof(text),
             "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: " HF_PROTO_SUBPROTOCOL "\r\n\r\n",
             (char *)accept);
    say(s, text, strlen(text));
}

static void hear_request(struct server *s, char *request, size_t size)
{
    size_t got = hear(s, (uint8_t *)request, size - 1);
    request[got] = '\0';
    assert_non_null(strstr(request, "\r\n\r\n"));
}

static void open_session(struct server *s, struct outcome *o)
{
    char request[2048];
    server_listen(s);
    assert_true(shake_hands(s, o));
    assert_int_equal(o->result, 0);
    hear_request(s, request, sizeof(request));
    assert_int_equal(o->opened, 0);
    say_response(s, request);
    deliver(s, o);
    assert_int_equal(o->result, 0);
    assert_int_equal(o->opened, 1);
}

/* The next frame of the agent, unmasked into to; its first byte. */
static uint8_t hear_frame(struct server *s, uint8_t *to, size_t *size)
{
    uint8_t head[14];
    assert_int_equal(hear(s, head, 2), 2);
    assert_int_equal(head[1] & 0x80, 0x80);
    size_t wide = (head[1] & 0x7f) == 126 ? 2 : (head[1] & 0x7f) == 127 ? 8 : 0;
    assert_int_equal(hear(s, head + 2, wide + 4), wide + 4);
    *size = wide ? 0 : head[1] & 0x7f;
    for (size_t i = 0; i < wide; i++)
        *size = *size << 8 | head[2 + i];
    assert_int_equal(hear(s, to, *size), *size);
    for (size_t i = 0; i < *size; i++)
        to[i] ^= head[2 + wide + i % 4];
    return head[0];
}

static void messages_go_both_ways_whatever_the_pieces(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 125, 126, 4095, 16384, 65535, 65536, HF_FRAME_MAX_BYTES};
    static const size_t pieces[] = {0, 1021, 7, 16384, 1};
    static const char *const names[] = {NAME, "::1"};
    uint8_t *data = malloc(HF_FRAME_MAX_BYTES), *heard = malloc(HF_FRAME_MAX_BYTES);
    uint8_t *room = malloc(HF_TRANSPORT_HEADROOM_BYTES + HF_FRAME_MAX_BYTES);
    for (size_t i = 0; i < HF_FRAME_MAX_BYTES; i++)
        data[i] = (uint8_t)(i * 11 + (i >> 8));
    for (size_t p = 0; p < 2 * sizeof(pieces) / sizeof(pieces[0]); p++) {
        struct server s;
        struct outcome o = {0};
        server_begin(&s, &good_wish, names[p % 2]);
        if (p % 2)
            SSL_CTX_set_max_proto_version(s.context, TLS1_2_VERSION);
        s.piece = pieces[p / 2];
        open_session(&s, &o);
        assert_string_equal(SSL_get_version(s.ssl), p % 2 ? "TLSv1.2" : "TLSv1.3");
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            size_t size = sizes[i];
            o.messages = 0;
            hf_buf_clear(&o.all);
            say_frame(&s, 0x82, data, size);
            deliver(&s, &o);
            assert_int_equal(o.result, 0);
            assert_int_equal(o.messages, 1);
            assert_int_equal(o.all.size, size);
            assert_memory_equal(o.all.data, data, size);
            memcpy(room + HF_TRANSPORT_HEADROOM_BYTES, data, size);
            assert_int_equal(
                transport_send(s.transport, room + HF_TRANSPORT_HEADROOM_BYTES, size, &o.error), 0);
            size_t got;
            assert_int_equal(hear_frame(&s, heard, &got), 0x82);
            assert_int_equal(got, size);
            assert_memory_equal(heard, data, size);
        }
        say_frame(&s, 0x82, "", 0);
        deliver(&s, &o);
        assert_int_equal(o.messages, 2);
        say_frame(&s, 0x82, data, HF_FRAME_MAX_BYTES);
        s.piece = 0;
        say_frame(&s, 0x02, data, HF_FRAME_MAX_BYTES);
        say_frame(&s, 0x80, data, 1); /* and not a byte more */
        deliver(&s, &o);
        assert_int_equal(o.messages, 3);
        assert_int_equal(o.result, HF_ERR_LIMIT);
        outcome_free(&o);
        server_end(&s);
    }
    free(data);
    free(heard);
    free(room);
}

static void what_comes_with_the_answer_is_not_lost(void **state)
{
    (void)state;
    static const size_t pieces[] = {0, 1};
    for (size_t i = 0; i < 2; i++) {
        struct server s;
        struct outcome o = {0};
        char request[2048];
        server_begin(&s, &good_wish, NAME);
        server_listen(&s);
        s.piece = pieces[i];
        assert_true(shake_hands(&s, &o));
        hear_request(&s, request, sizeof(request));
        say_response(&s, request);
        say_frame(&s, 0x82, "one", 3);
        say_frame(&s, 0x82, "two", 3);
        deliver(&s, &o);
        assert_int_equal(o.result, 0);
        assert_int_equal(o.opened, 1);
        assert_int_equal(o.messages, 2);
        assert_memory_equal(o.all.data, "onetwo", 6);
        outcome_free(&o);
        server_end(&s);
    }
}

static void what_was_sent_in_parts_arrives_whole(void **state)
{
    (void)state;
    static uint8_t room[HF_TRANSPORT_HEADROOM_BYTES + 100000], heard[100000];
    struct server s;
    struct outcome o = {0};
    server_begin(&s, &good_wish, NAME);
    open_session(&s, &o);
    for (size_t i = 0; i < 100000; i++)
        room[HF_TRANSPORT_HEADROOM_BYTES + i] = (uint8_t)(i * 3);
    assert_int_equal(
        transport_send(s.transport, room + HF_TRANSPORT_HEADROOM_BYTES, 100000, &o.error), 0);
    size_t first = transport_outgoing(s.transport).size, all = 0;
    for (size_t part = 1; transport_outgoing(s.transport).size > 0; part = part * 2 + 1) {
        struct hf_bytes out = transport_outgoing(s.transport);
        size_t size = part < out.size ? part : out.size;
        assert_int_equal(BIO_write(s.in, out.data, (int)size), size);
        transport_sent(s.transport, size);
        all += size;
    }
    assert_int_equal(all, first);
    size_t got;
    assert_int_equal(hear_frame(&s, heard, &got), 0x82);
    assert_int_equal(got, 100000);
    for (size_t i = 0; i < got; i++)
        assert_int_equal(heard[i], (uint8_t)(i * 3));
    outcome_free(&o);
    server_end(&s);
}

static void a_ping_is_answered_with_its_own_words(void **state)
{
    (void)state;
    struct server s;
    struct outcome o = {0};
    uint8_t words[125], heard[200];
    size_t got;
    memset(words, 'p', sizeof(words));
    server_begin(&s, &good_wish, NAME);
    open_session(&s, &o);
    say_frame(&s, 0x89, words, sizeof(words));
    say_frame(&s, 0x89, "", 0);
    say_frame(&s, 0x8a, "unasked", 7);
    deliver(&s, &o);
    assert_int_equal(hear_frame(&s, heard, &got), 0x8a);
    assert_int_equal(got, sizeof(words));
    assert_memory_equal(heard, words, sizeof(words));
    assert_int_equal(hear_frame(&s, heard, &got), 0x8a);
    assert_int_equal(got, 0);
    assert_int_equal(fetch(&s), 0);
    assert_int_equal(transport_ping(s.transport, &o.error), 0);
    assert_int_equal(hear_frame(&s, heard, &got), 0x89);
    assert_int_equal(got, 0);
    outcome_free(&o);
    server_end(&s);
}

static void a_flood_of_pings_is_answered_as_far_as_it_is_read_and_at_last(void **state)
{
    (void)state;
    struct server s;
    struct outcome o = {0};
    uint8_t heard[200];
    size_t got, pongs = 0;
    server_begin(&s, &good_wish, NAME);
    open_session(&s, &o);
    for (unsigned i = 0; i < 10000; i++) {
        char words[16];
        snprintf(words, sizeof(words), "%05u", i);
        say_frame(&s, 0x89, words, 5);
    }
    deliver(&s, &o);
    assert_int_equal(o.result, 0);
    assert_in_range(transport_outgoing(s.transport).size, 1, 8192);
    fetch(&s);
    do {
        assert_int_equal(hear_frame(&s, heard, &got), 0x8a);
        assert_int_equal(got, 5);
        assert_true(++pongs < 1000);
    } while (memcmp(heard, "09999", 5) != 0);
    assert_int_equal(fetch(&s), 0);
    outcome_free(&o);
    server_end(&s);
}

static void who_asks_for_new_keys_for_ever_and_reads_nothing_is_left(void **state)
{
    (void)state;
    struct server s;
    struct outcome o = {0};
    server_begin(&s, &good_wish, NAME);
    open_session(&s, &o);
    for (unsigned asked = 0; !o.result && asked < 200000; asked++) {
        assert_int_equal(SSL_key_update(s.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
        say_frame(&s, 0x82, "x", 1);
        deliver(&s, &o);
        assert_in_range(transport_outgoing(s.transport).size, 0, 2 * HF_FRAME_MAX_BYTES + 65536);
    }
    assert_int_equal(o.result, HF_ERR_LIMIT);
    assert_true(o.messages > 10);
    outcome_free(&o);
    server_end(&s);
}

static void after_new_keys_both_ways_go_on(void **state)
{
    (void)state;
    struct server s;
    struct outcome o = {0};
    uint8_t room[HF_TRANSPORT_HEADROOM_BYTES + 3] = {0}, heard[8];
    size_t got;
    server_begin(&s, &good_wish, NAME);
    open_session(&s, &o);
    for (unsigned i = 1; i <= 3; i++) {
        assert_int_equal(SSL_key_update(s.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
        say_frame(&s, 0x82, "new", 3);
        deliver(&s, &o);
        assert_int_equal(o.result, 0);
        assert_int_equal(o.messages, i);
        memset(room + HF_TRANSPORT_HEADROOM_BYTES, 'o', 3);
        assert_int_equal(
            transport_send(s.transport, room + HF_TRANSPORT_HEADROOM_BYTES, 3, &o.error), 0);
        assert_int_equal(hear_frame(&s, heard, &got), 0x82);
        assert_memory_equal(heard, "ooo", 3);
    }
    outcome_free(&o);
    server_end(&s);
}

static void who_asks_for_a_renegotiation_gets_none_and_who_asks_for_ever_is_left(void **state)
{
    (void)state;
    struct server s;
    struct outcome o = {0};
    unsigned asked = 0;
    server_begin(&s, &good_wish, NAME);
    SSL_CTX_set_max_proto_version(s.context, TLS1_2_VERSION);
    open_session(&s, &o);
    for (; !o.result && asked < 200000; asked++) {
        assert_int_equal(SSL_renegotiate(s.ssl), 1);
        SSL_do_handshake(s.ssl);
        say_frame(&s, 0x82, "x", 1);
        deliver(&s, &o); /* nothing is read: every no waits */
        assert_in_range(transport_outgoing(s.transport).size, 1, 2 * HF_FRAME_MAX_BYTES + 65536);
    }
    assert_int_equal(o.result, HF_ERR_LIMIT);
    assert_true(asked > 10);
    outcome_free(&o);
    server_end(&s);
}

static void a_session_is_closed_by_either_end_and_nothing_is_sent_after(void **state)
{
    (void)state;
    struct server s;
    struct outcome o = {0};
    uint8_t heard[200], room[HF_TRANSPORT_HEADROOM_BYTES + 4] = {0};
    size_t got;
    server_begin(&s, &good_wish, NAME);
    open_session(&s, &o);
    assert_false(transport_is_closed(s.transport));
    assert_int_equal(transport_close(s.transport, &o.error), 0);
    assert_true(transport_is_closed(s.transport));
    size_t size = transport_outgoing(s.transport).size;
    assert_int_equal(transport_close(s.transport, &o.error), 0);
    assert_int_equal(transport_ping(s.transport, &o.error), 0);
    assert_int_equal(transport_send(s.transport, room + HF_TRANSPORT_HEADROOM_BYTES, 4, &o.error),
                     HF_ERR_CLOSED);
    assert_int_equal(transport_outgoing(s.transport).size, size);
    assert_int_equal(hear_frame(&s, heard, &got), 0x88);
    assert_int_equal(got, 2);
    assert_memory_equal(heard, "\x03\xe8", 2);
    assert_int_equal(hear(&s, heard, 1), 0);
    assert_int_equal(SSL_get_shutdown(s.ssl), SSL_RECEIVED_SHUTDOWN);
    say_frame(&s, 0x89, "ping", 4); /* too late for an answer */
    say_frame(&s, 0x82, "late", 4);
    say_frame(&s, 0x88, "\x03\xe8good-bye", 10);
    SSL_shutdown(s.ssl);
    struct hf_buf bytes = deliverable(&s);
    transport_give(s.transport, bytes.data, bytes.size);
    enum hf_transport_event event;
    assert_int_equal(transport_next(s.transport, &event, &o.error), 0);
    assert_int_equal(event, HF_TRANSPORT_MESSAGE);
    struct hf_buf message = transport_message(s.transport);
    assert_memory_equal(message.data, "late", 4);
    hf_buf_free(&message);
    assert_int_equal(transport_next(s.transport, &event, &o.error), 0);
    assert_int_equal(event, HF_TRANSPORT_CLOSED);
    assert_int_equal(transport_reason(s.transport).size, 8);
    assert_memory_equal(transport_reason(s.transport).data, "good-bye", 8);
    assert_int_equal(transport_next(s.transport, &event, &o.error), HF_ERR_CLOSED);
    assert_int_equal(transport_next(s.transport, &event, &o.error), HF_ERR_CLOSED);
    assert_int_equal(transport_outgoing(s.transport).size, 0);
    hf_buf_free(&bytes);
    outcome_free(&o);
    server_end(&s);
}

static void a_close_without_a_reason_and_the_end_of_tls_alone_are_ends(void **state)
{
    (void)state;
    struct server s;
    struct outcome o = {0};
    server_begin(&s, &good_wish, NAME);
    open_session(&s, &o);
    say_frame(&s, 0x88, "", 0);
    deliver(&s, &o);
    assert_int_equal(o.closed, 1);
    assert_int_equal(o.reason.size, 0);
    SSL_shutdown(s.ssl);
    deliver(&s, &o);
    assert_int_equal(o.result, HF_ERR_CLOSED);
    assert_int_equal(transport_close(s.transport, NULL), HF_ERR_CLOSED);
    outcome_free(&o);
    server_end(&s);
}

/* An alert is outgoing: a record of kind 21, or one of kind 23 where all is encrypted already. */
static void assert_alert(struct server *s)
{
    struct hf_bytes out = transport_outgoing(s->transport);
    assert_true(out.size > 5);
    assert_true(out.data[0] == 21 || out.data[0] == 23 || out.data[0] == 20);
    fetch(s);
    assert_true(SSL_do_handshake(s->ssl) <= 0);
    assert_true(ERR_GET_REASON(ERR_peek_last_error()) > SSL_AD_REASON_OFFSET);
    ERR_clear_error();
}

static void a_collector_whose_certificate_is_not_good_is_told_so(void **state)
{
    (void)state;
    static const struct {
        struct certificate_wish wish;
        const char *name, *words;
        bool stranger;
    } cases[] = {
        {{"collector", "DNS:" NAME, "serverAuth", -60, 3600}, "other.example", "name", false},
        {{NAME, "DNS:elsewhere.example", "serverAuth", -60, 3600}, NAME, "name", false},
        {{"collector", "IP:::2", "serverAuth", -60, 3600}, "::1", "IP address mismatch", false},
        {{"collector", "DNS:" NAME, "serverAuth", -7200, -3600}, NAME, "expired", false},
        {{"collector", "DNS:" NAME, "serverAuth", 3600, 7200}, NAME, "not yet valid", false},
        {{"collector", "DNS:" NAME, "clientAuth", -60, 3600}, NAME, "purpose", false},
        {{"collector", "DNS:" NAME, "serverAuth", -60, 3600}, NAME, "authority", true},
    };
    for (size_t i = 0; i < 2 * sizeof(cases) / sizeof(cases[0]); i++) {
        struct server s;
        struct outcome o = {0};
        server_begin(&s, &cases[i / 2].wish, cases[i / 2].name);
        SSL_CTX_set_max_proto_version(s.context, i % 2 ? TLS1_2_VERSION : TLS1_3_VERSION);
        if (cases[i / 2].stranger) {
            struct authority other = authority_new(s.files->server); /* any file */
            authority_issue(&other, s.files->server, &cases[i / 2].wish);
            SSL_CTX_use_certificate_file(s.context, s.files->server, SSL_FILETYPE_PEM);
            SSL_CTX_use_PrivateKey_file(s.context, s.files->server, SSL_FILETYPE_PEM);
            authority_free(&other);
        }
        server_listen(&s);
        assert_false(shake_hands(&s, &o));
        assert_int_equal(o.result, HF_ERR_DENIED);
        assert_int_equal(o.opened, 0);
        assert_non_null(strstr(o.error.message, "the collector's certificate is not good"));
        assert_non_null(strstr(o.error.message, cases[i / 2].words));
        assert_alert(&s);
        enum hf_transport_event event;
        assert_int_equal(transport_next(s.transport, &event, &o.error), HF_ERR_CLOSED);
        outcome_free(&o);
        server_end(&s);
    }
}

static void a_certificate_of_ours_that_is_refused_is_told(void **state)
{
    (void)state;
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        struct server s;
        struct outcome o = {0};
        server_begin(&s, &good_wish, NAME);
        SSL_CTX_set_max_proto_version(s.context, version);
        X509_STORE *nobody = X509_STORE_new();
        SSL_CTX_set_cert_store(s.context, nobody);
        server_listen(&s);
        assert_false(shake_hands(&s, &o));
        assert_int_equal(o.result, HF_ERR_DENIED);
        assert_non_null(strstr(o.error.message, "the other end ended TLS: "));
        assert_int_equal(o.opened, 0);
        outcome_free(&o);
        server_end(&s);
    }
}

static void a_server_of_old_tls_is_refused(void **state)
{
    (void)state;
    struct server s;
    struct outcome o = {0};
    server_begin(&s, &good_wish, NAME);
    SSL_CTX_set_security_level(s.context, 0);
    assert_int_equal(SSL_CTX_set_min_proto_version(s.context, TLS1_VERSION), 1);
    assert_int_equal(SSL_CTX_set_max_proto_version(s.context, TLS1_1_VERSION), 1);
    server_listen(&s);
    assert_false(shake_hands(&s, &o));
    assert_true(o.result == HF_ERR_DENIED || o.result == HF_ERR_PROTOCOL);
    assert_int_equal(o.opened, 0);
    outcome_free(&o);
    server_end(&s);
}

static void what_is_no_tls_is_refused(void **state)
{
    (void)state;
    static const char record[] = "\x17\x03\x03\x10\x10 encrypted already?";
    static const char *const rubbish[] = {"HTTP/1.1 400 Bad Request\r\n\r\n", "SSH-2.0-OpenSSH\r\n",
                                          record,
                                          "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"};
    for (size_t i = 0; i < sizeof(rubbish) / sizeof(rubbish[0]); i++) {
        struct server s;
        struct outcome o = {0};
        uint8_t more[20000];
        memset(more, 'x', sizeof(more));
        server_begin(&s, &good_wish, NAME);
        s.piece = i % 2;
        give(&s, (const uint8_t *)rubbish[i], strlen(rubbish[i]), &o);
        give(&s, more, sizeof(more), &o);
        assert_int_equal(o.result, HF_ERR_PROTOCOL);
        assert_non_null(strstr(o.error.message, "TLS failed: "));
        outcome_free(&o);
        server_end(&s);
    }
}

static void what_is_cut_or_changed_on_its_way_is_never_a_message(void **state)
{
    (void)state;
    static uint8_t data[40000];
    struct server s;
    struct outcome o = {0};
    for (size_t at = 0; at < 41000; at += 977) {
        o = (struct outcome){0};
        server_begin(&s, &good_wish, NAME);
        open_session(&s, &o);
        say_frame(&s, 0x82, data, sizeof(data));
        struct hf_buf bytes = deliverable(&s);
        size_t place = at < bytes.size ? at : bytes.size - 1;
        give(&s, bytes.data, place, &o); /* cut: waited for */
        assert_int_equal(o.result, 0);
        assert_int_equal(o.messages, 0);
        bytes.data[place] ^= 1;
        give(&s, bytes.data + place, bytes.size - place, &o);
        give(&s, data, sizeof(data), &o);
        assert_int_equal(o.result, HF_ERR_PROTOCOL);
        assert_int_equal(o.messages, 0);
        hf_buf_free(&bytes);
        outcome_free(&o);
        server_end(&s);
    }
}

static void an_answer_that_is_a_refusal_is_quoted(void **state)
{
    (void)state;
    struct server s;
    struct outcome o = {0};
    char request[2048];
    static const char answer[] = "HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nno\n";
    server_begin(&s, &good_wish, NAME);
    server_listen(&s);
    assert_true(shake_hands(&s, &o));
    hear_request(&s, request, sizeof(request));
    say(&s, answer, strlen(answer));
    deliver(&s, &o);
    assert_int_equal(o.result, HF_ERR_PROTOCOL);
    assert_non_null(strstr(o.error.message, "HTTP/1.1 403 Forbidden"));
    assert_int_equal(o.opened, 0);
    assert_int_equal(transport_close(s.transport, NULL), 0); /* nothing that could be closed */
    assert_int_equal(fetch(&s), 0);
    outcome_free(&o);
    server_end(&s);
}

static void a_host_that_is_no_name_is_refused(void **state)
{
    (void)state;
    static char long_name[400];
    struct server s;
    struct hf_transport *transport;
    struct hf_error error = {0};
    memset(long_name, 'a', sizeof(long_name) - 1);
    server_begin(&s, &good_wish, NAME);
    assert_int_equal(transport_new(s.credentials, "", 1, &transport, &error), HF_ERR_INVALID);
    assert_int_equal(transport_new(s.credentials, long_name, 1, &transport, &error),
                     HF_ERR_INVALID);
    server_end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_go_both_ways_whatever_the_pieces),
        cmocka_unit_test(what_comes_with_the_answer_is_not_lost),
        cmocka_unit_test(what_was_sent_in_parts_arrives_whole),
        cmocka_unit_test(a_ping_is_answered_with_its_own_words),
        cmocka_unit_test(a_flood_of_pings_is_answered_as_far_as_it_is_read_and_at_last),
        cmocka_unit_test(who_asks_for_new_keys_for_ever_and_reads_nothing_is_left),
        cmocka_unit_test(after_new_keys_both_ways_go_on),
        cmocka_unit_test(who_asks_for_a_renegotiation_gets_none_and_who_asks_for_ever_is_left),
        cmocka_unit_test(a_session_is_closed_by_either_end_and_nothing_is_sent_after),
        cmocka_unit_test(a_close_without_a_reason_and_the_end_of_tls_alone_are_ends),
        cmocka_unit_test(a_collector_whose_certificate_is_not_good_is_told_so),
        cmocka_unit_test(a_certificate_of_ours_that_is_refused_is_told),
        cmocka_unit_test(a_server_of_old_tls_is_refused),
        cmocka_unit_test(what_is_no_tls_is_refused),
        cmocka_unit_test(what_is_cut_or_changed_on_its_way_is_never_a_message),
        cmocka_unit_test(an_answer_that_is_a_refusal_is_quoted),
        cmocka_unit_test(a_host_that_is_no_name_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
