/* Sessions over real connections: what an honest agent gets, and what the others do. */
#include "session_fixture.h"

static void a_file_is_acknowledged_and_still_there_after_a_reconnect(void **state)
{
    (void)state;
    struct site site = site_new(256u << 20);
    struct agent agent = agent_enrol(&site);
    struct content content = content_new(5000);
    struct hf_block block = block_of(&content);
    struct hf_version version = version_of(&content, 1, "etc/robot.conf");
    struct hf_frame chunks = chunks_frame(&block, 1);
    struct hf_frame versions = versions_frame(7, &version, 1);
    agent_open(&agent, &site);
    agent_open_source(&agent, 7, "config", 0);
    assert_true(agent_send(&agent, &chunks));
    assert_true(agent_send(&agent, &versions));
    const struct hf_frame *ack = agent_expect(&agent, HF_FRAME_ACK);
    assert_int_equal(ack->ack.acks[0].stream, 7);
    assert_int_equal(ack->ack.acks[0].version_seq, 1);
    agent_hang_up(&agent);
    agent_open(&agent, &site);
    agent_open_source(&agent, 3, "config", 1);
    struct hf_frame list = {.type = HF_FRAME_LIST, .list = {.stream = 3}};
    assert_true(agent_send(&agent, &list));
    const struct hf_versions *listing = &agent_expect(&agent, HF_FRAME_LISTING)->versions;
    assert_true(listing->last);
    assert_int_equal(listing->count, 1);
    assert_memory_equal(listing->versions[0].refs.data, content.ref, sizeof content.ref);
    free(content.data);
    agent_free(&agent);
    site_free(&site);
}

static void hello_right_behind_the_upgrade_is_not_lost(void **state)
{
    (void)state;
    struct site site = site_new(256u << 20);
    struct agent agent = agent_enrol(&site);
    struct hf_buf out = {0};
    struct hf_frame hello = hello_of(&agent);
    assert_int_equal(hf_buf_append_str(&out, upgrade_request), HF_OK);
    append_frame(&agent, &out, &hello);
    agent_dial(&agent, &site);
    assert_true(agent_write(&agent, out.data, out.size));
    agent_expect_upgrade(&agent);
    agent_expect(&agent, HF_FRAME_WELCOME);
    hf_buf_free(&out);
    agent_free(&agent);
    site_free(&site);
}

/* One message on a fresh connection, which ends the session. */
struct offence {
    const char *what;
    enum hf_wire_code code;
    bool greeted; /* sent after HELLO */
    uint8_t first;
    const char *bytes;
    size_t size;
    uint64_t said_size; /* in the head; 0: the truth */
};

static void whatever_breaks_the_protocol_ends_the_session_with_its_reason(void **state)
{
    (void)state;
    struct site site = site_new(256u << 20);
    struct agent agent = agent_enrol(&site);
    uint64_t counts[HF_HUB_REASONS];
    static const struct offence offences[] = {
        {"no msgpack", HF_WIRE_MALFORMED, true, WS_BINARY, "\xc1", 1, 0},
        {"an empty message", HF_WIRE_MALFORMED, true, WS_BINARY, "", 0, 0},
        {"an unknown type", HF_WIRE_UNKNOWN_TYPE, true, WS_BINARY, "\x92\x7f\x02", 3, 0},
        {"a count of four billion", HF_WIRE_MALFORMED, true, WS_BINARY, "\xdd\xff\xff\xff\xff", 5,
         0},
        {"a text message", HF_WIRE_MALFORMED, true, WS_TEXT, "hello", 5, 0},
        {"a number that is left out", HF_WIRE_MALFORMED, true, WS_BINARY,
         "\x94\x0e\x09\x01\xc4\x00", 6, 0},
        {"more than a MiB, announced", HF_WIRE_TOO_LARGE, true, WS_BINARY, "x", 1, 1u << 20 | 1},
        {"more than memory, announced", HF_WIRE_TOO_LARGE, true, WS_BINARY, "x", 1, 1ull << 40},
        {"no HELLO", HF_WIRE_STATE, false, WS_BINARY, "\x94\x0e\x01\x01\xc4\x00", 6, 0},
        {"no HELLO and no frame", HF_WIRE_MALFORMED, false, WS_BINARY, "\xc1", 1, 0},
    };
    for (size_t i = 0; i < sizeof offences / sizeof offences[0]; i++) {
        const struct offence *offence = &offences[i];
        struct hf_buf out = {0};
        print_message("%s\n", offence->what);
        if (offence->greeted) {
            agent_open(&agent, &site);
        } else {
            agent_connect(&agent, &site);
        }
        append_head(&out, offence->first, offence->said_size ? offence->said_size : offence->size);
        assert_int_equal(hf_buf_append(&out, offence->bytes, offence->size), HF_OK);
        agent_write(&agent, out.data, out.size);
        hub_refusals(site.hub, counts);
        uint64_t before = counts[offence->code];
        agent_expect_goaway(&agent, offence->code);
        hub_refusals(site.hub, counts);
        assert_true(counts[offence->code] >= before);
        assert_true(counts[offence->code] > 0);
        agent_hang_up(&agent);
        hf_buf_free(&out);
    }
    agent_open(&agent, &site); /* an honest one still gets in */
    agent_free(&agent);
    site_free(&site);
}

static void frames_that_only_the_collector_sends_are_refused(void **state)
{
    (void)state;
    struct site site = site_new(256u << 20);
    struct agent agent = agent_enrol(&site);
    struct hf_frame hello = hello_of(&agent);
    struct hf_frame credit = {.type = HF_FRAME_CREDIT, .credit = {.total_bytes = 1}};
    agent_open(&agent, &site);
    assert_true(agent_send(&agent, &credit));
    agent_expect_goaway(&agent, HF_WIRE_STATE);
    agent_hang_up(&agent);
    agent_open(&agent, &site);
    assert_true(agent_send(&agent, &hello));
    agent_expect_goaway(&agent, HF_WIRE_STATE);
    agent_free(&agent);
    site_free(&site);
}

static void an_agent_of_another_version_is_told_who_has_to_update(void **state)
{
    (void)state;
    struct site site = site_new(256u << 20);
    struct agent agent = agent_enrol(&site);
    struct hf_frame hello = hello_of(&agent);
    hello.hello.version_min = hello.hello.version_max = 9;
    agent_connect(&agent, &site);
    assert_true(agent_send(&agent, &hello));
    const struct hf_frame *goaway = agent_expect(&agent, HF_FRAME_GOAWAY);
    assert_int_equal(goaway->refusal.code, HF_WIRE_VERSION);
    assert_non_null(memmem(goaway->refusal.message.data, goaway->refusal.message.size,
                           "update the collector", 20));
    agent_free(&agent);
    site_free(&site);
}

static void pass_gate(void *gate, struct hf_catalog_reader *catalog, struct hf_store_reader *store)
{
    (void)catalog;
    (void)store;
    pthread_mutex_lock(gate);
    pthread_mutex_unlock(gate);
}

/* Until the gate is unlocked no worker does anything: each has a task that waits there. */
static void workers_hold(struct site *site, pthread_mutex_t *gate)
{
    long workers = sysconf(_SC_NPROCESSORS_ONLN) + 2; /* at least */
    pthread_mutex_lock(gate);
    for (long i = 0; i < workers; i++) {
        assert_int_equal(ingest_run(site->deployment.ingest, pass_gate, gate), HF_OK);
    }
}

static void more_bulk_than_granted_ends_the_session(void **state)
{
    (void)state;
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    struct site site = site_new(256u << 20);
    struct agent agent = agent_enrol(&site);
    struct content content = content_new(HF_FRAME_MAX_BYTES / 2);
    struct hf_block block = block_of(&content);
    struct hf_frame chunks = chunks_frame(&block, 1);
    uint64_t credit = agent_open(&agent, &site);
    struct hf_buf out = {0};
    while (out.size <= credit + HF_FRAME_MAX_BYTES) {
        append_frame(&agent, &out, &chunks);
    }
    workers_hold(&site, &gate); /* or credit could be given back as fast as it is spent */
    agent_write(&agent, out.data, out.size);
    agent_expect_goaway(&agent, HF_WIRE_CREDIT);
    pthread_mutex_unlock(&gate);
    hf_buf_free(&out);
    free(content.data);
    agent_free(&agent);
    site_free(&site);
}

static void content_that_lies_about_its_hash_ends_the_session_and_is_audited(void **state)
{
    (void)state;
    struct site site = site_new(256u << 20);
    struct agent agent = agent_enrol(&site);
    struct content content = content_new(1000);
    struct hf_block block = block_of(&content);
    struct hf_frame chunks = chunks_frame(&block, 1);
    content.data[17] ^= 1;
    agent_open(&agent, &site);
    assert_true(agent_send(&agent, &chunks));
    const struct hf_frame *error_frame = agent_expect(&agent, HF_FRAME_ERROR);
    assert_int_equal(error_frame->refusal.code, HF_WIRE_HASH);
    assert_int_equal(error_frame->refusal.about_seq, agent.sent_seq);
    agent_expect_goaway(&agent, HF_WIRE_HASH);
    assert_int_equal(audit_count(&site, "chunk.refused"), 1);
    free(content.data);
    agent_free(&agent);
    site_free(&site);
}

static void the_same_agent_coming_back_takes_over_and_another_is_refused(void **state)
{
    (void)state;
    struct site site = site_new(256u << 20);
    struct agent first = agent_enrol(&site);
    struct hf_hub_state host;
    struct agent again = first; /* the same process, with a new connection */
    struct agent thief = first; /* the same identity elsewhere */
    hf_random(thief.instance, sizeof thief.instance);
    agent_open(&first, &site);
    agent_open(&again, &site);
    agent_expect_goaway(&first, HF_WIRE_DUPLICATE);
    agent_connect(&thief, &site);
    struct hf_frame hello = hello_of(&thief);
    assert_true(agent_send(&thief, &hello));
    assert_true(agent_expect_goaway(&thief, HF_WIRE_DUPLICATE) >= 1000);
    hub_state(site.hub, first.host_id, &host);
    assert_true(host.online);
    assert_int_equal(host.duplicates_refused, 1);
    assert_int_equal(hub_count(site.hub), 1);
    assert_int_equal(audit_count(&site, "session.duplicate"), 1);
    agent_open_source(&again, 1, "config", 0); /* untouched by the thief */
    agent_hang_up(&first);
    agent_hang_up(&again);
    agent_free(&thief);
    site_free(&site);
}

static void revocation_ends_a_live_session_at_once(void **state)
{
    (void)state;
    struct site site = site_new(256u << 20);
    struct agent agent = agent_enrol(&site);
    agent_open(&agent, &site);
    revoke_host(&site.deployment, agent.host_id);
    sessions_close_host(site.sessions, agent.host_id, HF_WIRE_REVOKED, "sold");
    agent_expect_goaway(&agent, HF_WIRE_REVOKED);
    agent_hang_up(&agent);
    agent_connect(&agent, &site);
    agent_expect_goaway(&agent, HF_WIRE_REVOKED);
    agent_free(&agent);
    site_free(&site);
}

static void shut_down(void *sessions)
{
    sessions_shut_down(sessions);
}

static void a_stopping_collector_says_goodbye_and_when_to_come_back(void **state)
{
    (void)state;
    struct site site = site_new(256u << 20);
    enum { AGENTS = 6 };
    struct agent agents[AGENTS];
    uint32_t waits[AGENTS];
    bool differ = false;
    for (size_t i = 0; i < AGENTS; i++) {
        agents[i] = agent_enrol(&site);
        agent_open(&agents[i], &site);
    }
    assert_int_equal(loop_post(site.loop, shut_down, site.sessions), HF_OK);
    for (size_t i = 0; i < AGENTS; i++) {
        waits[i] = agent_expect_goaway(&agents[i], HF_WIRE_SHUTDOWN);
        assert_true(waits[i] > 0 && waits[i] < 60000);
        differ |= waits[i] != waits[0];
        agent_free(&agents[i]);
    }
    assert_true(differ); /* they do not all come back at once */
    site_free(&site);
}

static void work_under_way_when_the_collector_stops_leaks_nothing(void **state)
{
    (void)state;
    for (int round = 0; round < 5; round++) {
        struct site site = site_new(256u << 20);
        struct agent agent = agent_enrol(&site);
        struct content content = content_new(200000);
        struct hf_block block = block_of(&content);
        struct hf_frame chunks = chunks_frame(&block, 1);
        struct agent late = agent; /* is being admitted when everything ends */
        agent_open(&agent, &site);
        for (int i = 0; i < 5; i++) {
            assert_true(agent_send(&agent, &chunks));
        }
        agent_dial(&late, &site);
        agent_write(&late, upgrade_request, strlen(upgrade_request));
        site_free(&site); /* sanitizers judge */
        free(content.data);
        agent_hang_up(&late);
        agent_free(&agent);
    }
}

static void every_renewal_is_answered_and_a_refused_one_ends_nothing(void **state)
{
    (void)state;
    struct site site = site_new(256u << 20);
    struct agent agent = agent_enrol(&site);
    struct hf_error error = {0};
    struct hf_buf key = key_new();
    struct hf_buf csr = {0};
    const struct hf_frame *answer = NULL;
    assert_ok(hf_pki_request_new(as_text(&key), "x", &csr, &error));
    struct hf_frame renew = {.type = HF_FRAME_RENEW, .blob = {{csr.data, csr.size}}};
    agent_open(&agent, &site);
    csr.data[csr.size - 1] ^= 1; /* not signed by its key */
    assert_true(agent_send(&agent, &renew));
    answer = agent_expect(&agent, HF_FRAME_ERROR);
    assert_int_equal(answer->refusal.code, HF_WIRE_DENIED);
    assert_int_equal(answer->refusal.about_seq, 0);
    assert_int_equal(answer->refusal.stream, 0);
    assert_true(answer->refusal.message.size > 0);
    csr.data[csr.size - 1] ^= 1;
    unsigned renewed = 0;
    do {
        assert_true(renewed < 20);
        assert_true(agent_send(&agent, &renew));
        do {
            answer = agent_receive(&agent);
        } while (answer->type != HF_FRAME_RENEWED && answer->type != HF_FRAME_ERROR);
        renewed += answer->type == HF_FRAME_RENEWED;
    } while (answer->type == HF_FRAME_RENEWED);
    assert_true(renewed > 0);
    assert_int_equal(answer->refusal.code, HF_WIRE_OVERLOADED);
    assert_int_equal(answer->refusal.about_seq, 0);
    agent_open_source(&agent, 1, "config", 0); /* the session goes on */
    hf_buf_free(&csr);
    hf_buf_wipe_free(&key);
    agent_free(&agent);
    site_free(&site);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_acknowledged_and_still_there_after_a_reconnect),
        cmocka_unit_test(hello_right_behind_the_upgrade_is_not_lost),
        cmocka_unit_test(whatever_breaks_the_protocol_ends_the_session_with_its_reason),
        cmocka_unit_test(frames_that_only_the_collector_sends_are_refused),
        cmocka_unit_test(an_agent_of_another_version_is_told_who_has_to_update),
        cmocka_unit_test(more_bulk_than_granted_ends_the_session),
        cmocka_unit_test(content_that_lies_about_its_hash_ends_the_session_and_is_audited),
        cmocka_unit_test(the_same_agent_coming_back_takes_over_and_another_is_refused),
        cmocka_unit_test(every_renewal_is_answered_and_a_refused_one_ends_nothing),
        cmocka_unit_test(revocation_ends_a_live_session_at_once),
        cmocka_unit_test(a_stopping_collector_says_goodbye_and_when_to_come_back),
        cmocka_unit_test(work_under_way_when_the_collector_stops_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
