#include "tests/fleet/agent.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "common/bytes.h"
#include "common/clock.h"
#include "tests/fleet/enrol.h"

#define STREAM       1u
#define RESEND_BATCH 16u

static void watch(struct agent *agent)
{
    const struct connection *connection = &agent->connection;
    uint32_t wanted = EPOLLIN | (connection->wants_write ? (uint32_t)EPOLLOUT : 0);
    struct epoll_event event = {.events = wanted, .data.ptr = agent};
    if (connection->state != CONNECTION_CLOSED && wanted != agent->watched) {
        epoll_ctl(agent->fleet->epoll_fd, agent->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD,
                  connection->fd, &event);
        agent->watched = wanted;
    }
}

/* --- frames out --- */

static bool queue_frame(struct agent *agent, struct hf_frame *frame)
{
    struct hf_buf *scratch = &agent->fleet->frame;
    hf_buf_clear(scratch);
    frame->seq = agent->frames_out + 1;
    if (proto_encode(frame, scratch) != HF_OK ||
        connection_queue(&agent->connection, scratch->data, scratch->size) != HF_OK) {
        return false;
    }
    agent->frames_out++;
    if (proto_frame_is_bulk(frame->type)) {
        agent->bulk_sent += scratch->size;
        agent->fleet->figures.bytes += scratch->size;
    }
    return true;
}

static struct hf_bytes text(const char *string)
{
    return (struct hf_bytes){(const uint8_t *)string, strlen(string)};
}

static bool say_hello(struct agent *agent)
{
    char name[32];
    snprintf(name, sizeof name, "load-%05u", agent->index);
    struct hf_frame frame = {.type = HF_FRAME_HELLO,
                             .hello = {.version_min = HF_PROTO_VERSION,
                                       .version_max = HF_PROTO_VERSION,
                                       .agent_version = text(HF_VERSION),
                                       .hostname = text(name),
                                       .machine_id = text(name),
                                       .os = text("simulated"),
                                       .now_ns = hf_clock_now_ns(),
                                       .instance = {agent->instance, sizeof agent->instance}}};
    return queue_frame(agent, &frame);
}

static bool open_source(struct agent *agent)
{
    static const char root[] = "/home/robot/.casare_rpa/checkpoints";
    const struct hf_bytes roots[] = {{(const uint8_t *)root, sizeof root - 1}};
    struct hf_frame frame = {.type = HF_FRAME_SOURCE,
                             .source = {.stream = STREAM,
                                        .name = text("checkpoints"),
                                        .kind = text("files"),
                                        .class_name = text("checkpoints"),
                                        .roots = roots,
                                        .root_count = 1}};
    return queue_frame(agent, &frame);
}

/* The bulk bytes that count checkpoints from first on take, about: never less. */
static size_t bulk_bound(const struct checkpoint *checkpoints, size_t count)
{
    size_t size = 64;
    for (size_t i = 0; i < count; i++) {
        size +=
            checkpoints[i].block.data.size + 64 + proto_version_size_bound(&checkpoints[i].version);
    }
    return size;
}

/* False when credit does not allow it, and nothing was sent. */
static bool queue_versions(struct agent *agent, uint64_t first, size_t count)
{
    struct fleet *fleet = agent->fleet;
    struct hf_block blocks[AGENT_BATCH];
    struct hf_version versions[AGENT_BATCH];
    int64_t now_ns = hf_clock_now_ns();
    for (size_t i = 0; i < count; i++) {
        struct checkpoint *made = &fleet->batch_memory[i];
        content_make(fleet->content, agent->index, first + i, now_ns, made);
        blocks[i] = made->block;
        versions[i] = made->version;
    }
    if (agent->bulk_sent + bulk_bound(fleet->batch_memory, count) > agent->credit) {
        return false;
    }
    struct hf_frame content = {.type = HF_FRAME_CHUNKS,
                               .chunks = {.blocks = blocks, .count = count}};
    struct hf_frame history = {
        .type = HF_FRAME_VERSIONS,
        .versions = {.stream = STREAM, .versions = versions, .count = count}};
    return queue_frame(agent, &content) && queue_frame(agent, &history);
}

void agent_send(struct agent *agent, int64_t due_ns)
{
    struct fleet *fleet = agent->fleet;
    unsigned count = fleet->batch;
    if (!agent->open) {
        fleet->figures.held_offline += count;
        return;
    }
    if (agent->sent - agent->acked + count > AGENT_WINDOW) {
        fleet->figures.held_window += count;
        return;
    }
    if (!queue_versions(agent, agent->sent + 1, count)) {
        fleet->figures.held_credit += count;
        return;
    }
    for (unsigned i = 0; i < count; i++) {
        agent->due_ns[++agent->sent % AGENT_WINDOW] = due_ns;
    }
    fleet->in_flight += count;
    fleet->figures.sent += count;
    if (!connection_flush(&agent->connection)) {
        agent_lose(agent, due_ns);
        return;
    }
    watch(agent);
}

void agent_mark(struct agent *agent)
{
    struct hf_frame frame = {.type = HF_FRAME_MARK,
                             .mark = {.stream = STREAM,
                                      .version_seq = agent->acked,
                                      .until_ns = hf_clock_now_ns(),
                                      .state = HF_SOURCE_WATCHING,
                                      .pending_files = agent->sent != agent->acked}};
    if (!agent->open) {
        return;
    }
    agent->fleet->figures.marks++;
    if (!queue_frame(agent, &frame) || !connection_flush(&agent->connection)) {
        agent_lose(agent, hf_clock_monotonic_ns());
        return;
    }
    watch(agent);
}

/* --- frames in --- */

static void take_ack(struct agent *agent, uint64_t seq, int64_t now_ns)
{
    struct fleet *fleet = agent->fleet;
    if (seq > agent->sent) {
        fleet->faults.unknown++;
        return;
    }
    if (seq <= agent->acked) {
        return;
    }
    fleet->in_flight -= seq - agent->acked;
    fleet->figures.acked += seq - agent->acked;
    while (agent->acked < seq) {
        int64_t due_ns = agent->due_ns[++agent->acked % AGENT_WINDOW];
        if (due_ns != 0) {
            times_add(&fleet->figures.ack, now_ns - due_ns);
        }
    }
    if (fleet->storm.running && agent->protected_ns == 0) {
        agent->protected_ns = now_ns;
        fleet->storm.protected ++;
    }
}

/* --- storms --- */

static void note_open(struct agent *agent, int64_t now_ns)
{
    struct storm *storm = &agent->fleet->storm;
    if (storm->running && agent->opened_ns == 0) {
        agent->opened_ns = now_ns;
        storm->open++;
    }
}

static void send_if_idle(struct agent *agent, int64_t now_ns)
{
    if (agent->fleet->storm.running && agent->protected_ns == 0 && agent->sent == agent->acked) {
        agent_send(agent, now_ns);
    }
}

static void take_back_from_storm(struct agent *agent)
{
    struct storm *storm = &agent->fleet->storm;
    if (storm->running) {
        storm->open -= agent->opened_ns != 0;
        storm->protected -= agent->protected_ns != 0;
        agent->opened_ns = agent->protected_ns = 0;
    }
}

void agent_begin_storm(struct agent *agent, int64_t now_ns)
{
    agent->opened_ns = agent->protected_ns = 0;
    if (agent->open) {
        note_open(agent, now_ns);
        send_if_idle(agent, now_ns);
    }
}

/* --- coming back --- */

/* Send again what was under way when the connection was lost; after a storm one version at least,
 * for being back means that one is acknowledged. */
static bool resume(struct agent *agent, int64_t now_ns)
{
    struct fleet *fleet = agent->fleet;
    for (uint64_t next = agent->acked + 1; next <= agent->sent;) {
        uint64_t left = agent->sent - next + 1;
        size_t count = left < RESEND_BATCH ? (size_t)left : RESEND_BATCH;
        if (!queue_versions(agent, next, count)) {
            return false;
        }
        for (size_t i = 0; i < count; i++) {
            agent->due_ns[next++ % AGENT_WINDOW] = 0;
        }
        fleet->figures.resent += count;
    }
    send_if_idle(agent, now_ns);
    return true;
}

static bool take_source_state(struct agent *agent, uint64_t committed, int64_t now_ns)
{
    struct fleet *fleet = agent->fleet;
    if (!agent->began) {
        agent->acked = agent->sent = committed; /* of a run before this one */
    } else if (committed < agent->acked) {
        fleet->faults.lost += agent->acked - committed;
    } else if (committed > agent->sent) {
        fleet->faults.unknown += committed - agent->sent;
    }
    agent->began = true;
    agent->open = true;
    fleet->open++;
    fleet->figures.connects++;
    backoff_reset(&agent->backoff);
    note_open(agent, now_ns);
    take_ack(agent, committed, now_ns);
    return resume(agent, now_ns);
}

static unsigned bounded(enum hf_wire_code code)
{
    return (unsigned)code < CODES_MAX ? (unsigned)code : 0;
}

/* False when the session is over. */
static bool take_frame(struct agent *agent, const struct hf_frame *frame)
{
    struct fleet *fleet = agent->fleet;
    int64_t now_ns = hf_clock_monotonic_ns();
    switch (frame->type) {
    case HF_FRAME_WELCOME:
        agent->credit = frame->welcome.credit_bytes;
        return open_source(agent);
    case HF_FRAME_SOURCE_STATE:
        return take_source_state(agent, frame->source_state.version_seq, now_ns);
    case HF_FRAME_ACK:
        for (size_t i = 0; i < frame->ack.count; i++) {
            take_ack(agent, frame->ack.acks[i].version_seq, now_ns);
        }
        return true;
    case HF_FRAME_CREDIT:
        agent->credit = frame->credit.total_bytes;
        return true;
    case HF_FRAME_ERROR:
        fleet->figures.errors[bounded(frame->refusal.code)]++;
        fleet->faults.refused++;
        fprintf(stderr, "fleet_load: agent %u hears %s: %.*s\n", agent->index,
                proto_code_name(frame->refusal.code), (int)frame->refusal.message.size,
                (const char *)frame->refusal.message.data);
        return true;
    case HF_FRAME_GOAWAY:
        fleet->figures.goaways[bounded(frame->refusal.code)]++;
        agent->retry_after_ms = frame->refusal.retry_after_ms;
        return false;
    default:
        return true;
    }
}

static void on_message(void *context, const uint8_t *data, size_t size)
{
    struct agent *agent = context;
    struct hf_frame frame;
    struct hf_error error = {0};
    if (proto_decode(data, size, &frame, &error) != HF_OK || frame.seq != agent->frames_in + 1) {
        agent->fleet->faults.garbled++;
        fprintf(stderr, "fleet_load: agent %u got what is no frame: %s\n", agent->index,
                error.message);
        agent_lose(agent, hf_clock_monotonic_ns());
        return;
    }
    agent->frames_in = frame.seq;
    bool lives = take_frame(agent, &frame);
    proto_frame_free(&frame);
    if (!lives) {
        agent_lose(agent, hf_clock_monotonic_ns());
    }
}

/* --- the connection --- */

static uint32_t random32(void)
{
    uint32_t random;
    hf_random(&random, sizeof random);
    return random;
}

static void wait_to_dial(struct agent *agent, int64_t now_ns)
{
    uint32_t wait_ms = backoff_next_ms(&agent->backoff, agent->retry_after_ms, random32());
    agent->retry_after_ms = 0;
    agent->fleet->retry_ns[agent->index] = now_ns + (int64_t)wait_ms * HF_NS_PER_MS;
}

void agent_lose(struct agent *agent, int64_t now_ns)
{
    struct fleet *fleet = agent->fleet;
    if (agent->connection.state == CONNECTION_CLOSED) {
        return;
    }
    fleet->open -= agent->open;
    fleet->dialling -= agent->connection.state != CONNECTION_OPEN;
    if (agent->open) {
        fleet->figures.cuts++;
    } else {
        fleet->figures.failed_connects++;
    }
    agent->open = false;
    take_back_from_storm(agent);
    connection_close(&agent->connection);
    agent->watched = 0;
    wait_to_dial(agent, now_ns);
}

void agent_dial(struct agent *agent, int64_t now_ns)
{
    struct fleet *fleet = agent->fleet;
    fleet->retry_ns[agent->index] = 0;
    agent->frames_in = agent->frames_out = 0;
    agent->bulk_sent = agent->credit = 0;
    agent->dialled_ns = now_ns;
    agent->backoff.cap_ms = fleet->reconnect_max_ms;
    if (connection_start(&agent->connection, &fleet->target, &agent->identity,
                         enrol_source_address(agent->index)) != HF_OK) {
        fleet->figures.failed_connects++;
        wait_to_dial(agent, now_ns);
        return;
    }
    fleet->dialling++;
    watch(agent);
}

void agent_on_ready(struct agent *agent)
{
    struct fleet *fleet = agent->fleet;
    enum connection_state before = agent->connection.state;
    if (before == CONNECTION_CLOSED) {
        return;
    }
    bool lives = connection_go_on(&agent->connection, &fleet->target, on_message, agent);
    if (lives && before != CONNECTION_OPEN && agent->connection.state == CONNECTION_OPEN) {
        fleet->dialling--;
        lives = say_hello(agent);
    }
    if (lives && agent->connection.state == CONNECTION_OPEN) {
        lives = connection_flush(&agent->connection);
    }
    if (!lives) {
        agent_lose(agent, hf_clock_monotonic_ns());
        return;
    }
    watch(agent);
}

void agent_free(struct agent *agent)
{
    connection_close(&agent->connection);
    identity_free(&agent->identity);
}
