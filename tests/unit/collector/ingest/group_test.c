/* What is committed together, and how it is answered. */
#include "tests/unit/collector/ingest/ingest_fixture.h"

#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>

/* The committer stands still until it may go on: what is submitted meanwhile becomes one group. */
struct gate {
    sem_t reached, open;
};

static void stand_still(void *context, const struct hf_event *event, const struct hf_error *error)
{
    struct gate *gate = context;
    (void)event;
    (void)error;
    sem_post(&gate->reached);
    sem_wait(&gate->open);
}

static struct hf_event seen_event(const char *host_id)
{
    return (struct hf_event){.type = HF_EVENT_HOST_SEEN,
                             .actor = event_text("test"),
                             .host_seen = {.host_id = event_text(host_id),
                                           .hostname = event_text("robot"),
                                           .machine_id = event_text("m"),
                                           .os = event_text("linux"),
                                           .agent_version = event_text("1"),
                                           .address = event_text("10.0.0.1")}};
}

static void gate_shut(struct gate *gate, struct bench *bench, const struct host *host)
{
    struct hf_event event = seen_event(host->id);
    sem_init(&gate->reached, 0, 0);
    sem_init(&gate->open, 0, 0);
    assert_int_equal(ingest_commit_async(bench->ingest, &event, stand_still, gate), HF_OK);
    sem_wait(&gate->reached);
}

static void gate_open(struct gate *gate)
{
    sem_post(&gate->open);
}

static void gate_free(struct gate *gate)
{
    sem_destroy(&gate->reached);
    sem_destroy(&gate->open);
}

static struct hf_ingest_stats stats_of(struct bench *bench)
{
    struct hf_ingest_stats stats;
    ingest_stats(bench->ingest, &stats);
    return stats;
}

static size_t send_mark(struct host *host, const char *note)
{
    struct hf_frame frame = {.type = HF_FRAME_MARK,
                             .mark = {.stream = 1,
                                      .until_ns = hf_clock_now_ns(),
                                      .state = HF_SOURCE_WATCHING,
                                      .note = event_text(note)}};
    struct hf_buf message = {0};
    frame.seq = host->seq + 1;
    assert_int_equal(proto_encode(&frame, &message), HF_OK);
    size_t size = message.size;
    hf_buf_free(&message);
    submit(host, &frame);
    return size;
}

/* Take replies until so many bytes were released in all. */
static void wait_released(struct host *host, size_t bulk, size_t control)
{
    size_t released_bulk = 0;
    size_t released_control = 0;
    while (released_bulk < bulk || released_control < control) {
        pthread_mutex_lock(&host->lock);
        while (host->taken == host->count) {
            pthread_cond_wait(&host->came, &host->lock);
        }
        struct hf_ingest_reply *reply = host->replies[host->taken++];
        pthread_mutex_unlock(&host->lock);
        released_bulk += reply->released_bulk;
        released_control += reply->released_control;
        ingest_reply_free(reply);
    }
    assert_int_equal(released_bulk, bulk);
    assert_int_equal(released_control, control);
}

static void marks_that_say_nothing_new_write_nothing(void **state)
{
    struct bench bench;
    (void)state;
    bench_new(&bench);
    struct host *host = host_new(&bench, 0);
    size_t size = 0;
    open_source(host);
    wait_released(host, 0, send_mark(host, "")); /* the first is journalled */
    struct hf_ingest_stats before = stats_of(&bench);
    for (int i = 0; i < 50; i++) {
        size += send_mark(host, "");
    }
    wait_released(host, 0, size);
    struct hf_ingest_stats after = stats_of(&bench);
    assert_int_equal(after.commits, before.commits);
    assert_int_equal(after.store.bytes, before.store.bytes);
    host_free(host);
    ingest_stop(bench.ingest);
    bench_remove(&bench);
}

static void a_source_that_is_opened_as_it_was_writes_nothing(void **state)
{
    struct bench bench;
    (void)state;
    bench_new(&bench);
    struct host *host = host_new(&bench, 0);
    open_source(host);
    struct hf_ingest_stats before = stats_of(&bench);
    open_source(host);
    struct hf_ingest_stats after = stats_of(&bench);
    assert_int_equal(after.commits, before.commits);
    assert_int_equal(after.store.bytes, before.store.bytes);
    host_free(host);
    ingest_stop(bench.ingest);
    bench_remove(&bench);
}

static void versions_of_a_stream_that_are_committed_together_are_acknowledged_once(void **state)
{
    enum { VERSIONS = 20 };
    struct bench bench;
    struct gate gate;
    (void)state;
    bench_new(&bench);
    struct host *host = host_new(&bench, 0);
    struct content content = content_of(1, 500);
    open_source(host);
    send_chunk(host, &content);
    send_version(host, 1, "a", &content);
    wait_acked(host, 1);
    gate_shut(&gate, &bench, host);
    for (uint64_t seq = 2; seq <= VERSIONS; seq++) {
        send_version(host, seq, "a", &content);
    }
    gate_open(&gate);
    struct hf_ingest_reply *reply = expect(host, HF_REPLY_FRAME, HF_FRAME_ACK);
    assert_int_equal(reply->frame.ack.acks[0].version_seq, VERSIONS);
    assert_true(reply->released_bulk > 0);
    ingest_reply_free(reply);
    host_free(host);
    ingest_stop(bench.ingest);
    gate_free(&gate);
    bench_remove(&bench);
}

/* When it came, among all hosts' answers. */
static uint64_t when_acked(struct host *host, uint64_t seq)
{
    struct hf_ingest_reply *reply = expect(host, HF_REPLY_FRAME, HF_FRAME_ACK);
    assert_int_equal(reply->frame.ack.acks[0].version_seq, seq);
    ingest_reply_free(reply);
    return host->numbers[host->taken - 1];
}

static uint64_t when_released(struct host *host, size_t *control)
{
    struct hf_ingest_reply *reply = expect(host, HF_REPLY_RELEASED, HF_FRAME_MARK);
    *control -= reply->released_control;
    ingest_reply_free(reply);
    return host->numbers[host->taken - 1];
}

#define CROWD 3000 /* more than one group holds */

static size_t send_marks(struct host *host, size_t count)
{
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        size += send_mark(host, "");
    }
    return size;
}

static void who_hurries_does_not_stand_in_line(void **state)
{
    struct bench bench;
    struct gate gate;
    (void)state;
    bench_new(&bench);
    struct host *crowd = host_new(&bench, 0), *hasty = host_new(&bench, 1);
    struct content content = content_of(1, 500);
    open_source(crowd);
    open_source(hasty);
    send_chunk(hasty, &content);
    send_version(hasty, 1, "a", &content);
    wait_acked(hasty, 1);

    gate_shut(&gate, &bench, crowd);
    size_t size = send_marks(crowd, CROWD);
    send_version(hasty, 2, "a", &content); /* also what came before */
    ingest_session_hurry(hasty->session, true);
    assert_true(ingest_session_hurries(hasty->session));
    send_version(hasty, 3, "a", &content);
    gate_open(&gate);
    assert_true(when_acked(hasty, 3) < when_released(crowd, &size));
    wait_released(crowd, 0, size);
    gate_free(&gate);

    gate_shut(&gate, &bench, crowd);
    size = send_marks(crowd, CROWD);
    send_version(hasty, 4, "a", &content);
    ingest_session_hurry(hasty->session, false);
    send_version(hasty, 5, "a", &content);
    gate_open(&gate);
    uint64_t fourth = when_acked(hasty, 4), fifth = when_acked(hasty, 5);
    uint64_t crowds = when_released(crowd, &size);
    assert_true(fourth < crowds && crowds < fifth); /* in line again, behind what came before */
    wait_released(crowd, 0, size);
    gate_free(&gate);

    host_free(crowd);
    host_free(hasty);
    ingest_stop(bench.ingest);
    bench_remove(&bench);
}

static void who_hurries_leaves_most_of_a_group_to_the_others(void **state)
{
    struct bench bench;
    struct gate gate;
    (void)state;
    bench_new(&bench);
    struct host *other = host_new(&bench, 0), *hasty = host_new(&bench, 1);
    struct content content = content_of(1, 500);
    open_source(other);
    open_source(hasty);
    send_chunk(other, &content);
    send_version(other, 1, "a", &content);
    wait_acked(other, 1);
    gate_shut(&gate, &bench, other);
    ingest_session_hurry(hasty->session, true);
    size_t size = send_marks(hasty, CROWD), left = size;
    send_version(other, 2, "a", &content);
    gate_open(&gate);
    assert_true(when_acked(other, 2) < when_released(hasty, &left));
    assert_in_range(size - left, 1, size / 4);
    wait_released(hasty, 0, left);
    host_free(other);
    host_free(hasty);
    ingest_stop(bench.ingest);
    gate_free(&gate);
    bench_remove(&bench);
}

/* Else the new session would be told that less is stored than there is, and number anew. */
static void what_the_session_before_sent_stays_before(void **state)
{
    struct bench bench;
    struct gate gate;
    (void)state;
    bench_new(&bench);
    struct host *host = host_new(&bench, 0), *other = host_new(&bench, 1);
    struct content content = content_of(1, 500);
    open_source(host);
    send_chunk(host, &content);
    send_version(host, 1, "a", &content);
    wait_acked(host, 1);
    gate_shut(&gate, &bench, other);
    send_version(host, 2, "a", &content);
    host_close(host);
    host_open(&bench, host);
    host->seq = 0;
    ingest_session_hurry(host->session, true);
    send_source(host, 1, "data");
    gate_open(&gate);
    assert_int_equal(expect_source_state(host), 2);
    host_free(host);
    host_free(other);
    ingest_stop(bench.ingest);
    gate_free(&gate);
    bench_remove(&bench);
}

static void few_hurry_at_a_time_and_the_others_in_their_turn(void **state)
{
    enum { MAX = HF_INGEST_HURRIED_MAX };
    struct bench bench;
    struct host *hosts[MAX + 4];
    (void)state;
    bench_new(&bench);
    for (unsigned i = 0; i < MAX + 4; i++) {
        hosts[i] = host_new(&bench, i);
        ingest_session_hurry(hosts[i]->session, true);
        assert_int_equal(ingest_session_hurries(hosts[i]->session), i < MAX);
    }
    ingest_session_hurry(hosts[MAX + 1]->session, true); /* it waits already */
    ingest_session_hurry(hosts[MAX + 1]->session, false);
    ingest_session_hurry(hosts[0]->session, false);
    assert_false(ingest_session_hurries(hosts[0]->session));
    assert_true(ingest_session_hurries(hosts[MAX]->session));
    assert_false(ingest_session_hurries(hosts[MAX + 2]->session));
    host_free(hosts[MAX + 3]); /* the last of those that wait */
    ingest_session_hurry(hosts[0]->session, true);
    host_free(hosts[1]); /* and one that hurries */
    assert_false(ingest_session_hurries(hosts[MAX + 1]->session));
    assert_true(ingest_session_hurries(hosts[MAX + 2]->session));
    assert_false(ingest_session_hurries(hosts[0]->session));
    host_free(hosts[2]);
    assert_true(ingest_session_hurries(hosts[0]->session));
    host_free(hosts[0]);
    for (unsigned i = 3; i < MAX + 3; i++) {
        host_free(hosts[i]);
    }
    ingest_stop(bench.ingest);
    bench_remove(&bench);
}

static void what_is_acknowledged_after_a_refusal_is_said_after_it(void **state)
{
    struct bench bench;
    struct gate gate;
    (void)state;
    bench_new(&bench);
    struct host *host = host_new(&bench, 0);
    struct content held = content_of(1, 100);
    open_source(host);
    send_chunk(host, &held);
    send_version(host, 1, "a", &held);
    wait_acked(host, 1);
    gate_shut(&gate, &bench, host);
    send_version(host, 2, "b", &held);
    send_version(host, 4, "d", &held); /* refused, for one is missing before it */
    send_version(host, 3, "c", &held);
    gate_open(&gate);
    static const struct {
        enum hf_frame_type type;
        uint64_t seq;
    } order[] = {{HF_FRAME_ACK, 2}, {HF_FRAME_ERROR, 3}, {HF_FRAME_ACK, 3}};
    for (size_t i = 0; i < 3; i++) {
        struct hf_ingest_reply *reply = NULL;
        do {
            ingest_reply_free(reply);
            pthread_mutex_lock(&host->lock);
            while (host->taken == host->count) {
                pthread_cond_wait(&host->came, &host->lock);
            }
            reply = host->replies[host->taken++];
            pthread_mutex_unlock(&host->lock);
        } while (reply->kind == HF_REPLY_RELEASED);
        assert_int_equal(reply->frame.type, order[i].type);
        assert_int_equal(order[i].type == HF_FRAME_ACK ? reply->frame.ack.acks[0].version_seq
                                                       : reply->frame.refusal.version_seq,
                         order[i].seq);
        ingest_reply_free(reply);
    }
    host_free(host);
    ingest_stop(bench.ingest);
    gate_free(&gate);
    bench_remove(&bench);
}

struct outcome {
    _Atomic unsigned good, refused;
};

static void count_outcome(void *context, const struct hf_event *event, const struct hf_error *error)
{
    struct outcome *outcome = context;
    (void)event;
    atomic_fetch_add(error ? &outcome->refused : &outcome->good, 1);
}

static void events_and_frames_share_a_commit_and_a_refused_one_harms_no_other(void **state)
{
    enum { EVENTS = 30 };
    struct bench bench;
    struct gate gate;
    struct outcome outcome = {0, 0};
    (void)state;
    bench_new(&bench);
    struct host *host = host_new(&bench, 0);
    struct content content = content_of(1, 500);
    struct hf_event good = seen_event(host->id);
    struct hf_event stranger = seen_event("h-nobody");
    open_source(host);
    send_chunk(host, &content);
    send_version(host, 1, "a", &content);
    wait_acked(host, 1);
    gate_shut(&gate, &bench, host);
    struct hf_ingest_stats before = stats_of(&bench);
    for (int i = 0; i < EVENTS; i++) {
        struct hf_event *event = i % 3 == 1 ? &stranger : &good;
        assert_int_equal(ingest_commit_async(bench.ingest, event, count_outcome, &outcome), HF_OK);
    }
    send_version(host, 2, "a", &content);
    gate_open(&gate);
    wait_acked(host, 2);
    struct hf_ingest_stats after = stats_of(&bench);
    assert_int_equal(atomic_load(&outcome.good), EVENTS - EVENTS / 3);
    assert_int_equal(atomic_load(&outcome.refused), EVENTS / 3);
    assert_int_equal(after.commits, before.commits + 1);
    assert_true(after.storage_ok);
    host_free(host);
    ingest_stop(bench.ingest);
    gate_free(&gate);
    bench_remove(&bench);
}

/* --- marks --- */

static void a_mark_with_another_note_is_journalled_at_once(void **state)
{
    struct bench bench;
    (void)state;
    bench_new(&bench);
    struct host *host = host_new(&bench, 0);
    open_source(host);
    wait_released(host, 0, send_mark(host, "first"));
    assert_true(dump_holds(&bench, "first"));
    usleep(1100000); /* notes may change once a second */
    wait_released(host, 0, send_mark(host, "second"));
    assert_true(dump_holds(&bench, "second"));
    host_free(host);
    ingest_stop(bench.ingest);
    bench_remove(&bench);
}

static void mark_is(struct bench *bench, uint64_t source_row, int64_t *until_ns)
{
    int shown = 0;
    assert_true(ingest_mark(bench->ingest, source_row, until_ns, &shown));
    assert_int_equal(shown, HF_SOURCE_WATCHING);
}

static void marks_that_are_due_are_journalled_together(void **state)
{
    enum { HOSTS = 5 };
    struct bench bench;
    struct host *hosts[HOSTS];
    char until[HOSTS][32];
    (void)state;
    bench_make(&bench);
    bench.mark_interval_ns = 1;
    bench_start(&bench);
    for (unsigned i = 0; i < HOSTS; i++) {
        hosts[i] = host_new(&bench, i);
        open_source(hosts[i]);
        wait_released(hosts[i], 0, send_mark(hosts[i], ""));
    }
    struct hf_ingest_stats before = stats_of(&bench);
    for (unsigned i = 0; i < HOSTS; i++) {
        int64_t until_ns = 0;
        wait_released(hosts[i], 0, send_mark(hosts[i], ""));
        mark_is(&bench, i + 1, &until_ns); /* shown at once */
        snprintf(until[i], sizeof until[i], "%lld", (long long)until_ns);
    }
    for (int i = 0; i < 3000 && !dump_holds(&bench, until[HOSTS - 1]); i++) {
        usleep(10000);
    }
    for (unsigned i = 0; i < HOSTS; i++) {
        assert_true(dump_holds(&bench, until[i]));
        host_free(hosts[i]);
    }
    struct hf_ingest_stats after = stats_of(&bench);
    assert_true(after.commits - before.commits < HOSTS); /* one, unless they took 5 s to send */
    ingest_stop(bench.ingest);
    bench_remove(&bench);
}

static void marks_that_wait_are_journalled_before_the_end(void **state)
{
    struct bench bench;
    char until[32];
    int64_t until_ns = 0;
    (void)state;
    bench_make(&bench);
    bench.mark_interval_ns = 1;
    bench_start(&bench);
    struct host *host = host_new(&bench, 0);
    open_source(host);
    wait_released(host, 0, send_mark(host, ""));
    wait_released(host, 0, send_mark(host, ""));
    mark_is(&bench, 1, &until_ns);
    snprintf(until, sizeof until, "%lld", (long long)until_ns);
    host_free(host);
    ingest_stop(bench.ingest);
    bench_start(&bench);
    assert_true(dump_holds(&bench, until));
    ingest_stop(bench.ingest);
    bench_remove(&bench);
}

/* Every write of this process fails from now on, or none. */
static void disk_is_full(bool full)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = full ? 1 : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_mark_whose_group_was_given_up_is_journalled_when_it_comes_again(void **state)
{
    struct bench bench;
    (void)state;
    bench_new(&bench);
    struct host *host = host_new(&bench, 0);
    signal(SIGXFSZ, SIG_IGN);
    open_source(host);
    wait_released(host, 0, send_mark(host, "first"));
    usleep(1100000); /* notes may change once a second */
    disk_is_full(true);
    send_mark(host, "second");
    struct hf_ingest_reply *reply = expect(host, HF_REPLY_STORAGE, 0);
    assert_non_null(memchr(reply->memory.data, '\0', reply->memory.size));
    assert_true(strlen((const char *)reply->memory.data) > 0);
    ingest_reply_free(reply);
    disk_is_full(false);
    assert_false(stats_of(&bench).storage_ok);
    assert_false(dump_holds(&bench, "second"));
    send_mark(host, "second");
    for (int i = 0; i < 3000 && !stats_of(&bench).storage_ok; i++) {
        usleep(10000);
    }
    assert_true(stats_of(&bench).storage_ok);
    assert_true(dump_holds(&bench, "second"));
    host_free(host);
    ingest_stop(bench.ingest);
    bench_remove(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(marks_that_say_nothing_new_write_nothing),
        cmocka_unit_test(a_source_that_is_opened_as_it_was_writes_nothing),
        cmocka_unit_test(versions_of_a_stream_that_are_committed_together_are_acknowledged_once),
        cmocka_unit_test(who_hurries_does_not_stand_in_line),
        cmocka_unit_test(who_hurries_leaves_most_of_a_group_to_the_others),
        cmocka_unit_test(what_the_session_before_sent_stays_before),
        cmocka_unit_test(few_hurry_at_a_time_and_the_others_in_their_turn),
        cmocka_unit_test(what_is_acknowledged_after_a_refusal_is_said_after_it),
        cmocka_unit_test(events_and_frames_share_a_commit_and_a_refused_one_harms_no_other),
        cmocka_unit_test(a_mark_with_another_note_is_journalled_at_once),
        cmocka_unit_test(marks_that_are_due_are_journalled_together),
        cmocka_unit_test(marks_that_wait_are_journalled_before_the_end),
        cmocka_unit_test(a_mark_whose_group_was_given_up_is_journalled_when_it_comes_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
