/* Memory stays bounded, and everybody still gets on. */
#include "common/bytes.h"
#include "session_fixture.h"

#define BUDGET  (256u * 1024u)
#define CROWD   8
#define MESSAGE (600u * 1024u) /* of content in one message: more than the budget alone */

struct sender {
    const struct site *site;
    struct agent agent;
    struct content content;
    pthread_t thread;
    bool written, acknowledged;
};

static bool write_a_large_file(struct sender *sender)
{
    uint32_t half = sender->content.size / 2;
    struct content parts[2] = {{.data = sender->content.data, .size = half},
                               {.data = sender->content.data + half, .size = half}};
    uint8_t refs[2 * HF_CHUNK_REF_BYTES];
    struct hf_block blocks[2];
    for (size_t i = 0; i < 2; i++) {
        hf_sha256(parts[i].data, half, parts[i].id);
        memcpy(parts[i].ref, parts[i].id, HF_HASH_BYTES);
        hf_put_le32(parts[i].ref + HF_HASH_BYTES, half);
        memcpy(refs + i * HF_CHUNK_REF_BYTES, parts[i].ref, HF_CHUNK_REF_BYTES);
        blocks[i] = block_of(&parts[i]);
    }
    struct hf_frame chunks_message = chunks_frame(blocks, 2);
    struct hf_version version = version_of(&sender->content, 1, "var/large");
    version.refs = (struct hf_bytes){refs, sizeof refs};
    struct hf_frame versions = versions_frame(1, &version, 1);
    return agent_send(&sender->agent, &chunks_message) && agent_send(&sender->agent, &versions);
}

static void *send_a_large_file(void *arg)
{
    struct sender *sender = arg;
    sender->acknowledged = write_a_large_file(sender) &&
                           agent_expect(&sender->agent, HF_FRAME_ACK)->ack.acks[0].version_seq == 1;
    return NULL;
}

static void *only_write_it(void *arg)
{
    struct sender *sender = arg;
    sender->written = write_a_large_file(sender);
    return NULL;
}

static void begin_restore(struct site *site, const struct agent *agent)
{
    struct hf_error error = {0};
    int64_t now_ns = hf_clock_now_ns();
    struct hf_event event = {.type = HF_EVENT_JOB_CREATED,
                             .actor = event_text("test"),
                             .job_created = {.host_id = event_text(agent->host_id),
                                             .origin_host_id = event_text(agent->host_id),
                                             .source_name = event_text("data"),
                                             .at_ns = now_ns,
                                             .conflict = HF_CONFLICT_REPLACE,
                                             .expires_ns = now_ns + DAY_NS}};
    assert_ok(ingest_commit(site->deployment.ingest, &event, 1, &error));
    sessions_wake_host(site->sessions, agent->host_id);
}

/* So many begin a message and don't go on that it would take seconds until it is the turn of one
 * more, by when the first are sent away. */
static void whom_a_restore_waits_for_is_read_although_memory_is_used_up(void **state)
{
    enum { STUCK = 60, PART = 20 * 1024 };
    (void)state;
    struct site site = site_new(BUDGET);
    static struct agent stuck[STUCK];
    struct sender sender = {.site = &site, .content = content_new(MESSAGE)};
    struct content content = content_new(MESSAGE / 2);
    struct hf_block block = block_of(&content);
    struct hf_frame chunks = chunks_frame(&block, 1);
    sender.agent = agent_enrol(&site);
    agent_open(&sender.agent, &site);
    agent_open_source(&sender.agent, 1, "data", 0);
    for (size_t i = 0; i < STUCK; i++) {
        stuck[i] = agent_enrol(&site);
        agent_open(&stuck[i], &site);
    }
    int64_t began_ns = hf_clock_monotonic_ns();
    for (size_t i = 0; i < STUCK; i++) {
        struct hf_buf out = {0};
        append_frame(&stuck[i], &out, &chunks);
        assert_true(agent_write(&stuck[i], out.data, PART));
        hf_buf_free(&out);
    }
    assert_int_equal(pthread_create(&sender.thread, NULL, only_write_it, &sender), 0);
    usleep(100000); /* it is not read now */
    begin_restore(&site, &sender.agent);
    pthread_join(sender.thread, NULL);
    assert_true(sender.written);
    agent_expect(&sender.agent, HF_FRAME_RESTORE_OFFER);
    assert_int_equal(agent_expect(&sender.agent, HF_FRAME_ACK)->ack.acks[0].version_seq, 1);
    size_t sent_away = 0;
    bool in_time = hf_clock_monotonic_ns() - began_ns < 5 * HF_NS_PER_SECOND / 2;
    for (size_t i = 0; i < STUCK; i++) {
        sent_away += agent_receive_within(&stuck[i], 0);
    }
    assert_true(sent_away == 0 || (!in_time && sent_away < STUCK / 2));
    for (size_t i = 0; i < STUCK; i++) {
        agent_free(&stuck[i]);
    }
    free(content.data);
    free(sender.content.data);
    agent_free(&sender.agent);
    site_free(&site);
}

static void a_crowd_with_messages_larger_than_all_memory_gets_on_one_by_one(void **state)
{
    (void)state;
    struct site site = site_new(BUDGET);
    struct sender senders[CROWD] = {0};
    for (size_t i = 0; i < CROWD; i++) {
        senders[i].site = &site;
        senders[i].agent = agent_enrol(&site);
        senders[i].content = content_new(MESSAGE);
        agent_open(&senders[i].agent, &site);
        agent_open_source(&senders[i].agent, 1, "data", 0);
    }
    for (size_t i = 0; i < CROWD; i++) {
        assert_int_equal(pthread_create(&senders[i].thread, NULL, send_a_large_file, &senders[i]),
                         0);
    }
    for (size_t i = 0; i < CROWD; i++) {
        pthread_join(senders[i].thread, NULL);
        assert_true(senders[i].acknowledged);
        free(senders[i].content.data);
        agent_free(&senders[i].agent);
    }
    site_free(&site);
}

static void agents_that_stop_in_the_middle_of_messages_do_not_stop_the_others(void **state)
{
    (void)state;
    struct site site = site_new(BUDGET);
    struct agent stuck[3];
    struct sender sender = {.site = &site, .content = content_new(MESSAGE)};
    struct content content = content_new(MESSAGE / 2);
    struct hf_block block = block_of(&content);
    struct hf_frame chunks = chunks_frame(&block, 1);
    sender.agent = agent_enrol(&site);
    agent_open(&sender.agent, &site);
    agent_open_source(&sender.agent, 1, "data", 0);
    for (size_t i = 0; i < 3; i++) {
        struct hf_buf out = {0};
        stuck[i] = agent_enrol(&site);
        agent_open(&stuck[i], &site);
        append_frame(&stuck[i], &out, &chunks);
        assert_true(agent_write(&stuck[i], out.data, out.size - 100));
        hf_buf_free(&out);
    }
    send_a_large_file(&sender);
    assert_true(sender.acknowledged);
    for (size_t i = 0; i < 3; i++) {
        agent_free(&stuck[i]);
    }
    free(content.data);
    free(sender.content.data);
    agent_free(&sender.agent);
    site_free(&site);
}

/* Questions are free of credit: what keeps them from piling up is that nobody reads more of them.
 */
static void questions_without_end_are_answered_and_do_not_pile_up(void **state)
{
    (void)state;
    struct site site = site_new(256u << 20);
    struct agent agent = agent_enrol(&site);
    struct content ids = content_new(HF_FRAME_IDS_MAX * HF_HASH_BYTES);
    struct hf_frame have = {.type = HF_FRAME_HAVE, .ids = {.ids = {ids.data, ids.size}}};
    struct hf_buf out = {0};
    uint64_t answers = 0;
    uint64_t most = 0;
    agent_open(&agent, &site);
    enum { ROUNDS = 40, AHEAD = 10 };
    for (uint64_t round = 1; round <= ROUNDS; round++) {
        have.ids.request = round;
        hf_buf_clear(&out);
        append_frame(&agent, &out, &have);
        assert_true(agent_write(&agent, out.data, out.size));
        uint64_t queued = ingest_queue_bytes(site.deployment.ingest);
        most = queued > most ? queued : most;
        while (round - answers > AHEAD) {
            assert_int_equal(agent_expect(&agent, HF_FRAME_NEED)->need.bitmap.size,
                             HF_FRAME_IDS_MAX / 8);
            answers++;
        }
    }
    while (answers < ROUNDS) {
        agent_expect(&agent, HF_FRAME_NEED);
        answers++;
    }
    assert_true(most <= 2 * (uint64_t)ids.size + 65536);
    hf_buf_free(&out);
    free(ids.data);
    agent_free(&agent);
    site_free(&site);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_crowd_with_messages_larger_than_all_memory_gets_on_one_by_one),
        cmocka_unit_test(agents_that_stop_in_the_middle_of_messages_do_not_stop_the_others),
        cmocka_unit_test(whom_a_restore_waits_for_is_read_although_memory_is_used_up),
        cmocka_unit_test(questions_without_end_are_answered_and_do_not_pile_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
