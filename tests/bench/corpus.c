#include "tests/bench/corpus.h"

#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sqlite3.h>

#include "common/fs.h"

#define FILE_MAX_BYTES ((size_t)256 << 20)

/* --- chance, the same every time: splitmix64 (Steele, Lea, Flood, OOPSLA 2014) --- */

static uint64_t state;

static uint64_t chance(void)
{
    uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static size_t below(size_t limit)
{
    return (size_t)(chance() % limit);
}

static void must(int ok)
{
    if (!ok) {
        fputs("out of memory, or SQLite failed\n", stderr);
        exit(1);
    }
}

__attribute__((format(printf, 2, 3))) static void put(struct hf_buf *out, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    must(size >= 0 && size < (int)sizeof text && hf_buf_append(out, text, (size_t)size) == 0);
}

static const char *const words[] = {
    "invoice", "order",   "customer", "browser", "click", "extract", "retry",   "timeout",
    "loop",    "branch",  "variable", "desktop", "email", "table",   "upload",  "download",
    "login",   "session", "archive",  "approve", "robot", "queue",   "trigger", "schedule",
};

static const char *word(void)
{
    return words[below(sizeof words / sizeof words[0])];
}

/* --- workflows: nodes and connections as an editor writes them --- */

static void put_node(struct hf_buf *out, uint64_t id, uint64_t edit)
{
    uint64_t saved = state;
    state = id * 7919 + edit;
    put(out,
        "    \"%s_%08x\": {\n      \"node_id\": \"%s_%08x\",\n      \"node_type\": \"%s%sNode\",\n"
        "      \"position\": [\n        %zu.0,\n        %zu.0\n      ],\n      \"config\": {\n",
        word(), (unsigned)id, word(), (unsigned)id, word(), word(), below(4000), below(3000));
    for (size_t i = 4 + below(8); i > 0; i--) {
        put(out, "        \"%s_%s\": \"%s %s %zu\",\n", word(), word(), word(), word(),
            below(1000));
    }
    put(out, "        \"enabled\": true\n      }\n    },\n");
    state = saved;
}

static void make_workflows(unsigned versions, corpus_take *take, void *context)
{
    static const size_t sizes[] = {30, 100, 400, 1000, 3000};
    for (size_t file = 0; file < sizeof sizes / sizeof sizes[0]; file++) {
        state = file + 1;
        size_t count = sizes[file];
        uint64_t(*nodes)[2] = calloc(count + versions * 4, sizeof *nodes);
        must(nodes != NULL);
        for (size_t i = 0; i < count; i++) {
            nodes[i][0] = chance() >> 16;
        }
        for (unsigned version = 0; version < versions; version++) {
            struct hf_buf out = {0};
            put(&out,
                "{\n  \"metadata\": {\n    \"name\": \"%s\",\n    \"modified_at\": \"%u\"\n  },"
                "\n  \"nodes\": {\n",
                words[file], version);
            for (size_t i = 0; i < count; i++) {
                put_node(&out, nodes[i][0], nodes[i][1]);
            }
            put(&out, "  }\n}\n");
            take(context, file, out.data, out.size);
            hf_buf_free(&out);
            for (size_t i = 1 + below(4); i > 0; i--) {
                nodes[below(count)][1] = version + 1; /* changed */
            }
            size_t at = below(count);
            if (version % 2 == 0) { /* one more */
                memmove(nodes + at + 1, nodes + at, (count - at) * sizeof *nodes);
                nodes[at][0] = chance() >> 16;
                nodes[at][1] = 0;
                count++;
            }
        }
        free(nodes);
    }
}

/* --- checkpoints: a state of 200 KB rewritten whole, little of it changed --- */

static void make_checkpoints(unsigned versions, corpus_take *take, void *context)
{
    enum { JOBS = 1000 };
    static uint64_t progress[JOBS], stamps[JOBS];
    state = 11;
    for (size_t i = 0; i < JOBS; i++) {
        progress[i] = below(100);
        stamps[i] = below(1000000);
    }
    for (unsigned version = 0; version < versions; version++) {
        struct hf_buf out = {0};
        put(&out,
            "{\"checkpoint_id\": \"%016llx\", \"last_heartbeat\": \"2026-11-23T19:%02u:%02u\", "
            "\"current_jobs\": [",
            (unsigned long long)chance(), version / 60 % 60, version % 60);
        uint64_t saved = state;
        for (size_t i = 0; i < JOBS; i++) {
            state = i;
            put(&out,
                "{\"job_id\": \"%016llx\", \"workflow\": \"%s_%s\", \"state\": \"%s\", "
                "\"progress\": %llu, \"started_at\": %llu, \"variables\": {\"%s\": %zu, "
                "\"%s\": \"%s\"}}, ",
                (unsigned long long)chance(), word(), word(), word(),
                (unsigned long long)progress[i], (unsigned long long)stamps[i], word(),
                below(100000), word(), word());
        }
        state = saved;
        put(&out, "{}]}\n");
        take(context, 0, out.data, out.size);
        hf_buf_free(&out);
        for (size_t i = 3 + below(8); i > 0; i--) {
            size_t job = below(JOBS);
            progress[job] += below(20);
            stamps[job] += below(1000);
        }
    }
}

/* --- logs: one that grows, and is found under another name once it was rotated --- */

static void put_line(struct hf_buf *out, uint64_t *time_ms)
{
    static const char *const levels[] = {"DEBUG", "INFO ", "INFO ", "INFO ", "WARN ", "ERROR"};
    *time_ms += below(400);
    put(out,
        "2026-11-23 %02llu:%02llu:%02llu.%03llu | %s | %s %s finished in %zu ms: %s=%zu "
        "job=%016llx\n",
        (unsigned long long)(*time_ms / 3600000 % 24), (unsigned long long)(*time_ms / 60000 % 60),
        (unsigned long long)(*time_ms / 1000 % 60), (unsigned long long)(*time_ms % 1000),
        levels[below(6)], word(), word(), below(10000), word(), below(100000),
        (unsigned long long)chance());
}

static void make_logs(unsigned versions, corpus_take *take, void *context)
{
    struct hf_buf out = {0};
    uint64_t time_ms = 0;
    state = 21;
    for (unsigned version = 0; version < versions; version++) {
        for (size_t end = out.size + (64 << 10) + below(512 << 10); out.size < end;) {
            put_line(&out, &time_ms);
        }
        take(context, 0, out.data, out.size);
    }
    take(context, 1, out.data, out.size);
    hf_buf_free(&out);
}

/* --- config: settings, most files short, one long --- */

static void make_config(unsigned versions, corpus_take *take, void *context)
{
    static const size_t sizes[] = {20, 200, 2000, 12000};
    for (size_t file = 0; file < sizeof sizes / sizeof sizes[0]; file++) {
        uint64_t *edits = calloc(sizes[file], sizeof *edits);
        must(edits != NULL);
        state = 31 + file;
        for (unsigned version = 0; version < versions; version++) {
            struct hf_buf out = {0};
            uint64_t saved = state;
            for (size_t i = 0; i < sizes[file]; i++) {
                state = i * 31 + edits[i] * 7919;
                put(&out, "%s.%s.%zu: \"%s-%zu\"  # %s\n", word(), word(), i, word(), below(10000),
                    word());
            }
            state = saved;
            take(context, file, out.data, out.size);
            hf_buf_free(&out);
            edits[below(sizes[file])]++;
        }
        free(edits);
    }
}

/* --- databases --- */

static void run(sqlite3 *db, const char *sql)
{
    must(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK);
}

static void put_row(sqlite3_stmt *insert, int64_t id)
{
    char text[512] = "";
    for (size_t i = 5 + below(30); i > 0; i--) {
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s ", word());
    }
    sqlite3_bind_int64(insert, 1, id);
    sqlite3_bind_text(insert, 2, word(), -1, SQLITE_STATIC);
    sqlite3_bind_int64(insert, 3, (int64_t)below(1000000000));
    sqlite3_bind_text(insert, 4, text, -1, SQLITE_TRANSIENT);
    must(sqlite3_step(insert) == SQLITE_DONE && sqlite3_reset(insert) == SQLITE_OK);
}

/* A file of pages: rows all over it change in their places, some are added. */
static void make_sqlite(unsigned versions, corpus_take *take, void *context)
{
    enum { ROWS = 60000 };
    char path[] = "/tmp/holdfast-bench-XXXXXX";
    sqlite3 *db = NULL;
    sqlite3_stmt *insert = NULL;
    int64_t next = 0;
    int fd = mkstemp(path);
    state = 41;
    must(fd >= 0 && sqlite3_open(path, &db) == SQLITE_OK);
    close(fd);
    run(db, "PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF;"
            "CREATE TABLE jobs (id INTEGER PRIMARY KEY, state TEXT, at INTEGER, payload TEXT);"
            "CREATE INDEX jobs_state ON jobs (state, at);");
    must(sqlite3_prepare_v2(db, "INSERT OR REPLACE INTO jobs VALUES (?, ?, ?, ?)", -1, &insert,
                            NULL) == SQLITE_OK);
    for (unsigned version = 0; version < versions; version++) {
        run(db, "BEGIN");
        for (size_t i = version == 0 ? ROWS : 20; i > 0; i--) {
            put_row(insert, next++);
        }
        for (size_t i = version == 0 ? 0 : 30; i > 0; i--) {
            put_row(insert, next - 1 - (int64_t)below(below(2) ? 2000 : ROWS));
        }
        run(db, "COMMIT");
        struct hf_buf file = {0};
        must(hf_read_file(path, FILE_MAX_BYTES, &file, NULL) == 0);
        take(context, 0, file.data, file.size);
        hf_buf_free(&file);
    }
    sqlite3_finalize(insert);
    sqlite3_close(db);
    unlink(path);
}

/* What pg_dump writes: the same rows in the same order, some changed, some more. */
static void make_dumps(unsigned versions, corpus_take *take, void *context)
{
    enum { ROWS = 60000 };
    size_t rows = ROWS;
    uint8_t *edits = calloc(ROWS + versions * 100, 1);
    must(edits != NULL);
    for (unsigned version = 0; version < versions; version++) {
        struct hf_buf out = {0};
        for (size_t i = 0; i < rows; i++) {
            state = i * 31 + edits[i] * UINT64_C(7919);
            put(&out,
                "%zu\t%s\t%s\t2026-11-%02zu 12:%02zu:%02zu.%06zu+00\t{\"%s\": %zu, \"%s\": \"%s\", "
                "\"id\": \"%016llx\"}\t%s %s %s\n",
                i, word(), word(), 1 + below(28), below(60), below(60), below(1000000), word(),
                below(10000), word(), word(), (unsigned long long)chance(), word(), word(), word());
        }
        take(context, 0, out.data, out.size);
        hf_buf_free(&out);
        state = 51 + version;
        for (size_t i = 0; i < 60; i++) { /* the newest change most */
            edits[rows - 1 - below(below(2) ? 3000 : rows)]++;
        }
        rows += 100;
    }
    free(edits);
}

/* --- anything: a long file of text and of what can't be compressed, written to here and there, and
 * now and then with a piece put in --- */

static void fill_block(uint8_t *block, size_t size)
{
    bool text = below(2) == 0;
    for (size_t i = 0; i < size;) {
        uint64_t some = chance();
        const char *from = text ? word() : (const char *)&some;
        size_t part = text ? strlen(from) : sizeof some;
        part = part < size - i ? part : size - i;
        for (size_t end = i + part; i < end; from++) {
            block[i++] = (uint8_t)*from;
        }
    }
}

static void make_mixed(unsigned versions, corpus_take *take, void *context)
{
    enum { BLOCK = 4096, BLOCKS = 12 * 256 };
    uint8_t block[BLOCK];
    struct hf_buf file = {0};
    state = 61;
    for (size_t i = 0; i < BLOCKS; i++) {
        fill_block(block, BLOCK);
        must(hf_buf_append(&file, block, BLOCK) == 0);
    }
    for (unsigned version = 0; version < versions; version++) {
        take(context, 0, file.data, file.size);
        for (size_t place = 0; place < 4; place++) {
            size_t first = below(BLOCKS - 16);
            for (size_t i = 1 + below(8); i > 0; i--) {
                fill_block(file.data + (first + below(16)) * BLOCK, BLOCK);
            }
        }
        if (version % 4 == 3) {
            size_t at = below(file.size);
            size_t more = 1 + below(BLOCK);
            fill_block(block, more);
            must(hf_buf_append(&file, block, more) == 0);
            memmove(file.data + at + more, file.data + at, file.size - more - at);
            memcpy(file.data + at, block, more);
        }
    }
    hf_buf_free(&file);
}

const struct corpus corpora[] = {
    /* JSON of 20 KB to 2 MB, nodes changed and added */
    {"workflows", "workflows", make_workflows, 30},
    /* 200 KB, 3 to 10 jobs of 1,000 changed */
    {"checkpoints", "checkpoints", make_checkpoints, 300},
    /* text that grows by 64 to 576 KB, once more when it was rotated */
    {"logs", "logs", make_logs, 30},
    /* YAML of 1 KB to 500 KB, a line changed */
    {"config", "config", make_config, 40},
    /* 12 MB, 50 rows of 60,000 changed or added */
    {"sqlite", "database", make_sqlite, 20},
    /* 8 MB, 160 rows of 60,000 changed or added */
    {"dumps", "database", make_dumps, 20},
    /* 12 MB, 4 places of 4 to 32 KB rewritten, pieces put in */
    {"mixed", "other", make_mixed, 24},
};
const size_t corpora_count = sizeof corpora / sizeof corpora[0];

/* --- a directory --- */

static void edit(struct hf_buf *file)
{
    char line[64];
    int size = snprintf(line, sizeof line, "\n%s: %zu,\n", word(), below(100000));
    must(hf_buf_append(file, line, (size_t)size) == 0);
    size_t old = file->size - (size_t)size;
    size_t at = below(old + 1);
    memmove(file->data + at + size, file->data + at, old - at);
    memcpy(file->data + at, line, (size_t)size);
    for (size_t i = 1 + below(3); i > 0; i--) {
        file->data[below(file->size)] = (uint8_t)('0' + below(10));
    }
}

static struct {
    unsigned versions;
    corpus_take *take;
    void *context;
    size_t files;
} walk;

static int edit_one(const char *path, const struct stat *status, int kind, struct FTW *where)
{
    struct hf_buf file = {0};
    (void)status, (void)where;
    if (kind == FTW_F && hf_read_file(path, FILE_MAX_BYTES, &file, NULL) == 0) {
        for (unsigned version = 0; version < walk.versions; version++) {
            walk.take(walk.context, walk.files, file.data, file.size);
            edit(&file);
        }
        walk.files++;
    }
    hf_buf_free(&file);
    return 0;
}

int corpus_of_directory(const char *path, unsigned versions, corpus_take *take, void *context)
{
    state = 71;
    walk.versions = versions;
    walk.take = take;
    walk.context = context;
    return nftw(path, edit_one, 16, FTW_PHYS);
}
