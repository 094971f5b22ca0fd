/* How fast the catalog takes versions and answers, on this machine: prints figures, asserts
 * nothing. Usage: catalog_bench [versions] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "collector/catalog/catalog.h"
#include "common/bytes.h"
#include "common/clock.h"

#define BATCH 500 /* versions of one group commit, with two chunks each */

static struct hf_error error;

static void must(int rc)
{
    if (rc != HF_OK) {
        fprintf(stderr, "%s\n", error.message);
        exit(1);
    }
}

static double seconds_since(int64_t start_ns)
{
    return (double)(hf_clock_monotonic_ns() - start_ns) / 1e9;
}

static void put(struct hf_catalog *catalog, struct hf_event *event)
{
    static uint64_t offset;
    struct hf_location location = {.pack = 1, .offset = ++offset, .size = 100};
    event->time_ns = event->time_ns ? event->time_ns : (int64_t)offset + 1;
    must(catalog_check(catalog, event, &error));
    must(catalog_apply(catalog, event, &location, &error));
}

static void open_source(struct hf_catalog *catalog)
{
    struct hf_event host = {.type = HF_EVENT_HOST_CREATED};
    struct hf_event source = {.type = HF_EVENT_SOURCE_OPENED};
    host.host_created.host_id = event_text("h-0123456789abcdef");
    must(catalog_begin(catalog, &error));
    put(catalog, &host);
    source.source_opened.host_row = host.host_created.host_row;
    source.source_opened.name = event_text("bench");
    put(catalog, &source);
    must(catalog_commit(catalog, &error));
}

static size_t path_of(unsigned i, char out[128])
{
    return (size_t)snprintf(out, 128,
                            "usr/src/linux/drivers/net/ethernet/%03u/vendor-%03u/file-%u.c",
                            i / 6400, i / 80 % 80, i);
}

static void put_version(struct hf_catalog *catalog, unsigned i, uint64_t seq, uint32_t mode)
{
    char path[128];
    uint8_t refs[2 * HF_CHUNK_REF_BYTES];
    struct hf_event event = {.type = HF_EVENT_VERSION};
    struct hf_version *v = &event.version.version;
    for (unsigned k = 0; k < 2; k++) {
        unsigned number = 2 * i + k;
        hf_sha256(&number, sizeof number, refs + k * HF_CHUNK_REF_BYTES);
        hf_put_le32(refs + k * HF_CHUNK_REF_BYTES + HF_HASH_BYTES, 8192);
    }
    event.version = (struct hf_event_version){
        .host_row = 1, .source_row = 1, .at_ns = (int64_t)seq, .received_ns = (int64_t)seq};
    *v = (struct hf_version){.seq = seq,
                             .type = HF_FILE_REGULAR,
                             .path = {(const uint8_t *)path, path_of(i, path)},
                             .mode = mode,
                             .owner = event_text("robot"),
                             .group = event_text("robot"),
                             .mtime_ns = 1,
                             .size = 16384,
                             .refs = {refs, sizeof refs}};
    put(catalog, &event);
}

/* All files once more: with another mode (a version each), or the same (equal to live). */
static void capture(struct hf_catalog *catalog, unsigned count, uint64_t *seq, uint32_t mode,
                    bool with_chunks, const char *what)
{
    int64_t start_ns = hf_clock_monotonic_ns();
    int64_t worst_ns = 0;
    for (unsigned first = 0; first < count; first += BATCH) {
        int64_t batch_ns = hf_clock_monotonic_ns();
        must(catalog_begin(catalog, &error));
        for (unsigned i = first; i < first + BATCH && i < count; i++) {
            for (unsigned k = 0; with_chunks && k < 2; k++) {
                unsigned number = 2 * i + k;
                uint8_t ref[HF_CHUNK_REF_BYTES];
                struct hf_block block = {.codec = HF_CODEC_ZSTD, .chunks = {ref, sizeof ref}};
                struct hf_location location = {.pack = 1, .offset = number, .size = 4000};
                hf_sha256(&number, sizeof number, ref);
                hf_put_le32(ref + HF_HASH_BYTES, 8192);
                must(catalog_apply_block(catalog, &block, &location, 0, 1, NULL, &error));
            }
            put_version(catalog, i, ++*seq, mode);
        }
        must(catalog_commit(catalog, &error));
        batch_ns = hf_clock_monotonic_ns() - batch_ns;
        worst_ns = batch_ns > worst_ns ? batch_ns : worst_ns;
    }
    double seconds = seconds_since(start_ns);
    printf("%-42s %9.0f versions/s  %6.2f ms a batch of %d, worst %.1f ms\n", what, count / seconds,
           seconds * 1e3 * BATCH / count, BATCH, (double)worst_ns / 1e6);
}

static void look_up_chunks(struct hf_catalog_reader *reader, unsigned count)
{
    enum { IDS = 1000 };
    uint8_t ids[IDS * HF_HASH_BYTES];
    uint8_t bitmap[IDS / 8];
    unsigned done = 0;
    int64_t start_ns = hf_clock_monotonic_ns();
    for (unsigned first = 0; first + IDS <= 4 * count; first += IDS) { /* half of them unknown */
        for (unsigned k = 0; k < IDS; k++) {
            unsigned number = (first + k) * 2654435761u % (4 * count);
            hf_sha256(&number, sizeof number, ids + k * HF_HASH_BYTES);
        }
        must(catalog_chunks_missing(reader, 1, ids, IDS, bitmap, &error));
        done += IDS;
    }
    printf("%-42s %9.0f lookups/s\n", "chunks of HAVE", done / seconds_since(start_ns));
}

static void read_tree(struct hf_catalog_reader *reader, int64_t at_ns, const char *what)
{
    struct hf_catalog_memory memory = {0};
    struct hf_timeline_query query = {.source_row = 1, .at_ns = at_ns, .limit = 500};
    struct hf_version_page page;
    uint8_t after[HF_PATH_MAX_BYTES + 1];
    size_t rows = 0;
    int64_t start_ns = hf_clock_monotonic_ns();
    do {
        must(catalog_tree(reader, &query, &memory, &page, &error));
        rows += page.count;
        memcpy(after, page.next.data ? page.next.data : after, page.next.size);
        query.after = (struct hf_bytes){after, page.next.size};
        catalog_memory_free(&memory);
    } while (!page.last);
    printf("%-42s %9.0f rows/s\n", what, (double)rows / seconds_since(start_ns));
}

static void look_up_versions(struct hf_catalog_reader *reader, unsigned count)
{
    struct hf_catalog_memory memory = {0};
    struct hf_version_row row;
    int64_t start_ns = hf_clock_monotonic_ns();
    for (unsigned i = 0; i < count; i++) {
        char path[128];
        struct hf_bytes view = {(const uint8_t *)path, path_of(i * 7919u % count, path)};
        must(catalog_version_at(reader, 1, view, HF_CATALOG_NOW, &memory, &row, &error));
        catalog_memory_free(&memory);
    }
    printf("%-42s %9.0f lookups/s\n", "one path's newest version", count / seconds_since(start_ns));
}

int main(int argc, char **argv)
{
    unsigned count = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 80000;
    char directory[] = "/tmp/hf-catalog-bench-XXXXXX";
    char path[64];
    struct hf_catalog *catalog;
    struct hf_catalog_reader *reader;
    uint64_t seq = 0;
    if (count == 0 || !mkdtemp(directory)) {
        fprintf(stderr, "usage: catalog_bench [versions]\n");
        return 1;
    }
    snprintf(path, sizeof path, "%s/catalog.db", directory);
    must(catalog_open(path, &catalog, &error));
    must(catalog_reader_open(path, &reader, &error));
    open_source(catalog);
    capture(catalog, count, &seq, 0644, true, "first capture, 2 new chunks each");
    int64_t first_ns = (int64_t)seq;
    capture(catalog, count, &seq, 0644, false, "equal to the live version");
    capture(catalog, count, &seq, 0600, false, "a new version each, chunks known");
    look_up_chunks(reader, count);
    look_up_versions(reader, count);
    read_tree(reader, HF_CATALOG_NOW, "whole tree in pages of 500, now");
    read_tree(reader, first_ns, "whole tree in pages of 500, in the past");
    catalog_reader_close(reader);
    catalog_close(catalog);
    static const char *const suffixes[] = {"", "-wal", "-shm", "-lock"};
    for (size_t i = 0; i < 4; i++) {
        char name[80];
        snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
        unlink(name);
    }
    rmdir(directory);
    return 0;
}
