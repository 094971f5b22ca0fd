#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <string.h>

#include "agent/session/outgoing.h"
#include "common/bytes.h"

#define NOW_NS 1000000000

static struct hf_message *control(uint64_t total)
{
    struct hf_frame frame = {.type = HF_FRAME_CREDIT, .credit = {.total_bytes = total}};
    struct hf_message *message;
    assert_int_equal(message_new(&frame, 1, &message), 0);
    assert_false(message->bulk);
    return message;
}

static struct hf_message *bulk(size_t size)
{
    static uint8_t data[4096], ref[HF_CHUNK_REF_BYTES];
    hf_put_le32(ref + HF_HASH_BYTES, (uint32_t)size);
    struct hf_block block = {.chunks = {ref, sizeof(ref)}, .data = {data, size}};
    struct hf_frame frame = {.type = HF_FRAME_CHUNKS, .chunks = {.blocks = &block, .count = 1}};
    struct hf_message *message;
    assert_int_equal(message_new(&frame, 1, &message), 0);
    assert_true(message->bulk);
    return message;
}

/* What a collector would see. */
static void assert_seq(struct hf_message *message, enum hf_frame_type type, uint64_t seq)
{
    struct hf_frame frame;
    assert_non_null(message);
    assert_int_equal(proto_decode(message_data(message), message_size(message), &frame, NULL), 0);
    assert_int_equal(frame.type, type);
    assert_int_equal(frame.seq, seq);
    proto_frame_free(&frame);
}

static void control_passes_bulk(void **state)
{
    (void)state;
    struct hf_outgoing outgoing;
    outgoing_init(&outgoing);
    outgoing_grant(&outgoing, 1 << 20);
    outgoing_push(&outgoing, bulk(100));
    outgoing_push(&outgoing, bulk(100));
    outgoing_push(&outgoing, control(1));
    struct hf_message *message = outgoing_take(&outgoing, NOW_NS);
    assert_seq(message, HF_FRAME_CREDIT, 1);
    message_free(message);
    message = outgoing_take(&outgoing, NOW_NS);
    assert_seq(message, HF_FRAME_CHUNKS, 2);
    message_free(message);
    outgoing_push(&outgoing, control(2));
    message = outgoing_take(&outgoing, NOW_NS);
    assert_seq(message, HF_FRAME_CREDIT, 3);
    message_free(message);
    outgoing_reset(&outgoing);
}

static void bulk_never_costs_more_than_was_granted(void **state)
{
    (void)state;
    struct hf_outgoing outgoing;
    outgoing_init(&outgoing);
    uint64_t cost = 0;
    for (int i = 0; i < 5; i++)
        outgoing_push(&outgoing, bulk(1000));
    assert_null(outgoing_take(&outgoing, NOW_NS));
    assert_false(outgoing_ready(&outgoing, NOW_NS));
    outgoing_grant(&outgoing, 2500);
    for (int i = 0; i < 2; i++) {
        struct hf_message *message = outgoing_take(&outgoing, NOW_NS);
        assert_non_null(message);
        cost += message_size(message);
        message_free(message);
    }
    assert_int_equal(outgoing.sent_bytes, cost);
    assert_null(outgoing_take(&outgoing, NOW_NS));
    outgoing_push(&outgoing, control(1)); /* free */
    struct hf_message *message = outgoing_take(&outgoing, NOW_NS);
    assert_seq(message, HF_FRAME_CREDIT, 3);
    message_free(message);
    outgoing_grant(&outgoing, 100); /* totals only grow */
    assert_int_equal(outgoing.credit_bytes, 2500);
    outgoing_reset(&outgoing);
}

static void a_grant_that_is_one_byte_short_is_short(void **state)
{
    (void)state;
    struct hf_outgoing outgoing;
    outgoing_init(&outgoing);
    struct hf_message *message = bulk(1000);
    size_t size = message_size(message);
    outgoing_push(&outgoing, message);
    outgoing_grant(&outgoing, size - 1);
    assert_null(outgoing_take(&outgoing, NOW_NS));
    outgoing_grant(&outgoing, size);
    message = outgoing_take(&outgoing, NOW_NS);
    assert_seq(message, HF_FRAME_CHUNKS, 1);
    message_free(message);
    outgoing_reset(&outgoing);
}

static void every_length_of_sequence_number_is_decodable_and_paid_for(void **state)
{
    (void)state;
    static const uint64_t seqs[] = {
        1, 127, 128, 255, 256, 65535, 65536, UINT32_MAX, UINT64_C(1) << 32};
    for (size_t i = 0; i < sizeof(seqs) / sizeof(seqs[0]); i++) {
        struct hf_outgoing outgoing;
        outgoing_init(&outgoing);
        outgoing.frames = seqs[i] - 1;
        struct hf_message *message = bulk(10);
        size_t before = message_size(message);
        outgoing_push(&outgoing, message);
        outgoing_grant(&outgoing, before + 8);
        message = outgoing_take(&outgoing, NOW_NS);
        assert_seq(message, HF_FRAME_CHUNKS, seqs[i]);
        assert_int_equal(outgoing.sent_bytes, message_size(message));
        assert_true(message->offset >= 32); /* LWS_PRE fits in front */
        message_free(message);
        outgoing_reset(&outgoing);
    }
}

static void freed_messages_are_taken_off_their_counter(void **state)
{
    (void)state;
    struct hf_outgoing outgoing;
    atomic_size_t counter = 0;
    outgoing_init(&outgoing);
    for (int i = 0; i < 3; i++) {
        struct hf_message *message = bulk(10);
        message->counter = &counter;
        atomic_fetch_add(&counter, message->buf.size);
        outgoing_push(&outgoing, message);
    }
    assert_true(atomic_load(&counter) > 0);
    outgoing_reset(&outgoing);
    assert_int_equal(atomic_load(&counter), 0);
}

static enum hf_frame_type take_and_free(struct hf_outgoing *outgoing, int64_t now_ns, bool *urgent)
{
    struct hf_frame frame;
    struct hf_message *message = outgoing_take(outgoing, now_ns);
    assert_non_null(message);
    assert_int_equal(proto_decode(message_data(message), message_size(message), &frame, NULL), 0);
    enum hf_frame_type type = frame.type;
    *urgent = message->urgent;
    proto_frame_free(&frame);
    message_free(message);
    return type;
}

static struct hf_message *urgent_bulk(size_t size)
{
    struct hf_message *message = bulk(size);
    message->urgent = true;
    return message;
}

static void what_is_urgent_passes_other_bulk_and_control_passes_both(void **state)
{
    (void)state;
    struct hf_outgoing outgoing;
    bool urgent;
    outgoing_init(&outgoing);
    outgoing_grant(&outgoing, 1 << 20);
    outgoing_push(&outgoing, bulk(100));
    outgoing_push(&outgoing, urgent_bulk(100));
    outgoing_push(&outgoing, control(1));
    assert_int_equal(take_and_free(&outgoing, NOW_NS, &urgent), HF_FRAME_CREDIT);
    assert_int_equal(take_and_free(&outgoing, NOW_NS, &urgent), HF_FRAME_CHUNKS);
    assert_true(urgent);
    outgoing_push(&outgoing, urgent_bulk(100));
    assert_int_equal(take_and_free(&outgoing, NOW_NS, &urgent), HF_FRAME_CHUNKS);
    assert_true(urgent);
    assert_int_equal(take_and_free(&outgoing, NOW_NS, &urgent), HF_FRAME_CHUNKS);
    assert_false(urgent);
    assert_false(outgoing_ready(&outgoing, NOW_NS));
    outgoing_push(&outgoing, urgent_bulk(100));
    outgoing_reset(&outgoing);
    assert_null(outgoing_take(&outgoing, NOW_NS));
}

static void bulk_keeps_to_its_pace_urgent_or_not_and_control_to_none(void **state)
{
    (void)state;
    struct hf_outgoing outgoing;
    bool urgent;
    outgoing_init(&outgoing);
    outgoing.pace.bytes_per_second = 1000;
    outgoing_grant(&outgoing, 1 << 20);
    assert_int_equal(outgoing_wait_ns(&outgoing, NOW_NS), INT64_MAX);
    outgoing_push(&outgoing, bulk(2000));
    outgoing_push(&outgoing, bulk(2000));
    assert_int_equal(outgoing_wait_ns(&outgoing, NOW_NS), 0);
    take_and_free(&outgoing, NOW_NS, &urgent);
    int64_t wait_ns = outgoing_wait_ns(&outgoing, NOW_NS);
    assert_true(wait_ns > 1000000000 && wait_ns < 3000000000);
    assert_false(outgoing_ready(&outgoing, NOW_NS));
    assert_null(outgoing_take(&outgoing, NOW_NS));
    outgoing_push(&outgoing, urgent_bulk(100)); /* first, but not at once */
    assert_null(outgoing_take(&outgoing, NOW_NS));
    outgoing_push(&outgoing, control(1));
    assert_int_equal(outgoing_wait_ns(&outgoing, NOW_NS), 0);
    assert_int_equal(take_and_free(&outgoing, NOW_NS, &urgent), HF_FRAME_CREDIT);
    take_and_free(&outgoing, NOW_NS + wait_ns, &urgent);
    assert_true(urgent);
    outgoing_reset(&outgoing);
}

static void a_new_connection_is_no_new_allowance(void **state)
{
    (void)state;
    struct hf_outgoing outgoing;
    bool urgent;
    outgoing_init(&outgoing);
    outgoing.pace.bytes_per_second = 1000;
    outgoing_grant(&outgoing, 1 << 20);
    outgoing_push(&outgoing, bulk(2000));
    take_and_free(&outgoing, NOW_NS, &urgent);
    outgoing_reset(&outgoing);
    outgoing_grant(&outgoing, 1 << 20);
    outgoing_push(&outgoing, bulk(100));
    assert_false(outgoing_ready(&outgoing, NOW_NS));
    assert_true(outgoing_ready(&outgoing, NOW_NS + INT64_C(5000000000)));
    outgoing_reset(&outgoing);
}

static void without_credit_it_is_not_the_pace_that_is_waited_for(void **state)
{
    (void)state;
    struct hf_outgoing outgoing;
    outgoing_init(&outgoing);
    outgoing_push(&outgoing, bulk(1000));
    assert_int_equal(outgoing_wait_ns(&outgoing, NOW_NS), INT64_MAX);
    outgoing_push(&outgoing, urgent_bulk(10)); /* and nothing smaller slips past */
    outgoing_grant(&outgoing, 20);
    assert_int_equal(outgoing_wait_ns(&outgoing, NOW_NS), INT64_MAX);
    outgoing_reset(&outgoing);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(control_passes_bulk),
        cmocka_unit_test(what_is_urgent_passes_other_bulk_and_control_passes_both),
        cmocka_unit_test(bulk_keeps_to_its_pace_urgent_or_not_and_control_to_none),
        cmocka_unit_test(a_new_connection_is_no_new_allowance),
        cmocka_unit_test(without_credit_it_is_not_the_pace_that_is_waited_for),
        cmocka_unit_test(bulk_never_costs_more_than_was_granted),
        cmocka_unit_test(a_grant_that_is_one_byte_short_is_short),
        cmocka_unit_test(every_length_of_sequence_number_is_decodable_and_paid_for),
        cmocka_unit_test(freed_messages_are_taken_off_their_counter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
