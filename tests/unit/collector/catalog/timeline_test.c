/* The timeline: any moment, any directory, page by page, against a naive model. */
#include "catalog_fixture.h"

struct world {
    struct fixture f;
    uint64_t host, source;
};

static struct world make_world(void)
{
    struct world w = {.f = fixture_open()};
    w.host = add_host(&w.f, "h-0123456789abcdef", "robot1");
    w.source = add_source(&w.f, w.host, "checkpoints");
    add_chunk(&w.f, w.host, 1, 1000);
    add_chunk(&w.f, w.host, 2, 1000);
    return w;
}

static struct hf_version_page list(struct world *w, const char *path, int64_t at_ns)
{
    struct hf_bytes directory = event_text(path);
    struct hf_timeline_query query = {
        .source_row = w->source, .at_ns = at_ns, .paths = &directory, .path_count = 1};
    struct hf_version_page page;
    ok(&w->f, catalog_list(w->f.reader, &query, &w->f.memory, &page, &w->f.error));
    return page;
}

/* Names of a page: a directory with a slash behind it, an implied one with a star too. */
static void describe(const struct hf_version_page *page, char *out, size_t size)
{
    size_t used = 0;
    out[0] = 0;
    for (size_t i = 0; i < page->count; i++) {
        const struct hf_version_row *row = &page->rows[i];
        used += (size_t)snprintf(out + used, size - used, "%s%.*s%s%s", i ? " " : "",
                                 (int)row->version.path.size, (const char *)row->version.path.data,
                                 row->version.type == HF_FILE_DIRECTORY ? "/" : "",
                                 row->implied ? "*" : "");
    }
}

#define assert_page(page, text)                                                                    \
    do {                                                                                           \
        char described[1024];                                                                      \
        struct hf_version_page shown = (page);                                                     \
        describe(&shown, described, sizeof described);                                             \
        assert_string_equal(described, text);                                                      \
    } while (0)

static void every_past_state_can_be_asked_for(void **state)
{
    (void)state;
    struct world w = make_world();
    int64_t t1 = w.f.now;
    ok(&w.f, add_version(&w.f, w.host, w.source, "a", HF_FILE_REGULAR, 1));
    int64_t t2 = w.f.now;
    ok(&w.f, add_version(&w.f, w.host, w.source, "a", HF_FILE_ABSENT, 0));
    int64_t t3 = w.f.now;
    ok(&w.f, add_version(&w.f, w.host, w.source, "a", HF_FILE_DIRECTORY, 0));
    int64_t t4 = w.f.now;
    ok(&w.f, add_version(&w.f, w.host, w.source, "a/b", HF_FILE_SYMLINK, 0));
    assert_page(list(&w, "", t1 - 1), "");
    assert_page(list(&w, "", t1), "a");
    assert_page(list(&w, "", t2), "");
    assert_page(list(&w, "", t3), "a/");
    assert_page(list(&w, "a", t3), "");
    assert_page(list(&w, "a", t4), "a/b");
    assert_page(list(&w, "", HF_CATALOG_NOW), "a/");
    /* A file's own path gives the file. */
    assert_page(list(&w, "a", t1), "a");
    assert_page(list(&w, "a/b", t4), "a/b");
    struct hf_bytes path = event_text("a");
    struct hf_timeline_query query = {
        .source_row = w.source, .at_ns = t2, .paths = &path, .path_count = 1};
    struct hf_version_page page;
    assert_int_equal(catalog_list(w.f.reader, &query, &w.f.memory, &page, &w.f.error),
                     HF_ERR_NOT_FOUND);
    fixture_close(&w.f);
}

static void directories_that_nothing_describes_are_implied(void **state)
{
    (void)state;
    struct world w = make_world();
    ok(&w.f, add_version(&w.f, w.host, w.source, "home/robot/a", HF_FILE_REGULAR, 1));
    ok(&w.f, add_version(&w.f, w.host, w.source, "home.txt", HF_FILE_REGULAR, 1));
    ok(&w.f, add_version(&w.f, w.host, w.source, "home0", HF_FILE_REGULAR, 1));
    ok(&w.f, add_version(&w.f, w.host, w.source, "etc/x", HF_FILE_REGULAR, 1));
    ok(&w.f, add_version(&w.f, w.host, w.source, "etc", HF_FILE_DIRECTORY, 0));
    assert_page(list(&w, "", HF_CATALOG_NOW), "etc/ home.txt home/* home0");
    assert_page(list(&w, "home", HF_CATALOG_NOW), "home/robot/*");
    assert_page(list(&w, "home/robot", HF_CATALOG_NOW), "home/robot/a");
    int64_t before = w.f.now - 1;
    ok(&w.f, add_version(&w.f, w.host, w.source, "home/robot/a", HF_FILE_ABSENT, 0));
    assert_page(list(&w, "", HF_CATALOG_NOW), "etc/ home.txt home0");
    assert_page(list(&w, "", before), "etc/ home.txt home/* home0");
    fixture_close(&w.f);
}

static void unknown_sources_and_overlong_paths_are_refused(void **state)
{
    (void)state;
    struct world w = make_world();
    struct hf_version_page page;
    struct hf_timeline_query query = {.source_row = 99, .at_ns = HF_CATALOG_NOW};
    assert_int_equal(catalog_list(w.f.reader, &query, &w.f.memory, &page, &w.f.error),
                     HF_ERR_NOT_FOUND);
    assert_int_equal(catalog_tree(w.f.reader, &query, &w.f.memory, &page, &w.f.error),
                     HF_ERR_NOT_FOUND);
    char *text = malloc(100000);
    memset(text, 'a', 100000);
    struct hf_bytes path = {.data = (uint8_t *)text, .size = 100000};
    query = (struct hf_timeline_query){
        .source_row = w.source, .at_ns = HF_CATALOG_NOW, .paths = &path, .path_count = 1};
    assert_int_equal(catalog_tree(w.f.reader, &query, &w.f.memory, &page, &w.f.error),
                     HF_ERR_LIMIT);
    query.path_count = 0;
    query.after = path;
    assert_int_equal(catalog_tree(w.f.reader, &query, &w.f.memory, &page, &w.f.error),
                     HF_ERR_LIMIT);
    assert_int_equal(catalog_list(w.f.reader, &query, &w.f.memory, &page, &w.f.error),
                     HF_ERR_LIMIT);
    free(text);
    fixture_close(&w.f);
}

static void selections_that_overlap_are_walked_once(void **state)
{
    (void)state;
    struct world w = make_world();
    static const char *const files[] = {"a", "a-b", "a/c", "a/d/e", "b", "b/x"};
    for (size_t i = 0; i < 6; i++) {
        enum hf_file_type type = strlen(files[i]) == 1 ? HF_FILE_DIRECTORY : HF_FILE_REGULAR;
        ok(&w.f, add_version(&w.f, w.host, w.source, files[i], type, 1));
    }
    struct hf_bytes paths[] = {event_text("a/d"), event_text("b/x"), event_text("a"),
                               event_text("a-b"), event_text("a")};
    struct hf_timeline_query query = {
        .source_row = w.source, .at_ns = HF_CATALOG_NOW, .paths = paths, .path_count = 5};
    struct hf_version_page page;
    uint64_t count;
    uint64_t bytes;
    ok(&w.f, catalog_tree(w.f.reader, &query, &w.f.memory, &page, &w.f.error));
    assert_page(page, "a/ a/c a/d/e a-b b/x");
    assert_true(page.last);
    ok(&w.f, catalog_tree_totals(w.f.reader, &query, &count, &bytes, &w.f.error));
    assert_int_equal(count, 5);
    assert_int_equal(bytes, 4000);
    query.after = event_text("b/y");
    assert_int_equal(catalog_tree(w.f.reader, &query, &w.f.memory, &page, &w.f.error),
                     HF_ERR_INVALID);
    fixture_close(&w.f);
}

static void a_page_stops_before_its_bytes_are_too_many(void **state)
{
    (void)state;
    struct world w = make_world();
    for (int i = 0; i < 20; i++) {
        char path[32];
        snprintf(path, sizeof path, "file-%02d", i);
        ok(&w.f, add_version(&w.f, w.host, w.source, path, HF_FILE_REGULAR, 1));
    }
    struct hf_timeline_query query = {
        .source_row = w.source, .at_ns = HF_CATALOG_NOW, .bytes_max = 1};
    struct hf_version_page page;
    size_t seen = 0;
    do {
        ok(&w.f, catalog_tree(w.f.reader, &query, &w.f.memory, &page, &w.f.error));
        assert_int_equal(page.count, 1);
        query.after = page.next;
        seen++;
    } while (!page.last);
    assert_int_equal(seen, 20);
    query.after = (struct hf_bytes){0};
    query.bytes_max = 1000;
    ok(&w.f, catalog_tree(w.f.reader, &query, &w.f.memory, &page, &w.f.error));
    assert_in_range(page.count, 2, 7);
    fixture_close(&w.f);
}

static void versions_of_a_path_come_newest_first_and_in_pages(void **state)
{
    (void)state;
    struct world w = make_world();
    const struct hf_version_row *rows;
    size_t count;
    for (int i = 0; i < 50; i++) {
        ok(&w.f, add_version(&w.f, w.host, w.source, "a", HF_FILE_REGULAR, i % 2 ? 1 : 2));
        ok(&w.f, add_version(&w.f, w.host, w.source, "b", HF_FILE_REGULAR, i % 2 ? 1 : 2));
    }
    uint64_t before = 0;
    uint64_t expected = 99;
    size_t seen = 0;
    do {
        ok(&w.f, catalog_version_list(w.f.reader, w.source, event_text("a"), before, 7, &w.f.memory,
                                      &rows, &count, &w.f.error));
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(rows[i].version.seq, expected);
            expected -= 2;
            seen++;
        }
        before = count ? rows[count - 1].version.seq : 0;
    } while (count == 7);
    assert_int_equal(seen, 50);
    struct hf_version_row row;
    ok(&w.f, catalog_version_by_seq(w.f.reader, w.source, event_text("a"), 41, &w.f.memory, &row,
                                    &w.f.error));
    assert_int_equal(row.version.seq, 41);
    assert_int_equal(row.version.size, 1000);
    assert_bytes(row.version.owner, "robot");
    assert_int_equal(catalog_version_by_seq(w.f.reader, w.source, event_text("a"), 42, &w.f.memory,
                                            &row, &w.f.error),
                     HF_ERR_NOT_FOUND);
    fixture_close(&w.f);
}

static void a_difference_names_what_kind_of_change_it_was(void **state)
{
    (void)state;
    struct world w = make_world();
    static const char *const files[] = {"gone", "kept", "meta", "mod", "back"};
    for (size_t i = 0; i < 5; i++) {
        ok(&w.f, add_version(&w.f, w.host, w.source, files[i], HF_FILE_REGULAR, 1));
    }
    int64_t from = w.f.now - 1;
    uint8_t ref[HF_CHUNK_REF_BYTES];
    ok(&w.f, add_version(&w.f, w.host, w.source, "gone", HF_FILE_ABSENT, 0));
    struct hf_event event =
        version_event(&w.f, w.host, w.source, event_text("meta"), HF_FILE_REGULAR, 1, ref);
    event.version.version.mode = 0600;
    ok(&w.f, commit(&w.f, &event));
    ok(&w.f, add_version(&w.f, w.host, w.source, "mod", HF_FILE_REGULAR, 2));
    ok(&w.f, add_version(&w.f, w.host, w.source, "new", HF_FILE_REGULAR, 2));
    ok(&w.f, add_version(&w.f, w.host, w.source, "back", HF_FILE_ABSENT, 0));
    ok(&w.f, add_version(&w.f, w.host, w.source, "back", HF_FILE_REGULAR, 1));
    struct hf_timeline_query query = {.source_row = w.source, .at_ns = from};
    struct hf_diff_page page;
    ok(&w.f, catalog_diff(w.f.reader, &query, HF_CATALOG_NOW, &w.f.memory, &page, &w.f.error));
    assert_true(page.last);
    assert_int_equal(page.count, 4);
    assert_int_equal(page.rows[0].change, HF_CHANGE_REMOVED);
    assert_bytes(page.rows[0].before->version.path, "gone");
    assert_null(page.rows[0].after);
    assert_int_equal(page.rows[1].change, HF_CHANGE_METADATA);
    assert_int_equal(page.rows[2].change, HF_CHANGE_MODIFIED);
    assert_int_equal(page.rows[3].change, HF_CHANGE_ADDED);
    assert_null(page.rows[3].before);
    assert_bytes(page.rows[3].after->version.path, "new");
    /* The other way round. */
    query.at_ns = HF_CATALOG_NOW;
    ok(&w.f, catalog_diff(w.f.reader, &query, from, &w.f.memory, &page, &w.f.error));
    assert_int_equal(page.count, 4);
    assert_int_equal(page.rows[0].change, HF_CHANGE_ADDED);
    assert_int_equal(page.rows[3].change, HF_CHANGE_REMOVED);
    fixture_close(&w.f);
}

/* ---- The model: all versions in a list, every answer by looking at all of them. ---- */

#define MODEL_PATHS 120
#define MODEL_STEPS 3000

struct model_version {
    size_t path;
    int64_t at_ns;
    uint64_t seq;
    enum hf_file_type type;
};

struct model {
    struct hf_bytes paths[MODEL_PATHS]; /* sorted, distinct */
    size_t path_count;
    struct model_version versions[MODEL_STEPS];
    size_t version_count;
    bool alive[MODEL_PATHS];
    uint64_t random;
};

static unsigned draw(struct model *model, unsigned below)
{
    model->random = model->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(model->random >> 33) % below;
}

static int compare(struct hf_bytes a, struct hf_bytes b)
{
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common ? memcmp(a.data, b.data, common) : 0;
    return order ? order : (a.size > b.size) - (a.size < b.size);
}

static int compare_paths(const void *a, const void *b)
{
    return compare(*(const struct hf_bytes *)a, *(const struct hf_bytes *)b);
}

/* Names that stand just before and after '/', that are no UTF-8, that are prefixes of others. */
static void make_paths(struct model *model)
{
    static const char *const names[] = {"a", "a-", "a0", "b.x", "\xff", "\xff\xfe", "\x01", "c d"};
    while (model->path_count < MODEL_PATHS) {
        char text[64] = "";
        unsigned depth = 1 + draw(model, 4);
        for (unsigned i = 0; i < depth; i++) {
            strcat(text, i ? "/" : "");
            strcat(text, names[draw(model, 8)]);
        }
        struct hf_bytes path = {.data = (uint8_t *)strdup(text), .size = strlen(text)};
        bool known = false;
        for (size_t i = 0; i < model->path_count; i++) {
            known = known || compare(model->paths[i], path) == 0;
        }
        if (known) {
            free((void *)path.data);
        } else {
            model->paths[model->path_count++] = path;
        }
    }
    qsort(model->paths, model->path_count, sizeof model->paths[0], compare_paths);
}

static const struct model_version *model_at(const struct model *model, size_t path, int64_t at_ns)
{
    const struct model_version *newest = NULL;
    for (size_t i = 0; i < model->version_count; i++) {
        const struct model_version *v = &model->versions[i];
        if (v->path == path && v->at_ns <= at_ns) {
            newest = v; /* in order of seq */
        }
    }
    return newest && newest->type != HF_FILE_ABSENT ? newest : NULL;
}

static bool lies_in(struct hf_bytes path, struct hf_bytes directory)
{
    return directory.size == 0 || (path.size > directory.size && path.data[directory.size] == '/' &&
                                   memcmp(path.data, directory.data, directory.size) == 0);
}

/* Random captures; several share a moment, now and then. */
static void run_workload(struct world *w, struct model *model)
{
    ok(&w->f, catalog_begin(w->f.catalog, &w->f.error));
    for (int step = 0; step < MODEL_STEPS; step++) {
        size_t path = draw(model, 4) ? draw(model, MODEL_PATHS) : draw(model, 5);
        enum hf_file_type type = HF_FILE_ABSENT;
        if (!model->alive[path] || draw(model, 3)) {
            type = (enum hf_file_type)(1 + draw(model, 3));
        }
        uint8_t ref[HF_CHUNK_REF_BYTES];
        struct hf_event event = version_event(&w->f, w->host, w->source, model->paths[path], type,
                                              1 + draw(model, 2), ref);
        if (draw(model, 5) == 0) {
            event.version.at_ns -= 10 * SECOND; /* clamped to the one before: a tie */
        }
        ok(&w->f, put(&w->f, &event));
        if (event.version.recorded) {
            model->versions[model->version_count++] =
                (struct model_version){path, event.version.at_ns, event.version.version.seq, type};
            model->alive[path] = type != HF_FILE_ABSENT;
        }
        if (step % 500 == 499) {
            ok(&w->f, catalog_commit(w->f.catalog, &w->f.error));
            ok(&w->f, catalog_begin(w->f.catalog, &w->f.error));
        }
    }
    ok(&w->f, catalog_commit(w->f.catalog, &w->f.error));
}

static int64_t draw_moment(struct world *w, struct model *model)
{
    if (draw(model, 4) == 0) {
        return HF_CATALOG_NOW;
    }
    return T0 + (int64_t)draw(model, (unsigned)((w->f.now - T0) / SECOND)) * SECOND;
}

static void check_tree(struct world *w, struct model *model)
{
    int64_t at_ns = draw_moment(w, model);
    struct hf_bytes selected =
        draw(model, 3) ? model->paths[draw(model, MODEL_PATHS)] : (struct hf_bytes){0};
    struct hf_timeline_query query = {.source_row = w->source,
                                      .at_ns = at_ns,
                                      .paths = &selected,
                                      .path_count = 1,
                                      .limit = 1 + draw(model, 40)};
    struct hf_version_page page = {0};
    size_t row = 0;
    uint64_t expected_count = 0;
    for (size_t i = 0; i < model->path_count; i++) {
        if (!lies_in(model->paths[i], selected) && compare(model->paths[i], selected) != 0) {
            continue;
        }
        const struct model_version *expected = model_at(model, i, at_ns);
        if (!expected) {
            continue;
        }
        while (row == page.count) { /* the next page */
            assert_false(page.last);
            query.after = page.next;
            ok(&w->f, catalog_tree(w->f.reader, &query, &w->f.memory, &page, &w->f.error));
            assert_true(page.count <= query.limit);
            row = 0;
            assert_true(page.count > 0);
        }
        assert_int_equal(compare(page.rows[row].version.path, model->paths[i]), 0);
        assert_int_equal(page.rows[row].version.seq, expected->seq);
        assert_int_equal(page.rows[row].version.type, expected->type);
        assert_int_equal(page.rows[row].at_ns, expected->at_ns);
        row++;
        expected_count++;
    }
    if (expected_count > 0) {
        assert_int_equal(row, page.count);
        assert_true(page.last);
    }
    uint64_t files;
    uint64_t bytes;
    ok(&w->f, catalog_tree_totals(w->f.reader, &query, &files, &bytes, &w->f.error));
    assert_int_equal(files, expected_count);
}

struct expected_entry {
    struct hf_bytes name;
    const struct model_version *version; /* NULL: implied */
};

static size_t model_list(const struct model *model, struct hf_bytes directory, int64_t at_ns,
                         struct expected_entry *entries)
{
    size_t count = 0;
    size_t start = directory.size ? directory.size + 1 : 0;
    for (size_t i = 0; i < model->path_count; i++) {
        struct hf_bytes path = model->paths[i];
        const struct model_version *version = model_at(model, i, at_ns);
        if (!version || !lies_in(path, directory)) {
            continue;
        }
        const uint8_t *slash = memchr(path.data + start, '/', path.size - start);
        struct hf_bytes name = {.data = path.data,
                                .size = slash ? (size_t)(slash - path.data) : path.size};
        bool known = false;
        for (size_t k = 0; k < count; k++) {
            known = known || compare(entries[k].name, name) == 0;
        }
        if (!known) { /* a directory's own version sorts before what is in it */
            entries[count++] = (struct expected_entry){name, slash ? NULL : version};
        }
    }
    return count;
}

static void check_list(struct world *w, struct model *model)
{
    int64_t at_ns = draw_moment(w, model);
    struct hf_bytes directory =
        draw(model, 2) ? model->paths[draw(model, MODEL_PATHS)] : (struct hf_bytes){0};
    for (size_t i = 0; i < model->path_count; i++) {
        if (compare(model->paths[i], directory) == 0 && model_at(model, i, at_ns) &&
            model_at(model, i, at_ns)->type != HF_FILE_DIRECTORY) {
            return; /* a file: another test */
        }
    }
    static struct expected_entry entries[MODEL_PATHS];
    size_t expected = model_list(model, directory, at_ns, entries);
    struct hf_timeline_query query = {.source_row = w->source,
                                      .at_ns = at_ns,
                                      .paths = &directory,
                                      .path_count = 1,
                                      .limit = 1 + draw(model, 6)};
    struct hf_version_page page = {0};
    size_t seen = 0;
    do {
        int rc = catalog_list(w->f.reader, &query, &w->f.memory, &page, &w->f.error);
        if (rc == HF_ERR_NOT_FOUND) {
            assert_int_equal(expected, 0);
            return;
        }
        assert_int_equal(rc, HF_OK);
        for (size_t i = 0; i < page.count; i++, seen++) {
            assert_true(seen < expected);
            assert_int_equal(compare(page.rows[i].version.path, entries[seen].name), 0);
            assert_int_equal(page.rows[i].implied, entries[seen].version == NULL);
            if (entries[seen].version) {
                assert_int_equal(page.rows[i].version.seq, entries[seen].version->seq);
            }
        }
        query.after = page.next;
    } while (!page.last);
    assert_int_equal(seen, expected);
}

static void check_diff(struct world *w, struct model *model)
{
    int64_t from = draw_moment(w, model);
    int64_t to = draw_moment(w, model);
    struct hf_timeline_query query = {
        .source_row = w->source, .at_ns = from, .limit = 1 + draw(model, 20)};
    struct hf_diff_page page = {0};
    size_t row = 0;
    for (size_t i = 0; i < model->path_count; i++) {
        const struct model_version *before = model_at(model, i, from);
        const struct model_version *after = model_at(model, i, to);
        if (before == after) {
            continue;
        }
        if (row == page.count && !page.last) {
            query.after = page.next;
            ok(&w->f, catalog_diff(w->f.reader, &query, to, &w->f.memory, &page, &w->f.error));
            row = 0;
        }
        bool listed = row < page.count;
        const struct hf_version_row *shown =
            listed ? (page.rows[row].after ? page.rows[row].after : page.rows[row].before) : NULL;
        listed = shown && compare(shown->version.path, model->paths[i]) == 0;
        if (!listed) { /* it went away and came back the same */
            assert_true(before && after && before->type == after->type);
            continue;
        }
        assert_int_equal(page.rows[row].before != NULL, before != NULL);
        assert_int_equal(page.rows[row].after != NULL, after != NULL);
        if (before) {
            assert_int_equal(page.rows[row].before->version.seq, before->seq);
        }
        if (after) {
            assert_int_equal(page.rows[row].after->version.seq, after->seq);
        }
        row++;
    }
    assert_int_equal(row, page.count);
}

static void a_random_history_reads_like_the_naive_model(void **state)
{
    (void)state;
    struct world w = make_world();
    struct model *model = calloc(1, sizeof *model);
    model->random = getenv("HF_TEST_SEED") ? strtoull(getenv("HF_TEST_SEED"), NULL, 10) : 42;
    make_paths(model);
    run_workload(&w, model);
    for (int i = 0; i < 300; i++) {
        check_tree(&w, model);
        check_list(&w, model);
        check_diff(&w, model);
        catalog_memory_free(&w.f.memory);
    }
    for (size_t i = 0; i < model->path_count; i++) {
        int64_t at_ns = draw_moment(&w, model);
        const struct model_version *expected = model_at(model, i, at_ns);
        struct hf_version_row row;
        int rc = catalog_version_at(w.f.reader, w.source, model->paths[i], at_ns, &w.f.memory, &row,
                                    &w.f.error);
        assert_int_equal(rc, expected ? HF_OK : HF_ERR_NOT_FOUND);
        assert_true(!expected || row.version.seq == expected->seq);
    }
    assert_rebuild_equals(&w.f);
    for (size_t i = 0; i < model->path_count; i++) {
        free((void *)model->paths[i].data);
    }
    free(model);
    fixture_close(&w.f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_past_state_can_be_asked_for),
        cmocka_unit_test(directories_that_nothing_describes_are_implied),
        cmocka_unit_test(unknown_sources_and_overlong_paths_are_refused),
        cmocka_unit_test(selections_that_overlap_are_walked_once),
        cmocka_unit_test(a_page_stops_before_its_bytes_are_too_many),
        cmocka_unit_test(versions_of_a_path_come_newest_first_and_in_pages),
        cmocka_unit_test(a_difference_names_what_kind_of_change_it_was),
        cmocka_unit_test(a_random_history_reads_like_the_naive_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
