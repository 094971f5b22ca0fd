/* One frame of each kind, with a value of its own in each field: the same as in the examples of
 * proto/PROTOCOL.md. The bytes they point at are constants. */
#ifndef HF_TESTS_PROTO_SAMPLES_H
#define HF_TESTS_PROTO_SAMPLES_H

#include "common/clock.h"
#include "proto/frame.h"

#define SAMPLE_TEXT(literal)                                                                       \
    {                                                                                              \
        (const uint8_t *)(literal), sizeof(literal) - 1                                            \
    }
#define SAMPLE_NOW INT64_C(1764000000123456789)

/* SHA-256 of "hello\n". */
#define SAMPLE_ID                                                                                  \
    "\x58\x91\xb5\xb5\x22\xd5\xdf\x08\x6d\x0f\xf0\xb1\x10\xfb\xd9\xd2"                             \
    "\x1b\xb4\xfc\x71\x63\xaf\x34\xd0\x82\x86\xa2\xe8\x46\xf6\xbe\x03"
/* SHA-256 of 1,000 bytes "a", and them as one zstd frame. */
#define SAMPLE_ID_A                                                                                \
    "\x41\xed\xec\xe4\x2d\x63\xe8\xd9\xbf\x51\x5a\x9b\xa6\x93\x2e\x1c"                             \
    "\x20\xcb\xc9\xf5\xa5\xd1\x34\x64\x5a\xdb\x5d\xb1\xb9\x73\x7e\xa3"
#define SAMPLE_ZSTD_A "\x28\xb5\x2f\xfd\x60\xe8\x02\x4d\x00\x00\x10\x61\x61\x01\x00\xe3\x2b\x80\x05"

/* user.a of "1", user.b of nothing. */
#define SAMPLE_XATTRS "\x06user.a\x01\x00\x00\x00\x31\x06user.b\x00\x00\x00\x00"

static const struct hf_version sample_versions[] = {
    {.seq = 41,
     .type = HF_FILE_REGULAR,
     .flags = HF_VERSION_UNPARSABLE,
     .path = SAMPLE_TEXT("home/robot/checkpoint.json"),
     .captured_ns = SAMPLE_NOW,
     .mode = 0640,
     .uid = 1000,
     .gid = 1001,
     .owner = SAMPLE_TEXT("robot"),
     .group = SAMPLE_TEXT("robots"),
     .mtime_ns = SAMPLE_NOW - 5,
     .size = 6,
     .depth = 0,
     .refs = SAMPLE_TEXT(SAMPLE_ID "\x06\x00\x00\x00"),
     .job = 0,
     .link = 6442450951,
     .xattrs = SAMPLE_TEXT(SAMPLE_XATTRS)},
    {.seq = 42, .type = HF_FILE_ABSENT, .path = SAMPLE_TEXT("home/robot/old"), .captured_ns = 7},
    {.seq = 43,
     .type = HF_FILE_DIRECTORY,
     .path = SAMPLE_TEXT("home/robot/logs"),
     .captured_ns = SAMPLE_NOW,
     .mode = 01755,
     .uid = 0,
     .gid = 0,
     .owner = SAMPLE_TEXT("root"),
     .group = SAMPLE_TEXT("root"),
     .mtime_ns = -1},
    {.seq = 44,
     .type = HF_FILE_SYMLINK,
     .flags = HF_VERSION_RESTORED,
     .path = SAMPLE_TEXT("home/robot/caf\xe9"),
     .captured_ns = SAMPLE_NOW,
     .mode = 0777,
     .uid = 4294967294u,
     .gid = 65534,
     .target = SAMPLE_TEXT("../logs/today"),
     .job = 12},
    {.seq = 45,
     .type = HF_FILE_REGULAR,
     .path = SAMPLE_TEXT("home/robot/large"),
     .captured_ns = SAMPLE_NOW,
     .mode = 0600,
     .uid = 1000,
     .gid = 1000,
     .owner = SAMPLE_TEXT("robot"),
     .group = SAMPLE_TEXT("robot"),
     .mtime_ns = SAMPLE_NOW,
     .size = 5000000000,
     .depth = 1,
     .refs = SAMPLE_TEXT(SAMPLE_ID_A "\x00\xa0\x05\x00" SAMPLE_ID "\x48\x00\x00\x00")},
};

static const struct hf_block sample_blocks[] = {
    {.codec = HF_CODEC_RAW,
     .chunks = SAMPLE_TEXT(SAMPLE_ID "\x06\x00\x00\x00"),
     .data = SAMPLE_TEXT("hello\n")},
    {.codec = HF_CODEC_ZSTD,
     .chunks = SAMPLE_TEXT(SAMPLE_ID_A "\xe8\x03\x00\x00"),
     .data = SAMPLE_TEXT(SAMPLE_ZSTD_A)},
    {.codec = HF_CODEC_DELTA,
     .aid = SAMPLE_TEXT(SAMPLE_ID),
     .chunks = SAMPLE_TEXT(SAMPLE_ID_A "\xe8\x03\x00\x00" SAMPLE_ID "\x06\x00\x00\x00"),
     .data = SAMPLE_TEXT(SAMPLE_ZSTD_A)},
    {.codec = HF_CODEC_DICTIONARY,
     .aid = SAMPLE_TEXT(SAMPLE_ID_A),
     .chunks = SAMPLE_TEXT(SAMPLE_ID_A "\xe8\x03\x00\x00"),
     .data = SAMPLE_TEXT(SAMPLE_ZSTD_A)},
};

static const struct hf_bytes sample_capabilities[] = {SAMPLE_TEXT("delta"),
                                                      SAMPLE_TEXT("zstd-dict")};
static const struct hf_bytes sample_roots[] = {SAMPLE_TEXT("/home/robot"),
                                               SAMPLE_TEXT("/etc/casare")};
static const struct hf_bytes sample_offer_paths[] = {SAMPLE_TEXT("home/robot/checkpoint.json"),
                                                     SAMPLE_TEXT("etc/casare")};
static const struct hf_ack sample_acks[] = {{1, 41, SAMPLE_NOW}, {2, 300, SAMPLE_NOW + 1}};
static const struct hf_restore_result sample_results[] = {
    {SAMPLE_TEXT("home/robot/checkpoint.json"), HF_RESTORE_RESTORED, 6, {NULL, 0}},
    {SAMPLE_TEXT("home/robot/notes"), HF_RESTORE_FAILED, 70000, SAMPLE_TEXT("No space left")},
};

static const struct hf_frame sample_frames[] = {
    {.type = HF_FRAME_HELLO,
     .seq = 1,
     .hello = {.version_min = 1,
               .version_max = 3,
               .capabilities = sample_capabilities,
               .capability_count = 2,
               .agent_version = SAMPLE_TEXT("0.1.0"),
               .hostname = SAMPLE_TEXT("robot-01"),
               .machine_id = SAMPLE_TEXT("1f0e3dad99908345f7439f8ffabdffc4"),
               .os = SAMPLE_TEXT("Debian GNU/Linux 12 (bookworm)"),
               .now_ns = SAMPLE_NOW,
               .instance = SAMPLE_TEXT("\x00\x11\x22\x33\x44\x55\x66\x77"
                                       "\x88\x99\xaa\xbb\xcc\xdd\xee\xff")}},
    {.type = HF_FRAME_WELCOME,
     .seq = 1,
     .welcome = {.version = 1,
                 .capabilities = sample_capabilities,
                 .capability_count = 1,
                 .host_id = SAMPLE_TEXT("h-0123456789abcdef"),
                 .session = 77,
                 .now_ns = SAMPLE_NOW + 1,
                 .credit_bytes = 4194304,
                 .frame_max_bytes = 1048576,
                 .ping_seconds = 20,
                 .chunking = SAMPLE_TEXT("\x10\x11\x12\x13\x14\x15\x16\x17"
                                         "\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f"
                                         "\x20\x21\x22\x23\x24\x25\x26\x27"
                                         "\x28\x29\x2a\x2b\x2c\x2d\x2e\x2f")}},
    {.type = HF_FRAME_SOURCE,
     .seq = 2,
     .source = {.stream = 1,
                .name = SAMPLE_TEXT("checkpoints"),
                .kind = SAMPLE_TEXT("files"),
                .class_name = SAMPLE_TEXT("config"),
                .roots = sample_roots,
                .root_count = 2}},
    {.type = HF_FRAME_SOURCE_STATE,
     .seq = 2,
     .source_state =
         {.stream = 1, .version_seq = 40, .file_count = 17, .dictionary = SAMPLE_TEXT(SAMPLE_ID)}},
    {.type = HF_FRAME_HAVE,
     .seq = 3,
     .ids = {.request = 5, .ids = SAMPLE_TEXT(SAMPLE_ID SAMPLE_ID_A)}},
    {.type = HF_FRAME_NEED, .seq = 3, .need = {.request = 5, .bitmap = SAMPLE_TEXT("\x02")}},
    {.type = HF_FRAME_CHUNKS, .seq = 4, .chunks = {.blocks = sample_blocks, .count = 4, .job = 0}},
    {.type = HF_FRAME_VERSIONS,
     .seq = 5,
     .versions = {.stream = 1, .versions = sample_versions, .count = 5}},
    {.type = HF_FRAME_ACK, .seq = 4, .ack = {.acks = sample_acks, .count = 2}},
    {.type = HF_FRAME_CREDIT, .seq = 5, .credit = {.total_bytes = 8388608}},
    {.type = HF_FRAME_MARK,
     .seq = 6,
     .mark = {.stream = 1,
              .version_seq = 45,
              .until_ns = SAMPLE_NOW,
              .state = HF_SOURCE_DEGRADED,
              .pending_files = 3,
              .note = SAMPLE_TEXT("inotify's limit is reached")}},
    {.type = HF_FRAME_ERROR,
     .seq = 6,
     .refusal = {.code = HF_WIRE_MISSING_CHUNKS,
                 .about_seq = 5,
                 .stream = 1,
                 .version_seq = 41,
                 .message = SAMPLE_TEXT("Chunks are missing"),
                 .ids = SAMPLE_TEXT(SAMPLE_ID)}},
    {.type = HF_FRAME_GOAWAY,
     .seq = 7,
     .refusal = {.code = HF_WIRE_SHUTDOWN,
                 .retry_after_ms = 1500,
                 .message = SAMPLE_TEXT("The collector is stopping")}},
    {.type = HF_FRAME_LIST,
     .seq = 7,
     .list = {.stream = 1, .after_path = SAMPLE_TEXT("home/robot/a")}},
    {.type = HF_FRAME_LISTING,
     .seq = 8,
     .versions = {.stream = 1, .versions = sample_versions, .count = 1, .last = true}},
    {.type = HF_FRAME_RENEW, .seq = 8, .blob = {SAMPLE_TEXT("\x30\x03\x02\x01\x00")}},
    {.type = HF_FRAME_RENEWED, .seq = 9, .blob = {SAMPLE_TEXT("-----BEGIN CERTIFICATE-----\n")}},
    {.type = HF_FRAME_DICTIONARY_GET, .seq = 9, .dictionary = {.id = SAMPLE_TEXT(SAMPLE_ID)}},
    {.type = HF_FRAME_DICTIONARY,
     .seq = 10,
     .dictionary = {.id = SAMPLE_TEXT(SAMPLE_ID), .bytes = SAMPLE_TEXT("hello\n")}},
    {.type = HF_FRAME_RESTORE_OFFER,
     .seq = 10,
     .offer = {.job = 9,
               .source = SAMPLE_TEXT("checkpoints"),
               .origin_host = SAMPLE_TEXT("h-fedcba9876543210"),
               .at_ns = SAMPLE_NOW,
               .destination = SAMPLE_TEXT("/srv/back"),
               .conflict = HF_CONFLICT_RENAME,
               .dry_run = false,
               .file_count = 2,
               .byte_count = 70006,
               .expires_ns = SAMPLE_NOW + 3600 * HF_NS_PER_SECOND,
               .paths = sample_offer_paths,
               .path_count = 2}},
    {.type = HF_FRAME_RESTORE_ANSWER,
     .seq = 9,
     .answer = {.job = 9, .accepted = true, .message = {NULL, 0}}},
    {.type = HF_FRAME_RESTORE_NEXT,
     .seq = 10,
     .next = {.job = 9, .cursor = SAMPLE_TEXT("home/robot/a")}},
    {.type = HF_FRAME_RESTORE_PAGE,
     .seq = 11,
     .page = {.job = 9,
              .versions = sample_versions,
              .count = 1,
              .next_cursor = SAMPLE_TEXT("home/robot/checkpoint.json"),
              .last = false}},
    {.type = HF_FRAME_CHUNK_GET, .seq = 11, .ids = {.request = 9, .ids = SAMPLE_TEXT(SAMPLE_ID)}},
    {.type = HF_FRAME_CHUNKS, .seq = 12, .chunks = {.blocks = sample_blocks, .count = 1, .job = 9}},
    {.type = HF_FRAME_RESTORE_RESULT,
     .seq = 12,
     .results = {.job = 9, .results = sample_results, .count = 2}},
    {.type = HF_FRAME_RESTORE_DONE,
     .seq = 13,
     .done = {.job = 9,
              .outcome = HF_JOB_FAILED,
              .file_count = 2,
              .failed_count = 1,
              .fetched_bytes = 6,
              .reused_bytes = 1000,
              .message = SAMPLE_TEXT("1 of 2 files failed")}},
    {.type = HF_FRAME_RESTORE_CANCEL, .seq = 13, .cancel = {.job = 9}},
};
#define SAMPLE_FRAME_COUNT (sizeof sample_frames / sizeof sample_frames[0])

#endif
