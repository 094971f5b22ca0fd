#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "agent/session/pack.h"
#include "common/bytes.h"
#include "common/chunker.h"
#include "trained.h"

/* What a collector would have received. */
struct received {
    size_t frames, blocks, chunks, versions, block_bytes;
    size_t largest;
    uint64_t next_seq;
    int fail_with;
    struct hf_decompressor *decompressor;
};

static int receive(void *context, const struct hf_frame *frame)
{
    struct received *received = context;
    struct hf_buf message = {0};
    struct hf_frame decoded, numbered = *frame;
    if (received->fail_with)
        return received->fail_with;
    numbered.seq = ++received->frames;
    assert_int_equal(proto_encode(&numbered, &message), 0);
    assert_int_equal(proto_decode(message.data, message.size, &decoded, NULL), 0);
    if (message.size > received->largest)
        received->largest = message.size;
    if (decoded.type == HF_FRAME_CHUNKS) {
        assert_int_equal(received->versions, 0); /* content comes before what names it */
        for (size_t i = 0; i < decoded.chunks.count; i++) {
            const struct hf_block *block = &decoded.chunks.blocks[i];
            uint8_t *plain = malloc(hf_block_plain_size(block));
            assert_int_equal(
                hf_block_decode(block, received->decompressor, (struct hf_bytes){0}, plain), 0);
            assert_true(hf_block_verify(block, plain, NULL));
            free(plain);
            received->blocks++;
            received->chunks += hf_block_chunk_count(block);
            received->block_bytes += block->data.size;
        }
    } else {
        assert_int_equal(decoded.type, HF_FRAME_VERSIONS);
        assert_int_equal(decoded.versions.stream, 3);
        for (size_t i = 0; i < decoded.versions.count; i++)
            assert_int_equal(decoded.versions.versions[i].seq, ++received->next_seq);
        received->versions += decoded.versions.count;
    }
    proto_frame_free(&decoded);
    hf_buf_free(&message);
    return 0;
}

static struct hf_unit build_unit(size_t chunk_count, size_t chunk_size, size_t version_count)
{
    struct hf_unit unit = {.source = 2, .chunk_count = chunk_count, .version_count = version_count};
    unit.chunks = calloc(chunk_count + 1, sizeof(*unit.chunks));
    unit.versions = calloc(version_count + 1, sizeof(*unit.versions));
    for (size_t i = 0; i < chunk_count; i++) {
        uint8_t *data = malloc(chunk_size);
        for (size_t j = 0; j < chunk_size; j++) /* half noise, half not */
            data[j] = j % 2 ? 'x' : (uint8_t)((i * 7919 + j * 104729) >> 3);
        unit.chunks[i] = (struct hf_unit_chunk){
            .codec = HF_CODEC_RAW, .plain_size = (uint32_t)chunk_size, .data = {data, chunk_size}};
        hf_sha256(data, chunk_size, unit.chunks[i].id);
    }
    for (size_t i = 0; i < version_count; i++)
        unit.versions[i] = (struct hf_version){.seq = i + 1,
                                               .type = HF_FILE_DIRECTORY,
                                               .path = {(const uint8_t *)"srv/dir", 7},
                                               .captured_ns = 1,
                                               .mode = 0755};
    return unit;
}

static void free_unit(struct hf_unit *unit)
{
    for (size_t i = 0; i < unit->chunk_count; i++)
        free((void *)unit->chunks[i].data.data);
    free(unit->chunks);
    free(unit->versions);
}

static void pack(struct hf_unit *unit, const uint8_t *needed, struct received *received)
{
    received->decompressor = hf_decompressor_new();
    struct hf_packer *packer = packer_new(receive, received);
    assert_non_null(packer);
    assert_int_equal(packer_send_chunks(packer, unit, needed, 0), received->fail_with);
    assert_int_equal(packer_send_versions(packer, unit, 3), received->fail_with);
    packer_free(packer);
    hf_decompressor_free(received->decompressor);
}

static void chunks_of_any_size_arrive_in_frames_of_a_good_size(void **state)
{
    (void)state;
    static const struct {
        size_t count, size;
    } cases[] = {{3000, 20}, {100, 16384}, {9, HF_CHUNK_MAX_BYTES}, {1, 1}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct hf_unit unit = build_unit(cases[i].count, cases[i].size, 1);
        struct received received = {0};
        pack(&unit, NULL, &received);
        assert_int_equal(received.chunks, cases[i].count);
        assert_int_equal(received.versions, 1);
        assert_true(received.largest <= HF_FRAME_MAX_BYTES);
        /* Not one by one: most frames are at least a quarter full. */
        assert_true(received.frames <= 3 + received.block_bytes / (HF_PACK_FRAME_BYTES / 4));
        /* Chunks are compressed together. */
        assert_true(received.blocks <= 1 + 2 * cases[i].count * cases[i].size / HF_BLOCK_MAX_BYTES +
                                           cases[i].count / (HF_BLOCK_CHUNKS_MAX / 2));
        free_unit(&unit);
    }
}

/* Keeps the codec and the size of the one block that was sent. */
struct sent {
    enum hf_codec codec;
    size_t size;
    uint8_t aid[HF_HASH_BYTES];
};

static int note_block(void *context, const struct hf_frame *frame)
{
    struct sent *sent = context;
    assert_int_equal(frame->chunks.count, 1);
    const struct hf_block *block = &frame->chunks.blocks[0];
    sent->codec = block->codec;
    sent->size = block->data.size;
    if (block->aid.size > 0)
        memcpy(sent->aid, block->aid.data, HF_HASH_BYTES);
    return 0;
}

/* A file's next version, of noise and a counter. */
static struct sent send_version(struct hf_packer *packer, struct sent *sent, uint64_t seq,
                                uint64_t acked_seq, uint8_t ref[HF_CHUNK_REF_BYTES])
{
    uint8_t data[4000];
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * i * 31 + i / 7);
    hf_put_le64(data + 1000, seq);
    hf_sha256(data, sizeof(data), ref);
    hf_put_le32(ref + HF_HASH_BYTES, sizeof(data));
    struct hf_version version = {.seq = seq,
                                 .type = HF_FILE_REGULAR,
                                 .path = {(const uint8_t *)"checkpoint", 10},
                                 .size = sizeof(data),
                                 .refs = {ref, HF_CHUNK_REF_BYTES}};
    struct hf_unit_chunk chunk = {.plain_size = sizeof(data), .data = {data, sizeof(data)}};
    memcpy(chunk.id, ref, HF_HASH_BYTES);
    struct hf_unit unit = {
        .versions = &version, .version_count = 1, .chunks = &chunk, .chunk_count = 1};
    assert_int_equal(packer_send_chunks(packer, &unit, NULL, acked_seq), 0);
    return *sent;
}

static void a_file_that_changes_is_sent_as_what_is_different(void **state)
{
    (void)state;
    struct sent sent = {.size = 0};
    uint8_t refs[5][HF_CHUNK_REF_BYTES];
    struct hf_packer *packer = packer_new(note_block, &sent);
    size_t whole = send_version(packer, &sent, 1, 0, refs[0]).size;
    /* While the collector may not have it, it is nothing to stand on. */
    assert_int_not_equal(send_version(packer, &sent, 2, 0, refs[1]).codec, HF_CODEC_DELTA);
    send_version(packer, &sent, 3, 2, refs[2]);
    assert_int_equal(sent.codec, HF_CODEC_DELTA);
    assert_true(sent.size < whole / 10);
    assert_memory_equal(sent.aid, refs[1], HF_HASH_BYTES);
    packer_forget(packer, 0);
    assert_int_not_equal(send_version(packer, &sent, 4, 3, refs[3]).codec, HF_CODEC_DELTA);
    assert_int_equal(send_version(packer, &sent, 5, 4, refs[4]).codec, HF_CODEC_DELTA);
    assert_memory_equal(sent.aid, refs[3], HF_HASH_BYTES);
    packer_free(packer);
}

static void only_needed_chunks_are_sent(void **state)
{
    (void)state;
    struct hf_unit unit = build_unit(20, 100, 1);
    struct received received = {0};
    uint8_t needed[3] = {0x81, 0x00, 0x08};
    pack(&unit, needed, &received);
    assert_int_equal(received.chunks, 3);
    free_unit(&unit);
    unit = build_unit(8, 100, 2);
    received = (struct received){0};
    needed[0] = 0;
    pack(&unit, needed, &received);
    assert_int_equal(received.chunks, 0);
    assert_int_equal(received.versions, 2);
    free_unit(&unit);
}

static void many_versions_are_split_in_order(void **state)
{
    (void)state;
    struct hf_unit unit = build_unit(0, 0, 2500);
    struct received received = {0};
    pack(&unit, NULL, &received);
    assert_int_equal(received.versions, 2500);
    assert_true(received.frames >= 3 && received.frames <= 10);
    free_unit(&unit);
}

/* What came of the one block that was sent. */
struct made {
    enum hf_codec codec;
    size_t aid, size;
    const struct trained *trained;
};

static int note_made(void *context, const struct hf_frame *frame)
{
    struct made *made = context;
    uint8_t plain[4096];
    const struct hf_block *block = &frame->chunks.blocks[0];
    struct hf_decompressor *decompressor = hf_decompressor_new();
    assert_int_equal(frame->type, HF_FRAME_CHUNKS);
    assert_int_equal(frame->chunks.count, 1);
    made->codec = block->codec;
    made->size = block->data.size;
    made->aid = block->aid.size;
    if (block->codec == HF_CODEC_DICTIONARY)
        assert_memory_equal(block->aid.data, made->trained->id, HF_HASH_BYTES);
    assert_true(hf_block_plain_size(block) <= sizeof(plain));
    assert_int_equal(
        hf_block_decode(block, decompressor,
                        (struct hf_bytes){made->trained->bytes.data, made->trained->bytes.size},
                        plain),
        0);
    assert_true(hf_block_verify(block, plain, NULL));
    hf_decompressor_free(decompressor);
    return 0;
}

static void what_is_small_is_made_with_the_dictionary_while_there_is_one(void **state)
{
    (void)state;
    struct trained trained;
    char text[512];
    trained_new(&trained);
    struct made made = {.trained = &trained};
    struct hf_known_dictionary known = {
        .dictionary = hf_dictionary_new((struct hf_bytes){trained.bytes.data, trained.bytes.size},
                                        HF_DICTIONARY_LEVEL)};
    memcpy(known.id, trained.id, HF_HASH_BYTES);
    struct hf_unit_chunk chunk = {.codec = HF_CODEC_RAW,
                                  .plain_size = (uint32_t)small_file(text, sizeof(text), 9001),
                                  .data = {(const uint8_t *)text, 0}};
    chunk.data.size = chunk.plain_size;
    hf_sha256(text, chunk.data.size, chunk.id);
    struct hf_unit unit = {.source = 2, .chunks = &chunk, .chunk_count = 1};
    struct hf_packer *packer = packer_new(note_made, &made);
    assert_int_equal(packer_send_chunks(packer, &unit, NULL, 0), 0);
    assert_int_equal(made.codec, HF_CODEC_ZSTD);
    size_t without = made.size;
    packer_use_dictionary(packer, &known);
    assert_int_equal(packer_send_chunks(packer, &unit, NULL, 0), 0);
    assert_int_equal(made.codec, HF_CODEC_DICTIONARY);
    assert_true(made.size + made.aid < without);
    packer_use_dictionary(packer, NULL);
    assert_int_equal(packer_send_chunks(packer, &unit, NULL, 0), 0);
    assert_int_equal(made.codec, HF_CODEC_ZSTD);
    assert_int_equal(made.size, without);
    packer_free(packer);
    hf_dictionary_free(known.dictionary);
    hf_buf_free(&trained.bytes);
}

static void a_closed_connection_ends_the_packing(void **state)
{
    (void)state;
    struct hf_unit unit = build_unit(10, 100, 1);
    struct received received = {.fail_with = HF_ERR_CLOSED};
    pack(&unit, NULL, &received);
    free_unit(&unit);
}

static void at_rest_it_forgets_no_version_that_the_next_can_stand_on(void **state)
{
    (void)state;
    struct sent sent = {.size = 0};
    uint8_t refs[2][HF_CHUNK_REF_BYTES];
    struct hf_packer *packer = packer_new(note_block, &sent);
    assert_int_not_equal(send_version(packer, &sent, 1, 0, refs[0]).codec, HF_CODEC_DELTA);
    packer_rest(packer);
    packer_rest(packer);
    assert_int_equal(send_version(packer, &sent, 2, 1, refs[1]).codec, HF_CODEC_DELTA);
    assert_memory_equal(sent.aid, refs[0], HF_HASH_BYTES);
    packer_free(packer);
}

/* The size that words of a small vocabulary take, of that many bytes and at that level. */
static size_t packed_size(size_t size, int level)
{
    static const char *const words[] = {"checkpoint", "\": 17, \"", "robot-", "variable ",
                                        "{\n  ",      "workflow",   "0xbeef", "true, ",
                                        "retry",      "elapsed_ms"};
    struct hf_unit_chunk chunk = {.plain_size = (uint32_t)size};
    struct hf_unit unit = {.chunks = &chunk, .chunk_count = 1};
    struct sent sent = {.size = 0};
    uint8_t *data = malloc(size);
    uint32_t random = 1;
    for (size_t at = 0; at < size;) {
        random = random * 1664525u + 1013904223u;
        const char *word = words[(random >> 24) % 10];
        for (; *word && at < size; word++)
            data[at++] = (uint8_t)*word;
    }
    chunk.data = (struct hf_bytes){data, size};
    hf_sha256(data, size, chunk.id);
    struct hf_packer *packer = packer_new(note_block, &sent);
    packer_set_level(packer, level);
    assert_int_equal(packer_send_chunks(packer, &unit, NULL, 0), 0);
    packer_free(packer);
    free(data);
    return sent.size;
}

static void a_higher_level_makes_blocks_shorter_and_what_is_short_has_it_in_any_case(void **state)
{
    (void)state;
    assert_true(packed_size(200000, 6) < packed_size(200000, 1));
    assert_int_equal(packed_size(20000, 6), packed_size(20000, 1));
}

static void short_frames_hold_no_more_than_asked_for_but_for_one_chunk(void **state)
{
    (void)state;
    enum { FRAME_BYTES = 20000, CHUNK_BYTES = 6000, COUNT = 100 };
    struct hf_unit unit = build_unit(COUNT, CHUNK_BYTES, 700);
    struct received received = {.decompressor = hf_decompressor_new()};
    struct hf_packer *packer = packer_new(receive, &received);
    packer_set_frame_bytes(packer, FRAME_BYTES);
    assert_int_equal(packer_send_chunks(packer, &unit, NULL, 0), 0);
    assert_int_equal(packer_send_versions(packer, &unit, 3), 0);
    assert_int_equal(received.chunks, COUNT);
    assert_int_equal(received.versions, 700);
    assert_true(received.largest <= FRAME_BYTES + CHUNK_BYTES);
    packer_free(packer);
    free_unit(&unit);
    unit = build_unit(3, HF_CHUNK_MAX_BYTES, 1); /* a chunk is not taken apart */
    received = (struct received){.decompressor = received.decompressor};
    packer = packer_new(receive, &received);
    packer_set_frame_bytes(packer, FRAME_BYTES);
    assert_int_equal(packer_send_chunks(packer, &unit, NULL, 0), 0);
    assert_int_equal(received.frames, 3);
    packer_free(packer);
    free_unit(&unit);
    hf_decompressor_free(received.decompressor);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks_of_any_size_arrive_in_frames_of_a_good_size),
        cmocka_unit_test(a_file_that_changes_is_sent_as_what_is_different),
        cmocka_unit_test(at_rest_it_forgets_no_version_that_the_next_can_stand_on),
        cmocka_unit_test(a_higher_level_makes_blocks_shorter_and_what_is_short_has_it_in_any_case),
        cmocka_unit_test(short_frames_hold_no_more_than_asked_for_but_for_one_chunk),
        cmocka_unit_test(only_needed_chunks_are_sent),
        cmocka_unit_test(many_versions_are_split_in_order),
        cmocka_unit_test(what_is_small_is_made_with_the_dictionary_while_there_is_one),
        cmocka_unit_test(a_closed_connection_ends_the_packing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
