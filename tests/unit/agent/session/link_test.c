#include "fake_collector.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>
#include <sys/socket.h>

#include "agent/session/link.h"
#include "common/bytes.h"
#include "common/clock.h"
#include "common/log.h"

struct host {
    struct hf_queue *shipping, *restoring;
    struct hf_link *link;
    pthread_t thread;
};

static void *run_link(void *context)
{
    link_run(context);
    return NULL;
}

/* Of options, what isn't about this host and this collector. */
static void host_start_so(struct host *host, struct collector *c, const char *name,
                          struct hf_link_options options)
{
    struct hf_error error = {0};
    host->shipping = hf_queue_new();
    host->restoring = hf_queue_new();
    options.host = name;
    options.port = c->port;
    options.agent_pem_path = c->agent;
    options.ca_pem_path = c->root;
    options.shipping = host->shipping;
    options.restoring = host->restoring;
    assert_int_equal(link_new(&options, &host->link, &error), 0);
    lws_set_log_level(0, NULL);
    assert_int_equal(pthread_create(&host->thread, NULL, run_link, host->link), 0);
}

static void host_start(struct host *host, struct collector *c, const char *name)
{
    host_start_so(host, c, name, (struct hf_link_options){0});
}

static void host_stop(struct host *host)
{
    link_stop(host->link);
    pthread_join(host->thread, NULL);
    link_free(host->link);
    hf_queue_free(host->shipping, link_event_release);
    hf_queue_free(host->restoring, link_event_release);
}

static struct hf_link_event *next(struct hf_queue *inbox, int timeout_ms)
{
    return (struct hf_link_event *)(void *)hf_queue_pop(inbox, timeout_ms);
}

/* The next event, which is of that kind; its connection. */
static uint64_t expect(struct hf_queue *inbox, enum hf_link_event_kind kind)
{
    struct hf_link_event *event = next(inbox, 20000);
    assert_non_null(event);
    assert_int_equal(event->kind, kind);
    uint64_t connection = event->connection;
    link_event_free(event);
    return connection;
}

static void assert_refused(struct collector *c, const char *name)
{
    struct host host;
    host_start(&host, c, name);
    assert_null(next(host.shipping, 1500)); /* time for several attempts */
    assert_int_equal(atomic_load(&c->connections), 0);
    host_stop(&host);
}

static void a_collector_is_greeted_by_name_and_by_address(void **state)
{
    (void)state;
    static const char *const names[] = {"localhost", "127.0.0.1"};
    for (size_t i = 0; i < 2; i++) {
        struct collector *c = collector_new();
        struct host host;
        struct hf_frame hello;
        collector_start(c);
        host_start(&host, c, names[i]);
        expect(host.shipping, HF_LINK_OPENED);
        expect(host.restoring, HF_LINK_OPENED);
        struct hf_message *message = collector_next(c, &hello);
        assert_int_equal(hello.type, HF_FRAME_HELLO);
        assert_int_equal(hello.hello.instance.size, HF_INSTANCE_BYTES);
        proto_frame_free(&hello);
        message_free(message);
        host_stop(&host);
        message = collector_next(c, &hello); /* says good-bye */
        assert_int_equal(hello.type, HF_FRAME_GOAWAY);
        proto_frame_free(&hello);
        message_free(message);
        collector_free(c);
    }
}

static void both_threads_hear_how_content_is_cut_before_anything_else(void **state)
{
    (void)state;
    struct collector *c = collector_new();
    struct host host;
    collector_start(c);
    host_start(&host, c, "localhost");
    struct hf_queue *inboxes[] = {host.shipping, host.restoring};
    for (size_t i = 0; i < 2; i++) {
        struct hf_link_event *event = next(inboxes[i], 20000);
        assert_non_null(event);
        assert_int_equal(event->kind, HF_LINK_OPENED);
        assert_memory_equal(event->chunking, COLLECTOR_CHUNKING, HF_CHUNKING_BYTES);
        link_event_free(event);
    }
    host_stop(&host);
    collector_free(c);
}

static void a_collector_of_another_authority_is_refused(void **state)
{
    (void)state;
    struct collector *c = collector_new();
    char other[96];
    snprintf(other, sizeof(other), "%s/other.pem", c->directory);
    struct authority stranger = authority_new(other);
    struct certificate_wish wish = {.common_name = "collector",
                                    .san = "DNS:localhost",
                                    .usage = "serverAuth",
                                    .begins_s = -60,
                                    .ends_s = 3600};
    authority_issue(&stranger, c->server, &wish);
    collector_start(c);
    assert_refused(c, "localhost");
    unlink(other);
    authority_free(&stranger);
    collector_free(c);
}

static void an_authority_that_only_the_system_trusts_is_refused(void **state)
{
    (void)state;
    struct collector *c = collector_new();
    char other[96];
    snprintf(other, sizeof(other), "%s/other.pem", c->directory);
    struct authority stranger = authority_new(other);
    struct certificate_wish wish = {.common_name = "collector",
                                    .san = "DNS:localhost",
                                    .usage = "serverAuth",
                                    .begins_s = -60,
                                    .ends_s = 3600};
    authority_issue(&stranger, c->server, &wish);
    setenv("SSL_CERT_FILE", other, 1);
    collector_start(c);
    assert_refused(c, "localhost");
    unsetenv("SSL_CERT_FILE");
    unlink(other);
    authority_free(&stranger);
    collector_free(c);
}

static void a_collector_with_a_wrong_certificate_is_refused(void **state)
{
    (void)state;
    static const struct certificate_wish wishes[] = {
        {"localhost", "DNS:elsewhere.example", "serverAuth", -60, 3600}, /* the name */
        {"collector", "DNS:localhost", "serverAuth", -7200, -3600},      /* expired */
        {"collector", "DNS:localhost", "serverAuth", 3600, 7200},        /* not yet valid */
        {"collector", "DNS:localhost", "clientAuth", -60, 3600},         /* an agent's */
    };
    for (size_t i = 0; i < sizeof(wishes) / sizeof(wishes[0]); i++) {
        struct collector *c = collector_new();
        authority_issue(&c->authority, c->server, &wishes[i]);
        collector_start(c);
        assert_refused(c, "localhost");
        collector_free(c);
    }
}

static void frames_reach_the_inbox_of_their_business(void **state)
{
    (void)state;
    struct collector *c = collector_new();
    struct host host;
    collector_start(c);
    host_start(&host, c, "localhost");
    expect(host.shipping, HF_LINK_OPENED);
    expect(host.restoring, HF_LINK_OPENED);
    struct hf_frame frames[] = {
        {.type = HF_FRAME_SOURCE_STATE, .source_state = {.stream = 1, .version_seq = 5}},
        {.type = HF_FRAME_RESTORE_CANCEL, .cancel = {.job = 9}},
        {.type = HF_FRAME_CREDIT, .credit = {.total_bytes = 1 << 21}},
    };
    for (size_t i = 0; i < 3; i++)
        collector_send(c, &frames[i]);
    struct hf_link_event *event = next(host.shipping, 20000);
    assert_int_equal(event->frame.type, HF_FRAME_SOURCE_STATE);
    assert_int_equal(event->frame.source_state.version_seq, 5);
    link_event_free(event);
    event = next(host.restoring, 20000);
    assert_int_equal(event->frame.type, HF_FRAME_RESTORE_CANCEL);
    link_event_free(event);
    host_stop(&host);
    collector_free(c);
}

/* A frame of bulk with one chunk of so many bytes; until the next call. */
static const struct hf_frame *bulk_of(size_t size)
{
    static uint8_t data[256 * 1024], ref[HF_CHUNK_REF_BYTES];
    static struct hf_block block;
    static struct hf_frame frame;
    assert_true(size <= sizeof(data));
    hf_put_le32(ref + HF_HASH_BYTES, (uint32_t)size);
    block = (struct hf_block){.chunks = {ref, sizeof(ref)}, .data = {data, size}};
    frame = (struct hf_frame){.type = HF_FRAME_CHUNKS, .chunks = {.blocks = &block, .count = 1}};
    return &frame;
}

static void bulk_waits_for_credit_and_says_when_there_is_room(void **state)
{
    (void)state;
    const size_t size = 256 * 1024;
    struct collector *c = collector_new();
    struct host host;
    const struct hf_frame *frame = bulk_of(size);
    collector_start(c);
    host_start(&host, c, "localhost");
    uint64_t connection = expect(host.shipping, HF_LINK_OPENED);
    assert_int_equal(link_send(host.link, connection + 1, frame), HF_ERR_CLOSED);
    for (int i = 0; i < 20; i++) /* 5 MiB against a credit of 1 */
        assert_int_equal(link_send(host.link, connection, frame), 0);
    assert_true(link_bulk_full(host.link, HF_LINK_BULK));
    usleep(300000);
    assert_true(atomic_load(&c->bytes) <= 1 << 20);
    assert_true(atomic_load(&c->bytes) > 0);
    struct hf_frame credit = {.type = HF_FRAME_CREDIT, .credit = {.total_bytes = 1 << 24}};
    collector_send(c, &credit);
    expect(host.shipping, HF_LINK_ROOM);
    for (int i = 0; i < 200 && atomic_load(&c->bytes) < 20 * size; i++)
        usleep(50000);
    assert_true(atomic_load(&c->bytes) >= 20 * size);
    assert_false(link_bulk_full(host.link, HF_LINK_BULK));
    host_stop(&host);
    collector_free(c);
}

static void with_a_limit_bulk_goes_on_by_itself_and_what_is_urgent_before_it(void **state)
{
    (void)state;
    const size_t size = 100 * 1024;
    enum { COUNT = 12, LIMIT = 1000000 };
    struct collector *c = collector_new();
    struct host host;
    struct hf_frame got = {0};
    const struct hf_frame *frame = bulk_of(size);
    collector_start(c);
    host_start_so(&host, c, "localhost", (struct hf_link_options){.upload_limit = LIMIT});
    uint64_t connection = expect(host.shipping, HF_LINK_OPENED);
    struct hf_frame credit = {.type = HF_FRAME_CREDIT, .credit = {.total_bytes = 1 << 24}};
    collector_send(c, &credit);
    struct hf_message *message = collector_next(c, &got); /* HELLO */
    proto_frame_free(&got);
    message_free(message);
    int64_t began_ns = hf_clock_monotonic_ns();
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(link_send(host.link, connection, frame), 0);
    assert_true(link_bulk_full(host.link, HF_LINK_BULK)); /* half a second's worth */
    assert_false(link_bulk_full(host.link, HF_LINK_URGENT));
    assert_int_equal(link_send_urgent(host.link, connection, bulk_of(7)), 0);
    int urgent_at = -1;
    for (int i = 0; i <= COUNT; i++) {
        message = collector_next(c, &got);
        assert_int_equal(got.type, HF_FRAME_CHUNKS);
        if (got.chunks.blocks[0].data.size == 7)
            urgent_at = i;
        proto_frame_free(&got);
        message_free(message);
    }
    int64_t took_ns = hf_clock_monotonic_ns() - began_ns;
    assert_in_range(urgent_at, 0, COUNT / 2); /* behind what was in the socket already */
    /* A limit is a limit, however slow or fast this machine is. */
    assert_true((double)(COUNT * size) <=
                LIMIT * ((double)took_ns / 1e9 + (double)HF_PACE_BURST_NS / 1e9) + (double)size);
    host_stop(&host);
    collector_free(c);
}

static void a_cut_connection_comes_back_with_another_number(void **state)
{
    (void)state;
    struct collector *c = collector_new();
    struct host host;
    collector_start(c);
    host_start(&host, c, "localhost");
    uint64_t first = expect(host.shipping, HF_LINK_OPENED);
    collector_hang_up(c);
    assert_int_equal(expect(host.shipping, HF_LINK_CLOSED), first);
    uint64_t second = expect(host.shipping, HF_LINK_OPENED);
    assert_true(second > first);
    collector_stop(c); /* as if killed */
    assert_int_equal(expect(host.shipping, HF_LINK_CLOSED), second);
    collector_start(c);
    assert_true(expect(host.shipping, HF_LINK_OPENED) > second);
    host_stop(&host);
    collector_free(c);
}

static void going_away_is_obeyed_for_as_long_as_asked(void **state)
{
    (void)state;
    struct collector *c = collector_new();
    struct host host;
    collector_start(c);
    host_start(&host, c, "localhost");
    expect(host.shipping, HF_LINK_OPENED);
    int64_t before = hf_clock_monotonic_ns();
    struct hf_frame frame = {.type = HF_FRAME_GOAWAY,
                             .refusal = {.code = HF_WIRE_OVERLOADED, .retry_after_ms = 1200}};
    collector_send(c, &frame);
    expect(host.shipping, HF_LINK_CLOSED);
    expect(host.shipping, HF_LINK_OPENED);
    assert_true(hf_clock_monotonic_ns() - before >= 1200 * HF_NS_PER_MS);
    host_stop(&host);
    collector_free(c);
}

static void a_renewed_certificate_is_used_at_once(void **state)
{
    (void)state;
    struct collector *c = collector_new();
    struct host host;
    collector_start(c);
    host_start(&host, c, "localhost");
    uint64_t first = expect(host.shipping, HF_LINK_OPENED);
    assert_string_equal(c->peer.ns.name, "h-0123456789abcdef");
    struct certificate_wish wish = {"h-renewed", NULL, "clientAuth", -60, 7200};
    authority_issue(&c->authority, c->agent, &wish);
    link_renew(host.link);
    assert_int_equal(expect(host.shipping, HF_LINK_CLOSED), first);
    assert_true(expect(host.shipping, HF_LINK_OPENED) > first);
    assert_string_equal(c->peer.ns.name, "h-renewed");
    host_stop(&host);
    collector_free(c);
}

static void a_certificate_renewed_while_nothing_is_connected_is_used_by_the_next_connection(
    void **state)
{
    (void)state;
    struct collector *c = collector_new();
    struct host host;
    collector_start(c);
    host_start(&host, c, "localhost");
    uint64_t first = expect(host.shipping, HF_LINK_OPENED);
    collector_stop(c);
    assert_int_equal(expect(host.shipping, HF_LINK_CLOSED), first);
    struct certificate_wish wish = {"h-renewed", NULL, "clientAuth", -60, 7200};
    authority_issue(&c->authority, c->agent, &wish);
    link_renew(host.link);
    collector_start(c);
    assert_true(expect(host.shipping, HF_LINK_OPENED) > first);
    assert_string_equal(c->peer.ns.name, "h-renewed");
    host_stop(&host);
    collector_free(c);
}

static void a_refusal_goes_to_the_thread_whose_frame_it_is_about(void **state)
{
    (void)state;
    struct collector *c = collector_new();
    struct host host;
    collector_start(c);
    host_start(&host, c, "localhost");
    expect(host.shipping, HF_LINK_OPENED);
    expect(host.restoring, HF_LINK_OPENED);
    struct hf_frame frame = {.type = HF_FRAME_ERROR, .refusal = {.code = HF_WIRE_DENIED}};
    collector_send(c, &frame); /* of a RENEW */
    expect(host.shipping, HF_LINK_FRAME);
    frame.refusal.about_seq = 7; /* of a restore */
    collector_send(c, &frame);
    expect(host.restoring, HF_LINK_FRAME);
    frame.refusal.stream = 1; /* of a source */
    collector_send(c, &frame);
    expect(host.shipping, HF_LINK_FRAME);
    host_stop(&host);
    collector_free(c);
}

static void rubbish_from_the_collector_ends_the_connection_only(void **state)
{
    (void)state;
    struct collector *c = collector_new();
    struct host host;
    collector_start(c);
    host_start(&host, c, "localhost");
    uint64_t first = expect(host.shipping, HF_LINK_OPENED);
    /* A frame that only agents send. */
    struct hf_frame frame = {.type = HF_FRAME_LIST, .list = {.stream = 1}};
    collector_send(c, &frame);
    assert_int_equal(expect(host.shipping, HF_LINK_CLOSED), first);
    uint64_t second = expect(host.shipping, HF_LINK_OPENED);
    /* Bytes that are no frame. */
    struct hf_message *message;
    assert_int_equal(message_new(&frame, 0, &message), 0);
    memset(message_data(message) + 3, 0xc1, message_size(message) - 3);
    hf_queue_push(c->to_send, &message->item);
    lws_cancel_service(c->context);
    assert_int_equal(expect(host.shipping, HF_LINK_CLOSED), second);
    expect(host.shipping, HF_LINK_OPENED);
    host_stop(&host);
    collector_free(c);
}

static void a_collector_that_reads_nothing_is_heard_all_the_same(void **state)
{
    (void)state;
    const size_t size = 256 * 1024;
    struct collector *c = collector_new();
    struct host host;
    const struct hf_frame *frame = bulk_of(size);
    atomic_store(&c->credit, 1u << 30);
    collector_start(c);
    host_start(&host, c, "localhost");
    uint64_t connection = expect(host.shipping, HF_LINK_OPENED);
    collector_heed(c, true);      /* as one does that has more than it can store */
    for (int i = 0; i < 100; i++) /* more than sockets take */
        assert_int_equal(link_send(host.link, connection, frame), 0);
    uint64_t before = atomic_load(&c->bytes);
    for (int i = 0; i < 100; i++) { /* until nothing moves any more */
        usleep(50000);
        if (before == atomic_load(&c->bytes) && i > 4)
            break;
        before = atomic_load(&c->bytes);
    }
    assert_true(before < 100 * size);
    struct hf_frame state_frame = {.type = HF_FRAME_SOURCE_STATE, .source_state = {.stream = 1}};
    collector_send(c, &state_frame);
    struct hf_link_event *event;
    do {
        event = next(host.shipping, 20000);
        assert_non_null(event);
        if (event->kind == HF_LINK_ROOM) {
            link_event_free(event);
            event = NULL;
        }
    } while (!event);
    assert_int_equal(event->kind, HF_LINK_FRAME);
    assert_int_equal(event->frame.type, HF_FRAME_SOURCE_STATE);
    link_event_free(event);
    collector_heed(c, false);
    for (int i = 0; i < 400 && atomic_load(&c->bytes) < 100 * size; i++)
        usleep(50000);
    assert_true(atomic_load(&c->bytes) >= 100 * size); /* in order, each numbered */
    host_stop(&host);
    collector_free(c);
}

/* What is logged meanwhile. */
static char *logged(int *before, bool ended)
{
    static char text[8192];
    static FILE *file;
    fflush(stderr);
    if (!ended) {
        file = tmpfile();
        assert_non_null(file);
        *before = dup(STDERR_FILENO);
        dup2(fileno(file), STDERR_FILENO);
        hf_log_set_level(HF_LOG_WARNING);
        return NULL;
    }
    hf_log_set_level(HF_LOG_ERROR);
    dup2(*before, STDERR_FILENO);
    close(*before);
    ssize_t size = pread(fileno(file), text, sizeof(text) - 1, 0);
    text[size > 0 ? size : 0] = '\0';
    fclose(file);
    return text;
}

static void a_session_that_the_collector_closes_is_told_why_and_made_anew(void **state)
{
    (void)state;
    struct collector *c = collector_new();
    struct host host;
    int log;
    c->reason = "back in a minute";
    collector_start(c);
    host_start(&host, c, "localhost");
    uint64_t first = expect(host.shipping, HF_LINK_OPENED);
    logged(&log, false);
    collector_hang_up(c);
    assert_int_equal(expect(host.shipping, HF_LINK_CLOSED), first);
    assert_true(expect(host.shipping, HF_LINK_OPENED) > first);
    assert_non_null(
        strstr(logged(&log, true), "the collector closed the session: back in a minute;"));
    host_stop(&host);
    collector_free(c);
}

/* As when its host is gone, or a firewall between has forgotten the connection: nobody hangs up. */
static void a_collector_that_falls_silent_is_left_and_tried_again(void **state)
{
    (void)state;
    struct collector *c = collector_new();
    struct host host;
    int log;
    collector_start(c);
    host_start_so(&host, c, "localhost", (struct hf_link_options){.silence_ms = 2000});
    uint64_t first = expect(host.shipping, HF_LINK_OPENED);
    logged(&log, false);
    collector_heed(c, true);
    assert_int_equal(expect(host.shipping, HF_LINK_CLOSED), first);
    collector_heed(c, false);
    assert_true(expect(host.shipping, HF_LINK_OPENED) > first);
    assert_non_null(
        strstr(logged(&log, true), "the collector has said nothing for 2 s, nor answered a ping;"));
    host_stop(&host);
    collector_free(c);
}

static void a_collector_that_has_nothing_to_say_is_pinged_and_kept(void **state)
{
    (void)state;
    struct collector *c = collector_new();
    struct host host;
    collector_start(c);
    host_start_so(&host, c, "localhost", (struct hf_link_options){.silence_ms = 8000});
    expect(host.shipping, HF_LINK_OPENED);
    assert_null(next(host.shipping, 12000)); /* longer than it could be without an answer */
    host_stop(&host);
    collector_free(c);
}

/* Somebody who takes connections and is no collector. */
static int peer_listen(struct collector *c)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int peer = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(peer, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(peer, 16), 0);
    assert_int_equal(getsockname(peer, (struct sockaddr *)&address, &size), 0);
    c->port = ntohs(address.sin_port);
    return peer;
}

/* The next connection, and the first bytes of TLS. */
static int peer_accept(int peer)
{
    struct timeval patience = {.tv_sec = 20};
    uint8_t record[2];
    int connection = accept(peer, NULL, NULL);
    assert_true(connection >= 0);
    setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    assert_int_equal(recv(connection, record, sizeof(record), MSG_WAITALL), 2);
    assert_int_equal(record[0], 22);
    return connection;
}

static void a_peer_that_takes_connections_and_says_nothing_keeps_nobody_from_stopping(void **state)
{
    (void)state;
    struct collector *c = collector_new();
    struct host host;
    int peer = peer_listen(c);
    host_start(&host, c, "localhost");
    int connection = peer_accept(peer);
    host_stop(&host);
    assert_null(c->wsi);
    close(connection);
    close(peer);
    collector_free(c);
}

static void a_peer_that_does_not_speak_tls_is_left_and_tried_again(void **state)
{
    (void)state;
    static const char *const answers[] = {"HTTP/1.1 400 This is no port for TLS\r\n\r\n",
                                          "\x15\x03\x03\x00\x02\x02\x28", /* handshake_failure */
                                          "\x16\x03\x03\x00", "SSH-2.0-x\r\n", ""};
    static const char *const words[] = {"TLS failed", "ended TLS", "was cut", "TLS failed",
                                        "was cut"};
    struct collector *c = collector_new();
    struct host host;
    int log, peer = peer_listen(c);
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        logged(&log, false);
        host_start(&host, c, "localhost");
        int connection = peer_accept(peer);
        size_t size = i == 2 ? 4 : i == 1 ? 7 : strlen(answers[i]);
        assert_int_equal(send(connection, answers[i], size, MSG_NOSIGNAL), size);
        shutdown(connection, SHUT_WR);
        uint8_t rest[4096];
        while (recv(connection, rest, sizeof(rest), 0) > 0)
            ;
        close(connection);
        connection = peer_accept(peer);
        host_stop(&host);
        close(connection);
        char *said = logged(&log, true);
        if (!strstr(said, words[i]))
            fail_msg("for answer %zu: %s", i, said);
    }
    close(peer);
    collector_free(c);
}

/* The resolver's place: a first address at which nobody answers. */
static const char *refusing;
static atomic_uint refusals;

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **result)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    int failed = real(name, service, hints, result);
    struct addrinfo *first;
    if (failed || !refusing || real(refusing, service, hints, &first))
        return failed;
    struct addrinfo *last = first;
    while (last->ai_next)
        last = last->ai_next;
    last->ai_next = *result;
    *result = first;
    atomic_fetch_add(&refusals, 1);
    return 0;
}

static void of_several_addresses_one_that_answers_is_enough(void **state)
{
    (void)state;
    static const char *const others[] = {"127.0.0.2", "::1"};
    for (size_t i = 0; i < 2; i++) {
        struct collector *c = collector_new();
        struct host host;
        collector_start(c);
        refusing = others[i];
        atomic_store(&refusals, 0);
        host_start(&host, c, "localhost");
        expect(host.shipping, HF_LINK_OPENED);
        assert_true(atomic_load(&refusals) > 0);
        host_stop(&host);
        refusing = NULL;
        collector_free(c);
    }
}

static void a_name_that_nobody_knows_is_told_and_tried_again(void **state)
{
    (void)state;
    struct collector *c = collector_new();
    struct host host;
    int log;
    c->port = 9;
    logged(&log, false);
    host_start(&host, c, "no..host");
    assert_null(next(host.shipping, 1500));
    host_stop(&host);
    char *said = logged(&log, true);
    assert_non_null(strstr(said, "no connection to the collector no..host:9: "));
    collector_free(c);
}

int main(void)
{
    hf_log_set_level(HF_LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_collector_is_greeted_by_name_and_by_address),
        cmocka_unit_test(both_threads_hear_how_content_is_cut_before_anything_else),
        cmocka_unit_test(a_collector_of_another_authority_is_refused),
        cmocka_unit_test(an_authority_that_only_the_system_trusts_is_refused),
        cmocka_unit_test(a_collector_with_a_wrong_certificate_is_refused),
        cmocka_unit_test(frames_reach_the_inbox_of_their_business),
        cmocka_unit_test(bulk_waits_for_credit_and_says_when_there_is_room),
        cmocka_unit_test(with_a_limit_bulk_goes_on_by_itself_and_what_is_urgent_before_it),
        cmocka_unit_test(a_cut_connection_comes_back_with_another_number),
        cmocka_unit_test(going_away_is_obeyed_for_as_long_as_asked),
        cmocka_unit_test(a_renewed_certificate_is_used_at_once),
        cmocka_unit_test(
            a_certificate_renewed_while_nothing_is_connected_is_used_by_the_next_connection),
        cmocka_unit_test(a_refusal_goes_to_the_thread_whose_frame_it_is_about),
        cmocka_unit_test(rubbish_from_the_collector_ends_the_connection_only),
        cmocka_unit_test(a_collector_that_reads_nothing_is_heard_all_the_same),
        cmocka_unit_test(a_session_that_the_collector_closes_is_told_why_and_made_anew),
        cmocka_unit_test(a_collector_that_falls_silent_is_left_and_tried_again),
        cmocka_unit_test(a_collector_that_has_nothing_to_say_is_pinged_and_kept),
        cmocka_unit_test(a_peer_that_takes_connections_and_says_nothing_keeps_nobody_from_stopping),
        cmocka_unit_test(a_peer_that_does_not_speak_tls_is_left_and_tried_again),
        cmocka_unit_test(of_several_addresses_one_that_answers_is_enough),
        cmocka_unit_test(a_name_that_nobody_knows_is_told_and_tried_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
