#include "tests/fleet/content.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/compress.h"

#define TAILS          64u
#define HEAD_BYTES     224u /* of plaintext, padded with blanks */
#define TAIL_MIN_BYTES 300u
#define TAIL_MAX_BYTES 3800u
#define FRAME_HEADER   7u /* magic, descriptor, content size in two bytes */
#define BLOCK_HEADER   3u
/* RFC 8878, section 3.1.1.1: one segment, content size less 256 in two bytes. */
#define DESCRIPTOR 0x60u

struct tail {
    uint8_t plain[TAIL_MAX_BYTES + 256];
    size_t plain_size;
    struct hf_buf block; /* with its header; the last of a frame */
};

struct content {
    struct tail tails[TAILS];
};

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* Jobs in the form of the product's checkpoints, until it is long enough. */
static void write_tail(struct tail *tail, size_t wanted, uint64_t seed)
{
    static const char *const states[] = {"running", "waiting", "retrying", "completed"};
    char *text = (char *)tail->plain;
    size_t room = sizeof tail->plain;
    size_t size = (size_t)snprintf(text, room, "\"current_jobs\":[");
    for (uint64_t i = 0; size < wanted; i++) {
        uint64_t random = mix(seed + i);
        size += (size_t)snprintf(
            text + size, room - size,
            "%s{\"job_id\":\"%016llx\",\"workflow_id\":\"%08llx\",\"state\":\"%s\",\"progress\":%"
            "llu,"
            "\"current_node\":\"node_%llu\",\"variables\":{\"row\":%llu,\"retries\":%llu}}",
            i ? "," : "", (unsigned long long)random, (unsigned long long)(mix(random) >> 32),
            states[random & 3], (unsigned long long)(random >> 8) % 101,
            (unsigned long long)(random >> 16) % 40, (unsigned long long)(random >> 24) % 100000,
            (unsigned long long)(random >> 41) % 4);
    }
    size += (size_t)snprintf(
        text + size, room - size, "],\"stats\":{\"completed\":%llu,\"failed\":%llu}}\n",
        (unsigned long long)(mix(seed) % 5000), (unsigned long long)(mix(seed + 1) % 50));
    tail->plain_size = size;
}

/* The one block of the tail's own frame. */
static int compress_tail(struct tail *tail, struct hf_compressor *compressor,
                         struct hf_error *error)
{
    struct hf_buf frame = {0};
    enum hf_codec codec;
    int rc = hf_compress(compressor, tail->plain, tail->plain_size, &frame, &codec);
    if (rc == HF_OK && (codec != HF_CODEC_ZSTD || frame.size < FRAME_HEADER + BLOCK_HEADER ||
                        frame.data[4] != DESCRIPTOR)) {
        rc = HF_ERR_UNSUPPORTED;
    }
    uint32_t header = 0;
    if (rc == HF_OK) {
        memcpy(&header, frame.data + FRAME_HEADER, BLOCK_HEADER);
        bool alone = (header & 1) && FRAME_HEADER + BLOCK_HEADER + (header >> 3) == frame.size &&
                     FRAME_HEADER + BLOCK_HEADER + HEAD_BYTES + frame.size <=
                         sizeof((struct checkpoint *)0)->wire;
        rc = alone
                 ? hf_buf_append(&tail->block, frame.data + FRAME_HEADER, frame.size - FRAME_HEADER)
                 : HF_ERR_UNSUPPORTED;
    }
    hf_buf_free(&frame);
    return rc == HF_OK ? HF_OK
                       : hf_error_set(error, rc, 0, "This zstd makes no frame of one block");
}

int content_new(struct content **out, struct hf_error *error)
{
    struct content *content = calloc(1, sizeof *content);
    struct hf_compressor *compressor = hf_compressor_new(3);
    int rc = content && compressor ? HF_OK : HF_ERR_NO_MEMORY;
    if (rc != HF_OK) {
        hf_error_set(error, rc, 0, "No memory");
    }
    for (size_t i = 0; rc == HF_OK && i < TAILS; i++) {
        /* Most are small: a robot runs few jobs at a time. */
        size_t wanted =
            TAIL_MIN_BYTES + (TAIL_MAX_BYTES - TAIL_MIN_BYTES) * i * i / (TAILS * TAILS);
        write_tail(&content->tails[i], wanted, i * 1000);
        rc = compress_tail(&content->tails[i], compressor, error);
    }
    hf_compressor_free(compressor);
    if (rc != HF_OK) {
        content_free(content);
        return rc;
    }
    *out = content;
    return HF_OK;
}

void content_free(struct content *content)
{
    for (size_t i = 0; content && i < TAILS; i++) {
        hf_buf_free(&content->tails[i].block);
    }
    free(content);
}

static void put_hex(char *to, uint64_t value)
{
    static const char digits[] = "0123456789abcdef";
    for (int i = 15; i >= 0; i--, value >>= 4) {
        to[i] = digits[value & 15];
    }
}

static void put_decimal(char *to, size_t width, uint64_t value)
{
    for (size_t i = width; i-- > 0; value /= 10) {
        to[i] = (char)('0' + value % 10);
    }
}

/* snprintf for each would cost more than all the rest. */
static void write_head(uint8_t *head, uint32_t agent, uint64_t seq)
{
    static const char form[] =
        "{\"checkpoint_id\":\"################\",\"robot_id\":\"load-#####\",\"state\":\"running\","
        "\"sequence\":\"################\",\"node\":\"################################\",";
    enum { ID_AT = 18, ROBOT_AT = 53, SEQUENCE_AT = 90, NODE_AT = 116 };
    _Static_assert(sizeof form < HEAD_BYTES, "the head holds its form");
    memset(head, ' ', HEAD_BYTES);
    memcpy(head, form, sizeof form - 1);
    uint64_t random = mix((uint64_t)agent << 40 ^ seq);
    put_hex((char *)head + ID_AT, random);
    put_decimal((char *)head + ROBOT_AT, 5, agent);
    put_decimal((char *)head + SEQUENCE_AT, 16, seq);
    put_hex((char *)head + NODE_AT, mix(random));
    put_hex((char *)head + NODE_AT + 16, mix(random + 1));
}

void content_make(const struct content *content, uint32_t agent, uint64_t seq, int64_t now_ns,
                  struct checkpoint *out)
{
    uint8_t plain[HEAD_BYTES + sizeof content->tails[0].plain];
    const struct tail *tail = &content->tails[mix(agent + seq * 31) % TAILS];
    size_t size = HEAD_BYTES + tail->plain_size;
    write_head(plain, agent, seq);
    memcpy(plain + HEAD_BYTES, tail->plain, tail->plain_size);
    hf_sha256(plain, size, out->refs);
    hf_put_le32(out->refs + HF_HASH_BYTES, (uint32_t)size);

    uint8_t *wire = out->wire;
    hf_put_le32(wire, 0xfd2fb528u); /* zstd's magic number */
    wire[4] = DESCRIPTOR;
    wire[5] = (uint8_t)(size - 256);
    wire[6] = (uint8_t)((size - 256) >> 8);
    uint32_t raw_block = HEAD_BYTES << 3; /* raw, not the last */
    memcpy(wire + FRAME_HEADER, &raw_block, BLOCK_HEADER);
    memcpy(wire + FRAME_HEADER + BLOCK_HEADER, plain, HEAD_BYTES);
    size_t wire_size = FRAME_HEADER + BLOCK_HEADER + HEAD_BYTES;
    memcpy(wire + wire_size, tail->block.data, tail->block.size);
    wire_size += tail->block.size;

    static const char path[] = "home/robot/.casare_rpa/checkpoints/agent_load-#####.json";
    enum { NUMBER_AT = 46 };
    memcpy(out->path, path, sizeof path);
    put_decimal(out->path + NUMBER_AT, 5, agent);
    out->block = (struct hf_block){
        .codec = HF_CODEC_ZSTD, .chunks = {out->refs, sizeof out->refs}, .data = {wire, wire_size}};
    out->version = (struct hf_version){
        .seq = seq,
        .type = HF_FILE_REGULAR,
        .path = {(const uint8_t *)out->path, sizeof path - 1},
        .captured_ns = now_ns,
        .mode = 0600,
        .uid = 1000,
        .gid = 1000,
        .owner = {(const uint8_t *)"robot", 5},
        .group = {(const uint8_t *)"robot", 5},
        .mtime_ns = now_ns,
        .size = size,
        .refs = {out->refs, sizeof out->refs},
    };
}
