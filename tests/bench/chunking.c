/* What chunks of which length cost and save, by class: made-up files and their versions
 * (corpus.c), or those of a directory, are cut with several averages, and with what their class has
 * (*). For each:
 *
 *   mean     of all chunks, KiB
 *   dedup    bytes of all versions to bytes of the chunks that are new
 *   rows/GB  new chunks (rows of the index) to a GB of all versions
 *   alone    what is stored: each new chunk compressed for itself, zstd -1
 *   blocks   likewise, but the new chunks of a version together, in blocks of 768 KiB at most
 *   deltas   likewise, each for itself against what stood in its place in the version before
 *   MB/s     of cutting alone, by the processor time it takes
 *
 * What is stored is in permille of all versions' bytes and includes 100 bytes a new chunk (its
 * record and row) and 36 a reference. With --scans: how fast content is looked through for a cut,
 * in the ways that this machine knows, and what else capture does with it. */
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <zstd.h>

#include "common/buf.h"
#include "common/chunker_private.h"
#include "common/hash.h"
#include "proto/version.h"
#include "tests/bench/corpus.h"

#define OVERHEAD_BYTES  100u
#define BLOCK_MAX_BYTES (768u * 1024u)
#define FILES_MAX       4096u
#define ID_SLOTS        (1u << 20)
#define SCAN_BYTES      ((size_t)1 << 20)
#define SCAN_TRIES      200
#define KIB             1024u

static const size_t averages_kib[] = {8, 16, 32, 64, 128, 256};
#define AVERAGES (sizeof averages_kib / sizeof averages_kib[0])
#define MEASURES (AVERAGES + 1) /* the last: what the class has */

struct version {
    struct hf_buf data;
    size_t *starts; /* of its chunks, and its size behind them */
    size_t count;
};

struct measure {
    struct hf_chunker_params params;
    const char *class_name; /* whose own are taken, by each file's size; NULL: those above */
    uint64_t *ids;          /* their first 8 bytes; 0 for none */
    struct version before[FILES_MAX];
    uint64_t bytes, new_bytes, chunks, new_chunks, overhead, alone, blocks, deltas;
    double seconds;
};

static struct hf_chunker *chunker;
static ZSTD_CCtx *compressor;
static struct measure *measures;

static void *must(void *memory)
{
    if (!memory) {
        fputs("out of memory\n", stderr);
        exit(1);
    }
    return memory;
}

static void append(struct hf_buf *buf, const uint8_t *data, size_t size)
{
    must(hf_buf_append(buf, data, size) == 0 ? buf : NULL);
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static bool is_new(struct measure *measure, const uint8_t *data, size_t size)
{
    uint8_t hash[HF_HASH_BYTES];
    uint64_t id;
    hf_sha256(data, size, hash);
    memcpy(&id, hash, sizeof id);
    id |= 1;
    size_t slot = (size_t)(id >> 32) % ID_SLOTS;
    while (measure->ids[slot] != 0 && measure->ids[slot] != id) {
        slot = (slot + 1) % ID_SLOTS;
    }
    bool known = measure->ids[slot] == id;
    measure->ids[slot] = id;
    return !known;
}

static size_t compressed(const uint8_t *data, size_t size, const uint8_t *before,
                         size_t before_size)
{
    static uint8_t out[BLOCK_MAX_BYTES + HF_CHUNK_MAX_BYTES];
    ZSTD_CCtx_reset(compressor, ZSTD_reset_session_and_parameters);
    ZSTD_CCtx_setParameter(compressor, ZSTD_c_compressionLevel, 1);
    if (before_size > 0) {
        ZSTD_CCtx_refPrefix(compressor, before, before_size);
    }
    size_t got = ZSTD_compress2(compressor, out, sizeof out, data, size);
    return ZSTD_isError(got) || got > size ? size : got;
}

/* The chunk of the version before that reaches farthest over the place of this one. */
static size_t predecessor(const struct version *before, size_t start, size_t end)
{
    size_t best = 0;
    size_t most = 0;
    for (size_t i = 0; i < before->count; i++) {
        size_t from = before->starts[i] > start ? before->starts[i] : start;
        size_t to = before->starts[i + 1] < end ? before->starts[i + 1] : end;
        if (to > from && to - from > most) {
            most = to - from;
            best = i;
        }
    }
    return best;
}

static void cut(struct measure *measure, struct version *version)
{
    size_t size = version->data.size;
    const struct hf_chunker_params *params =
        measure->class_name ? hf_chunker_params_of(measure->class_name, size) : &measure->params;
    version->starts = must(malloc((size / params->min_bytes + 3) * sizeof *version->starts));
    double began = seconds();
    for (size_t at = 0; at < size;) {
        version->starts[version->count++] = at;
        at += size <= params->single_max_bytes
                  ? size
                  : hf_chunker_cut(chunker, params, version->data.data + at, size - at, 1);
    }
    measure->seconds += seconds() - began;
    version->starts[version->count] = size;
}

/* A new chunk, and what stood in its place before. */
static void store(struct measure *measure, const struct version *before, const uint8_t *chunk,
                  size_t start, size_t end)
{
    size_t length = end - start;
    const uint8_t *old = NULL;
    size_t old_length = 0;
    if (before->count > 0) {
        size_t index = predecessor(before, start, end);
        old = before->data.data + before->starts[index];
        old_length = before->starts[index + 1] - before->starts[index];
    }
    measure->new_chunks++;
    measure->new_bytes += length;
    measure->overhead += OVERHEAD_BYTES;
    measure->alone += compressed(chunk, length, NULL, 0);
    measure->deltas += compressed(chunk, length, old, old_length);
}

static void take_one(struct measure *measure, size_t file, const uint8_t *data, size_t size)
{
    struct version version = {0};
    struct version *before = &measure->before[file];
    struct hf_buf block = {0};
    append(&version.data, data, size);
    cut(measure, &version);
    measure->bytes += size;
    measure->chunks += version.count;
    measure->overhead += version.count * HF_CHUNK_REF_BYTES;
    for (size_t i = 0; i < version.count; i++) {
        const uint8_t *chunk = version.data.data + version.starts[i];
        size_t length = version.starts[i + 1] - version.starts[i];
        if (!is_new(measure, chunk, length)) {
            continue;
        }
        store(measure, before, chunk, version.starts[i], version.starts[i + 1]);
        if (block.size + length > BLOCK_MAX_BYTES) {
            measure->blocks += compressed(block.data, block.size, NULL, 0);
            hf_buf_clear(&block);
        }
        append(&block, chunk, length);
    }
    measure->blocks += block.size > 0 ? compressed(block.data, block.size, NULL, 0) : 0;
    hf_buf_free(&block);
    hf_buf_free(&before->data);
    free(before->starts);
    *before = version;
}

static void take(void *context, size_t file, const uint8_t *data, size_t size)
{
    (void)context;
    for (size_t i = 0; file < FILES_MAX && size > 0 && i < MEASURES; i++) {
        take_one(&measures[i], file, data, size);
    }
}

static void begin(size_t min_divisor, const char *class_name)
{
    measures = must(calloc(MEASURES, sizeof *measures));
    for (size_t i = 0; i < MEASURES; i++) {
        measures[i].ids = must(calloc(ID_SLOTS, sizeof *measures[i].ids));
    }
    for (size_t i = 0; i < AVERAGES; i++) {
        size_t average = averages_kib[i] * KIB;
        size_t max = average * 8 < HF_CHUNK_MAX_BYTES ? average * 8 : HF_CHUNK_MAX_BYTES;
        measures[i].params = (struct hf_chunker_params){.single_max_bytes = average / min_divisor,
                                                        .min_bytes = average / min_divisor,
                                                        .average_bytes = average,
                                                        .max_bytes = max};
    }
    measures[AVERAGES].class_name = class_name;
    measures[AVERAGES].params = *hf_chunker_params_of(class_name, 0);
}

static void end(void)
{
    for (size_t i = 0; i < MEASURES; i++) {
        for (size_t file = 0; file < FILES_MAX; file++) {
            hf_buf_free(&measures[i].before[file].data);
            free(measures[i].before[file].starts);
        }
        free(measures[i].ids);
    }
    free(measures);
}

static void print(const char *name, bool json)
{
    for (size_t i = 0; i < MEASURES; i++) {
        const struct measure *m = &measures[i];
        double all = m->bytes > 0 ? (double)m->bytes : 1;
        const char *own = m->class_name ? json ? "true" : "*" : json ? "false" : "";
        printf(json ? "{\"corpus\": \"%s\", \"of_class\": %s, \"average_kib\": %zu, "
                      "\"min_kib\": %zu, \"bytes\": %llu, \"mean_kib\": %.1f, \"dedup\": %.2f, "
                      "\"rows_per_gb\": %.0f, \"alone_permille\": %.2f, "
                      "\"blocks_permille\": %.2f, \"deltas_permille\": %.2f, "
                      "\"mb_per_s\": %.0f}\n"
                    : "%-12s %1s %4zu %4zu %10llu %8.1f %8.2f %9.0f %8.2f %8.2f %8.2f %7.0f\n",
               name, own, m->params.average_bytes / KIB, m->params.min_bytes / KIB,
               (unsigned long long)m->bytes, all / KIB / (m->chunks > 0 ? (double)m->chunks : 1),
               all / (m->new_bytes > 0 ? (double)m->new_bytes : 1),
               (double)m->new_chunks * 1e9 / all, (double)(m->overhead + m->alone) * 1000 / all,
               (double)(m->overhead + m->blocks) * 1000 / all,
               (double)(m->overhead + m->deltas) * 1000 / all,
               all / 1e6 / (m->seconds > 0 ? m->seconds : 1e-9));
    }
    fflush(stdout);
}

/* --- how fast --- */

/* Where the gear hash itself decides, which gives its table away: to compare with. */
static size_t scan_gear_alone(const struct hf_chunker *of, const uint8_t *data, size_t from,
                              size_t to, uint32_t limit)
{
    uint64_t hash = chunker_warm(of, data, from);
    for (size_t i = from; i < to; i++) {
        hash = (hash << 1) + of->gear[data[i]];
        if (hash >> 32 < limit) {
            return i + 1;
        }
    }
    return 0;
}

static size_t hash_all(const struct hf_chunker *of, const uint8_t *data, size_t from, size_t to,
                       uint32_t limit)
{
    uint8_t id[HF_HASH_BYTES];
    (void)of, (void)limit;
    hf_sha256(data + from, to - from, id);
    return id[0];
}

static size_t compress_all(const struct hf_chunker *of, const uint8_t *data, size_t from, size_t to,
                           uint32_t limit)
{
    size_t size = 0;
    (void)of, (void)limit;
    for (size_t part = 64 * KIB; from + part <= to; from += part) {
        size += compressed(data + from, part, NULL, 0);
    }
    return size;
}

static void keep(void *context, size_t file, const uint8_t *data, size_t size)
{
    struct hf_buf *text = context;
    (void)file;
    if (text->size < SCAN_BYTES) {
        append(text, data, size);
    }
}

/* The fastest of many tries over what the processor has at hand: others use it too. */
static void measure_scans(void)
{
    struct hf_buf text = {0};
    const struct {
        const char *name;
        chunker_scan *scan;
        bool there;
    } ways[] = {
        {"gear hash alone", scan_gear_alone, true},
        {"AES by libcrypto", chunker_scan_portable, true},
#ifdef CHUNKER_X86
        {"AES-NI", chunker_scan_aesni, chunker_has_aesni()},
        {"VAES", chunker_scan_vaes, chunker_has_aesni() && chunker_has_vaes()},
#endif
        {"SHA-256", hash_all, true},
        {"zstd -1", compress_all, true},
    };
    corpora[2].make(8, keep, &text);
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        double best = 1e9;
        for (int attempt = 0; ways[i].there && attempt < SCAN_TRIES; attempt++) {
            double began = seconds();
            ways[i].scan(chunker, text.data, 64, SCAN_BYTES, 0);
            double took = seconds() - began;
            best = took < best ? took : best;
        }
        if (ways[i].there) {
            printf("%-18s %6.0f MB/s\n", ways[i].name, (double)SCAN_BYTES / 1e6 / best);
        }
    }
    hf_buf_free(&text);
}

/* --- the command --- */

struct wish {
    const char *corpus, *directory, *class_name;
    unsigned versions;
    size_t min_divisor;
    bool json, scans;
};

static bool understand(int argc, char **argv, struct wish *wish)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'},
                                            {"corpus", required_argument, NULL, 'c'},
                                            {"versions", required_argument, NULL, 'v'},
                                            {"min", required_argument, NULL, 'm'},
                                            {"directory", required_argument, NULL, 'd'},
                                            {"class", required_argument, NULL, 'k'},
                                            {"scans", no_argument, NULL, 's'},
                                            {0}};
    bool understood = true;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        wish->json = wish->json || option == 'j';
        wish->scans = wish->scans || option == 's';
        wish->corpus = option == 'c' ? optarg : wish->corpus;
        wish->directory = option == 'd' ? optarg : wish->directory;
        wish->class_name = option == 'k' ? optarg : wish->class_name;
        wish->versions = option == 'v' ? (unsigned)strtoul(optarg, NULL, 10) : wish->versions;
        wish->min_divisor = option == 'm' ? strtoul(optarg, NULL, 10) : wish->min_divisor;
        understood = understood && option != '?';
    }
    return understood && optind == argc && wish->min_divisor >= 2 && wish->min_divisor <= 16;
}

static int measure_all(const struct wish *wish)
{
    int failed = 0;
    if (!wish->json) {
        printf("%-12s %1s %4s %4s %10s %8s %8s %9s %8s %8s %8s %7s\n", "corpus", "", "KiB", "min",
               "bytes", "mean", "dedup", "rows/GB", "alone", "blocks", "deltas", "MB/s");
    }
    if (wish->directory) {
        begin(wish->min_divisor, wish->class_name);
        failed =
            corpus_of_directory(wish->directory, wish->versions ? wish->versions : 20, take, NULL);
        if (failed) {
            perror(wish->directory);
        }
        print("directory", wish->json);
        end();
        return failed;
    }
    for (size_t i = 0; i < corpora_count; i++) {
        if (!wish->corpus || strcmp(wish->corpus, corpora[i].name) == 0) {
            begin(wish->min_divisor, corpora[i].class_name);
            corpora[i].make(wish->versions ? wish->versions : corpora[i].versions, take, NULL);
            print(corpora[i].name, wish->json);
            end();
        }
    }
    return failed;
}

int main(int argc, char **argv)
{
    static const uint8_t seed[HF_CHUNK_SEED_BYTES] = "the benchmark's own";
    struct wish wish = {.class_name = "workflows", .min_divisor = 2};
    int failed = 0;
    if (!understand(argc, argv, &wish)) {
        fputs("Usage: chunking [--json] [--corpus NAME] [--versions N] [--min N]\n"
              "       chunking --directory DIR [--class NAME] ...\n"
              "       chunking --scans\n"
              "--min: the minimum is that part of the average, 2 to 16\n",
              stderr);
        return 2;
    }
    chunker = must(hf_chunker_new(seed));
    compressor = must(ZSTD_createCCtx());
    if (wish.scans) {
        measure_scans();
    } else {
        failed = measure_all(&wish);
    }
    ZSTD_freeCCtx(compressor);
    hf_chunker_free(chunker);
    return failed ? 1 : 0;
}
