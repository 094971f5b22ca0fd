/* Readers beside the writer: they neither wait for it nor see half of what it does. */
#include <pthread.h>
#include <stdatomic.h>

#include "catalog_fixture.h"

#define BATCHES 150
#define BATCH   20

struct watch {
    const char *path;
    uint64_t source;
    atomic_bool done;
    size_t rounds;
    bool wrong;
};

/* The counters and the tree, read as one state, must agree, and batches come whole. */
static void *watch_catalog(void *arg)
{
    struct watch *watch = arg;
    struct hf_catalog_reader *reader;
    struct hf_catalog_memory memory = {0};
    struct hf_error error;
    watch->wrong = catalog_reader_open(watch->path, &reader, &error) != HF_OK;
    while (!watch->wrong && !atomic_load(&watch->done)) {
        struct hf_timeline_query query = {.source_row = watch->source, .at_ns = HF_CATALOG_NOW};
        struct hf_source_row row;
        uint64_t files;
        uint64_t bytes;
        watch->wrong =
            catalog_reader_begin(reader, &error) != HF_OK ||
            catalog_source_by_row(reader, watch->source, &memory, &row, &error) != HF_OK ||
            catalog_tree_totals(reader, &query, &files, &bytes, &error) != HF_OK ||
            files != row.live_files || row.committed_seq % BATCH != 0;
        catalog_reader_end(reader);
        catalog_memory_free(&memory);
        watch->rounds++;
    }
    catalog_reader_close(reader);
    return NULL;
}

static void readers_see_whole_transactions_while_the_writer_writes(void **state)
{
    (void)state;
    struct fixture f = fixture_open();
    uint64_t host = add_host(&f, "h-0123456789abcdef", "a");
    uint64_t source = add_source(&f, host, "checkpoints");
    struct watch watches[2] = {{.path = f.path, .source = source},
                               {.path = f.path, .source = source}};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, watch_catalog, &watches[i]), 0);
    }
    for (int batch = 0; batch < BATCHES; batch++) {
        ok(&f, catalog_begin(f.catalog, &f.error));
        for (int i = 0; i < BATCH; i++) {
            char path[64];
            uint8_t ref[HF_CHUNK_REF_BYTES];
            int number = (batch * 7 + i) % 500;
            snprintf(path, sizeof path, "home/%d/%d", number % 10, number);
            enum hf_file_type type = batch % 5 == 4 ? HF_FILE_ABSENT : HF_FILE_REGULAR;
            struct hf_event event = version_event(&f, host, source, event_text(path), type, 0, ref);
            event.version.version.mtime_ns = batch;
            ok(&f, put(&f, &event));
        }
        ok(&f, catalog_commit(f.catalog, &f.error));
    }
    for (int i = 0; i < 2; i++) {
        atomic_store(&watches[i].done, true);
        pthread_join(threads[i], NULL);
        assert_false(watches[i].wrong);
        assert_true(watches[i].rounds > 0);
    }
    assert_rebuild_equals(&f);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readers_see_whole_transactions_while_the_writer_writes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
