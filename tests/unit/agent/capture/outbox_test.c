/* What was captured reaches the collector whole, in order and once, whatever happens to the line.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sqlite3.h>

#include "agent/capture/outbox.h"

struct box {
    char directory[64];
    struct hf_config_source sources[3];
    struct hf_config config;
    struct hf_outbox *outbox;
};

static void box_open(struct box *box)
{
    struct hf_error error = {0};
    uint64_t spooled;
    if (outbox_open(&box->config, &box->outbox, &error) != HF_OK) {
        fail_msg("%s", error.message);
    }
    for (size_t i = 0; i < box->config.source_count; i++) {
        outbox_set_numbers(box->outbox, i, 0, 0, &spooled);
    }
}

static void box_new(struct box *box, uint64_t spool_max_bytes)
{
    *box =
        (struct box){.sources = {{.name = "config", .kind = "files", .class_name = "config"},
                                 {.name = "logs", .kind = "files", .class_name = "logs"},
                                 {.name = "points", .kind = "files", .class_name = "checkpoints"}}};
    strcpy(box->directory, "/tmp/holdfast-outbox-XXXXXX");
    assert_non_null(mkdtemp(box->directory));
    box->config = (struct hf_config){.state = box->directory,
                                     .spool_max_bytes = spool_max_bytes,
                                     .sources = box->sources,
                                     .source_count = 3};
    box_open(box);
}

static void box_free(struct box *box)
{
    char path[128];
    static const char *const names[] = {"spool.db", "spool.db-wal", "spool.db-shm"};
    outbox_free(box->outbox);
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", box->directory, names[i]);
        unlink(path);
    }
    assert_int_equal(rmdir(box->directory), 0);
}

/* A unit with a chunk of that size and versions first to last; none when first is 0. */
static struct hf_unit *make(size_t source, uint64_t first, uint64_t last, size_t size)
{
    struct hf_unit *unit = unit_new(source);
    uint8_t id[HF_HASH_BYTES] = {1};
    uint8_t *data = unit_alloc(unit, size);
    assert_non_null(data);
    for (size_t i = 0; i < size; i++) {
        data[i] = (uint8_t)(rand() >> 3); /* so that the spool can't make it small */
    }
    assert_int_equal(
        unit_add_chunk(unit, id, HF_CODEC_RAW, (uint32_t)size, (struct hf_bytes){data, size}),
        HF_OK);
    for (uint64_t seq = first; first != 0 && seq <= last; seq++) {
        struct hf_version version = {
            .seq = seq, .type = HF_FILE_ABSENT, .path = {(const uint8_t *)"a", 1}};
        assert_int_equal(unit_add_version(unit, &version), HF_OK);
    }
    return unit;
}

static int push(struct box *box, struct hf_unit *unit)
{
    struct hf_error error = {0};
    int rc = outbox_push(box->outbox, unit, &error);
    if (rc != HF_OK) {
        unit_free(unit);
    }
    return rc;
}

static uint64_t take(struct box *box)
{
    const struct hf_unit *unit = outbox_take(box->outbox);
    uint64_t seq = unit ? unit_first_seq(unit) : UINT64_MAX;
    if (unit) {
        outbox_sent(box->outbox, unit);
    }
    return seq;
}

/* How often that kind of notice came, and its last number; all are taken. */
static unsigned notices(struct box *box, enum hf_outbox_notice_kind kind, uint64_t *seq)
{
    unsigned count = 0;
    struct hf_outbox_notice *notice = outbox_notices(box->outbox);
    while (notice) {
        struct hf_outbox_notice *next = notice->next;
        if (notice->kind == kind) {
            count++;
            *seq = notice->seq;
        }
        outbox_notice_free(notice);
        notice = next;
    }
    return count;
}

static void units_leave_in_order_and_important_classes_first(void **state)
{
    struct box box;
    (void)state;
    box_new(&box, 1 << 20);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(outbox_online(box.outbox, i, 0, 0), HF_OUTBOX_RESUME);
    }
    assert_int_equal(push(&box, make(1, 1, 1, 10)), HF_OK);
    assert_int_equal(push(&box, make(2, 1, 2, 10)), HF_OK);
    assert_int_equal(push(&box, make(0, 1, 3, 10)), HF_OK);
    assert_int_equal(push(&box, make(0, 4, 4, 10)), HF_OK);
    static const size_t sources[] = {0, 0, 2, 1};
    for (size_t i = 0; i < 4; i++) {
        const struct hf_unit *unit = outbox_take(box.outbox);
        assert_int_equal(unit->source, sources[i]);
    }
    assert_null(outbox_take(box.outbox));
    box_free(&box);
}

static void numbers_that_skip_are_refused(void **state)
{
    struct box box;
    (void)state;
    box_new(&box, 1 << 20);
    outbox_online(box.outbox, 0, 0, 0);
    assert_int_equal(push(&box, make(0, 2, 2, 10)), HF_ERR_RACED);
    assert_int_equal(push(&box, make(0, 1, 1, 10)), HF_OK);
    assert_int_equal(push(&box, make(0, 1, 1, 10)), HF_ERR_RACED);
    box_free(&box);
}

static void what_is_captured_while_the_spool_empties_waits_behind_it(void **state)
{
    struct box box;
    (void)state;
    box_new(&box, 1 << 20);
    for (uint64_t seq = 1; seq <= 3; seq++) {
        assert_int_equal(push(&box, make(0, seq, seq, 10)), HF_OK); /* offline: to the spool */
    }
    outbox_online(box.outbox, 0, 0, 0);
    assert_int_equal(take(&box), 1);
    assert_int_equal(push(&box, make(0, 4, 4, 10)), HF_OK);
    for (uint64_t seq = 2; seq <= 4; seq++) {
        assert_int_equal(take(&box), seq);
    }
    assert_int_equal(take(&box), UINT64_MAX);
    outbox_acked(box.outbox, 0, 4);
    assert_int_equal(push(&box, make(0, 5, 5, 10)), HF_OK);
    assert_int_equal(take(&box), 5);
    box_free(&box);
}

static void what_was_not_acknowledged_is_sent_again_after_a_cut_and_after_a_restart(void **state)
{
    struct box box;
    uint64_t spooled = 0;
    (void)state;
    box_new(&box, 1 << 20);
    outbox_online(box.outbox, 0, 0, 0);
    for (uint64_t seq = 1; seq <= 3; seq++) {
        assert_int_equal(push(&box, make(0, seq, seq, 10)), HF_OK);
        assert_int_equal(take(&box), seq);
    }
    outbox_acked(box.outbox, 0, 1);
    outbox_offline(box.outbox);
    assert_int_equal(outbox_online(box.outbox, 0, 2, 0), HF_OUTBOX_RESUME);
    assert_int_equal(take(&box), 3); /* 2 was committed, and only its ack was lost */
    outbox_free(box.outbox);
    box_open(&box);
    outbox_set_numbers(box.outbox, 0, 2, 3, &spooled);
    assert_int_equal(spooled, 3);
    assert_int_equal(outbox_online(box.outbox, 0, 2, 0), HF_OUTBOX_RESUME);
    assert_int_equal(take(&box), 3);
    box_free(&box);
}

static void a_version_whose_first_chunks_went_ahead_is_given_up_with_the_line(void **state)
{
    struct box box;
    uint64_t seq = 0;
    (void)state;
    box_new(&box, 1 << 20);
    outbox_online(box.outbox, 0, 0, 0);
    assert_int_equal(push(&box, make(0, 1, 1, 10)), HF_OK);
    assert_int_equal(push(&box, make(0, 0, 0, 1000)), HF_OK); /* chunks alone */
    assert_int_equal(push(&box, make(0, 2, 2, 10)), HF_OK);
    assert_int_equal(take(&box), 1);
    assert_int_equal(take(&box), 0);
    outbox_offline(box.outbox);
    assert_int_equal(notices(&box, HF_NOTICE_FORGOTTEN, &seq), 1);
    assert_int_equal(seq, 2);
    outbox_online(box.outbox, 0, 0, 0);
    assert_int_equal(take(&box), 1);
    assert_int_equal(take(&box), UINT64_MAX);
    box_free(&box);
}

/* Version 2, of a large file, is out when the line breaks. Its number means it for ever: the
 * collector may have it. */
static void large_and_cut_off(struct box *box, size_t rest_bytes)
{
    box_new(box, 256 << 10);
    outbox_online(box->outbox, 0, 0, 0);
    assert_int_equal(push(box, make(0, 1, 1, 10)), HF_OK);
    assert_int_equal(push(box, make(0, 0, 0, 1000)), HF_OK); /* chunks alone */
    assert_int_equal(push(box, make(0, 2, 2, rest_bytes)), HF_OK);
    assert_int_equal(take(box), 1);
    assert_int_equal(take(box), 0);
    assert_int_equal(take(box), 2);
    outbox_offline(box->outbox);
}

static void a_large_version_that_was_out_when_the_line_broke_keeps_its_number(void **state)
{
    struct box box;
    uint64_t seq = 0;
    (void)state;
    large_and_cut_off(&box, 1000);
    assert_int_equal(notices(&box, HF_NOTICE_FORGOTTEN, &seq), 0);
    assert_int_equal(push(&box, make(0, 2, 2, 10)), HF_ERR_RACED);
    assert_int_equal(push(&box, make(0, 3, 3, 10)), HF_OK);
    assert_int_equal(outbox_online(box.outbox, 0, 2, 0), HF_OUTBOX_RESUME); /* it came */
    assert_int_equal(take(&box), 3);
    box_free(&box);
    large_and_cut_off(&box, 1000);
    assert_int_equal(outbox_online(box.outbox, 0, 1, 0), HF_OUTBOX_RESUME); /* it did not */
    assert_int_equal(take(&box), 2);
    while (notices(&box, HF_NOTICE_FORGOTTEN, &seq) == 0) {
        outbox_missing(box.outbox, 0, 2);
        take(&box);
    }
    assert_int_equal(seq, 2);
    assert_int_equal(push(&box, make(0, 2, 2, 10)), HF_OK); /* refused: another may be the second */
    assert_int_equal(take(&box), 2);
    outbox_offline(box.outbox);
    assert_int_equal(outbox_online(box.outbox, 0, 1, 0), HF_OUTBOX_RESUME);
    box_free(&box);
}

static void a_number_that_was_out_and_means_something_else_by_now_is_compared(void **state)
{
    struct box box;
    bool forgotten = false;
    (void)state;
    large_and_cut_off(&box, 120000); /* no room for the second */
    for (struct hf_outbox_notice *notice = outbox_notices(box.outbox), *next; notice;
         notice = next) {
        next = notice->next;
        forgotten = forgotten ||
                    (notice->kind == HF_NOTICE_FORGOTTEN && notice->seq == 2 && notice->unsure);
        outbox_notice_free(notice);
    }
    assert_true(forgotten);
    assert_int_equal(push(&box, make(0, 2, 2, 10)), HF_OK);
    assert_int_equal(outbox_online(box.outbox, 0, 2, 0), HF_OUTBOX_RESYNC);
    box_free(&box);
}

static void numbers_that_were_lost_with_the_process_are_compared(void **state)
{
    struct box box;
    uint64_t spooled = 0;
    (void)state;
    box_new(&box, 1 << 20);
    outbox_set_numbers(box.outbox, 0, 1, 3, &spooled); /* 2 and 3 were under way, or came */
    assert_int_equal(push(&box, make(0, 2, 4, 10)), HF_OK);
    assert_int_equal(outbox_online(box.outbox, 0, 3, 0), HF_OUTBOX_RESYNC);
    box_free(&box);
    box_new(&box, 1 << 20);
    outbox_set_numbers(box.outbox, 0, 1, 1, &spooled); /* the disk forgot even the numbers */
    assert_int_equal(push(&box, make(0, 2, 4, 10)), HF_OK);
    assert_int_equal(outbox_online(box.outbox, 0, 3, 0), HF_OUTBOX_RESYNC);
    box_free(&box);
}

static void a_file_that_was_in_the_midst_of_it_when_the_line_broke_is_read_again(void **state)
{
    struct box box;
    (void)state;
    box_new(&box, 1 << 20);
    outbox_online(box.outbox, 0, 0, 0);
    assert_int_equal(push(&box, make(0, 0, 0, 1000)), HF_OK);
    outbox_offline(box.outbox);
    outbox_online(box.outbox, 0, 0, 0);
    /* The rest of the file, with its version: its beginning is nowhere. */
    assert_int_equal(push(&box, make(0, 1, 1, 10)), HF_ERR_CLOSED);
    assert_int_equal(push(&box, make(0, 1, 1, 10)), HF_OK); /* from the start */
    assert_int_equal(take(&box), 1);
    box_free(&box);
}

static void a_full_spool_keeps_room_for_important_classes(void **state)
{
    struct box box;
    uint64_t counts[3] = {0};
    (void)state;
    box_new(&box, 1 << 20);
    static const size_t order[] = {1, 2, 0}; /* logs, checkpoints, config */
    for (size_t i = 0; i < 3; i++) {
        size_t source = order[i];
        while (push(&box, make(source, counts[source] + 1, counts[source] + 1, 8000)) == HF_OK) {
            counts[source]++;
        }
    }
    /* Of two pages and a little each, less what the spool's own log takes. */
    assert_in_range(counts[1], 40, 62); /* half of it */
    assert_in_range(counts[2], 28, 38); /* up to 80 % */
    assert_in_range(counts[0], 18, 26); /* the rest */
    box_free(&box);
}

static void missing_chunks_are_sent_again_a_few_times_and_then_captured_again(void **state)
{
    struct box box;
    uint64_t seq = 0;
    (void)state;
    box_new(&box, 1 << 20);
    outbox_online(box.outbox, 0, 0, 0);
    assert_int_equal(push(&box, make(0, 1, 1, 10)), HF_OK);
    assert_int_equal(push(&box, make(0, 2, 2, 10)), HF_OK);
    assert_int_equal(take(&box), 1);
    assert_int_equal(take(&box), 2);
    unsigned tries = 0;
    while (notices(&box, HF_NOTICE_FORGOTTEN, &seq) == 0) {
        assert_in_range(++tries, 1, 10);
        outbox_missing(box.outbox, 0, 1);
        uint64_t next = take(&box);
        assert_true(next == 1 || next == UINT64_MAX);
        take(&box);
    }
    assert_in_range(tries, 2, 5);
    assert_int_equal(seq, 1);
    box_free(&box);
}

static void a_collector_that_knows_other_numbers_is_compared_with_until_that_is_through(
    void **state)
{
    struct box box;
    uint64_t seq = 0;
    (void)state;
    box_new(&box, 1 << 20);
    outbox_online(box.outbox, 0, 0, 0);
    assert_int_equal(push(&box, make(0, 1, 3, 10)), HF_OK);
    take(&box);
    outbox_acked(box.outbox, 0, 3);
    outbox_offline(box.outbox);
    assert_int_equal(outbox_online(box.outbox, 0, 1, 0), HF_OUTBOX_RESYNC); /* it lost two */
    assert_false(outbox_is_settled(box.outbox, 0));
    outbox_offline(box.outbox); /* cut off in the middle */
    assert_int_equal(outbox_online(box.outbox, 0, 1, 0), HF_OUTBOX_RESYNC);
    outbox_resync_done(box.outbox, 0);
    assert_int_equal(notices(&box, HF_NOTICE_RESYNC, &seq), 2);
    assert_int_equal(seq, 1);
    assert_true(outbox_is_settled(box.outbox, 0));
    assert_int_equal(push(&box, make(0, 2, 2, 10)), HF_OK);
    assert_int_equal(take(&box), 2);
    box_free(&box);
}

static void memory_is_bounded_and_says_try_again(void **state)
{
    struct box box;
    uint64_t seq = 0;
    int rc = HF_OK;
    (void)state;
    box_new(&box, 1 << 20);
    outbox_online(box.outbox, 1, 0, 0);
    outbox_online(box.outbox, 0, 0, 0);
    while (rc == HF_OK) {
        seq += rc == HF_OK;
        rc = push(&box, make(1, seq, seq, 500000));
        assert_in_range(seq, 1, 100);
    }
    assert_int_equal(rc, HF_ERR_AGAIN);
    assert_int_equal(push(&box, make(0, 1, 1, 500000)), HF_OK); /* urgent ones have some more */
    assert_int_equal(take(&box), 1);
    box_free(&box);
}

/* Of the units that were spooled, one is exchanged for bytes that decode all the same. */
static void test_a_spooled_unit_that_is_another_one_is_captured_again(void **state)
{
    static const char *const damages[] = {
        "UPDATE units SET body = zeroblob(8) WHERE first = 2",
        "UPDATE units SET body = (SELECT body FROM units WHERE first = 1) WHERE first = 2",
        "UPDATE units SET body = (SELECT body FROM units WHERE first = 3) WHERE first = 2",
    };
    (void)state;
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        struct box box;
        char path[128];
        sqlite3 *db = NULL;
        uint64_t spooled = 0;
        uint64_t seq = 0;
        box_new(&box, 1 << 20);
        for (uint64_t n = 1; n <= 3; n++) {
            assert_int_equal(push(&box, make(0, n, n, 50)), HF_OK);
        }
        outbox_free(box.outbox);
        snprintf(path, sizeof path, "%s/spool.db", box.directory);
        assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
        assert_int_equal(sqlite3_exec(db, damages[i], NULL, NULL, NULL), SQLITE_OK);
        assert_int_equal(sqlite3_close(db), SQLITE_OK);
        box_open(&box);
        outbox_set_numbers(box.outbox, 0, 0, 3, &spooled);
        assert_int_equal(outbox_online(box.outbox, 0, 0, 0), HF_OUTBOX_RESUME);
        assert_int_equal(take(&box), 1);
        assert_int_equal(take(&box), UINT64_MAX);
        assert_int_equal(notices(&box, HF_NOTICE_FORGOTTEN, &seq), 1);
        assert_int_equal(seq, 2);
        assert_int_equal(take(&box), UINT64_MAX);
        box_free(&box);
    }
}

static void note_wake(void *context)
{
    ++*(unsigned *)context;
}

static void what_waits_in_the_spool_stays_there_while_it_is_held_and_others_go(void **state)
{
    struct box box;
    unsigned wakes = 0;
    (void)state;
    box_new(&box, 1 << 24);
    assert_int_equal(push(&box, make(1, 1, 1, 100)), HF_OK);
    assert_int_equal(push(&box, make(0, 1, 1, 100)), HF_OK);
    outbox_hold_spool(box.outbox, 1, true);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(outbox_online(box.outbox, i, 0, 0), HF_OUTBOX_RESUME);
    }
    assert_int_equal(take(&box), 1); /* of source 0 */
    outbox_acked(box.outbox, 0, 1);
    assert_int_equal(take(&box), UINT64_MAX);
    assert_int_equal(push(&box, make(1, 2, 2, 100)), HF_OK); /* behind it */
    assert_int_equal(take(&box), UINT64_MAX);
    outbox_set_wake(box.outbox, note_wake, &wakes);
    outbox_hold_spool(box.outbox, 1, false);
    assert_int_equal(wakes, 1);
    assert_int_equal(take(&box), 1);
    assert_int_equal(take(&box), 2);
    outbox_set_wake(box.outbox, NULL, NULL);
    box_free(&box);
}

static void what_is_in_memory_already_goes_out_held_or_not(void **state)
{
    struct box box;
    (void)state;
    box_new(&box, 1 << 24);
    assert_int_equal(outbox_online(box.outbox, 1, 0, 0), HF_OUTBOX_RESUME);
    assert_int_equal(push(&box, make(1, 1, 1, 100)), HF_OK);
    outbox_hold_spool(box.outbox, 1, true);
    assert_int_equal(take(&box), 1);
    box_free(&box);
}

static void what_is_urgent_can_be_taken_alone(void **state)
{
    struct box box;
    (void)state;
    box_new(&box, 1 << 24);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(outbox_online(box.outbox, i, 0, 0), HF_OUTBOX_RESUME);
    }
    assert_int_equal(push(&box, make(1, 1, 1, 100)), HF_OK);
    assert_null(outbox_take_urgent(box.outbox));
    assert_int_equal(push(&box, make(2, 1, 1, 100)), HF_OK);
    assert_int_equal(push(&box, make(0, 1, 1, 100)), HF_OK);
    assert_int_equal(outbox_take_urgent(box.outbox)->source, 0);
    assert_int_equal(outbox_take_urgent(box.outbox)->source, 2);
    assert_null(outbox_take_urgent(box.outbox));
    assert_int_equal(outbox_take(box.outbox)->source, 1);
    box_free(&box);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_waits_in_the_spool_stays_there_while_it_is_held_and_others_go),
        cmocka_unit_test(what_is_in_memory_already_goes_out_held_or_not),
        cmocka_unit_test(what_is_urgent_can_be_taken_alone),
        cmocka_unit_test(units_leave_in_order_and_important_classes_first),
        cmocka_unit_test(numbers_that_skip_are_refused),
        cmocka_unit_test(what_is_captured_while_the_spool_empties_waits_behind_it),
        cmocka_unit_test(what_was_not_acknowledged_is_sent_again_after_a_cut_and_after_a_restart),
        cmocka_unit_test(a_version_whose_first_chunks_went_ahead_is_given_up_with_the_line),
        cmocka_unit_test(a_large_version_that_was_out_when_the_line_broke_keeps_its_number),
        cmocka_unit_test(a_number_that_was_out_and_means_something_else_by_now_is_compared),
        cmocka_unit_test(numbers_that_were_lost_with_the_process_are_compared),
        cmocka_unit_test(a_file_that_was_in_the_midst_of_it_when_the_line_broke_is_read_again),
        cmocka_unit_test(a_full_spool_keeps_room_for_important_classes),
        cmocka_unit_test(missing_chunks_are_sent_again_a_few_times_and_then_captured_again),
        cmocka_unit_test(
            a_collector_that_knows_other_numbers_is_compared_with_until_that_is_through),
        cmocka_unit_test(memory_is_bounded_and_says_try_again),
        cmocka_unit_test(test_a_spooled_unit_that_is_another_one_is_captured_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
