/* Restores as the collector drives them: what is offered, what is given, what is refused. The
 * session is replaced by a list of the frames that were sent. */
#include "tests/unit/collector/identity/identity_fixture.h"

#include <stdatomic.h>

#include "collector/restore/restore.h"
#include "common/queue.h"

#define PATIENCE_MS 20000

static struct hf_error error;

/* --- hosts with files, jobs --- */

struct host {
    struct deployment *deployment;
    char id[64];
    uint64_t row, source_row;
    uint64_t last_seq;
};

/* What ingest answers is taken and dropped but for ACK, which file_add waits for. */
static void on_ingest_reply(void *context, struct hf_ingest_reply *reply)
{
    struct hf_queue *acks = context;
    struct hf_queue_item *item = NULL;
    if (reply->kind == HF_REPLY_FRAME &&
        (reply->frame.type == HF_FRAME_ACK || reply->frame.type == HF_FRAME_SOURCE_STATE)) {
        item = calloc(1, sizeof *item);
    } else if (reply->kind != HF_REPLY_RELEASED) {
        fprintf(stderr, "ingest refused what a test sent\n");
        abort();
    }
    ingest_reply_free(reply);
    if (item && !hf_queue_push(acks, item)) {
        free(item);
    }
}

static void ask_host_row(struct question *q, struct hf_catalog_reader *catalog)
{
    q->rc = identity_admit(catalog, q->text, &q->number, &q->error);
}

static void ask_source_row(struct question *q, struct hf_catalog_reader *catalog)
{
    struct hf_catalog_memory memory = {0};
    struct hf_source_row row;
    q->rc = catalog_source_by_name(catalog, q->number, "data", &memory, &row, &q->error);
    q->number = q->rc == HF_OK ? row.row : 0;
    catalog_memory_free(&memory);
}

static struct host host_new(struct deployment *d)
{
    struct host host = {.deployment = d};
    struct test_token token = token_new(d, 1, 0);
    struct reply reply = enrol(d, token.text);
    assert_int_equal(reply.status, 200);
    snprintf(host.id, sizeof host.id, "%s", reply_text(&reply, "host_id"));
    reply_free(&reply);
    struct question question = {.ask = ask_host_row, .text = host.id};
    ask(d, &question);
    assert_int_equal(question.rc, HF_OK);
    host.row = question.number;
    return host;
}

struct file {
    uint8_t *data;
    uint32_t size;
    uint8_t id[HF_HASH_BYTES];
};

static void submit(struct hf_ingest_session *session, struct hf_queue *acks, struct hf_frame *frame)
{
    struct hf_buf message = {0};
    struct hf_frame decoded;
    frame->seq = 1;
    assert_int_equal(proto_encode(frame, &message), HF_OK);
    assert_ok(proto_decode(message.data, message.size, &decoded, &error));
    assert_int_equal(ingest_submit(session, &message, &decoded), HF_OK);
    if (frame->type != HF_FRAME_CHUNKS) {
        struct hf_queue_item *item = hf_queue_pop(acks, PATIENCE_MS);
        assert_non_null(item);
        free(item);
    }
}

enum how { IN_BLOCKS_OF_THEIR_OWN, IN_ONE_BLOCK };

static void send_in_one_block(struct hf_ingest_session *session, struct hf_queue *acks,
                              const struct file *files, size_t count)
{
    struct hf_block_builder builder = {0};
    struct hf_compressor *compressor = hf_compressor_new(1);
    struct hf_block block;
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(hf_block_add(&builder, files[i].id, files[i].data, files[i].size), HF_OK);
    }
    assert_int_equal(hf_block_finish(&builder, compressor, &block), HF_OK);
    struct hf_frame chunks = {.type = HF_FRAME_CHUNKS, .chunks = {.blocks = &block, .count = 1}};
    submit(session, acks, &chunks);
    hf_compressor_free(compressor);
    hf_block_builder_free(&builder);
}

/* Protect count files data/0000 ... of size random bytes each in the host's source "data". */
static struct file *files_add_so(struct host *host, size_t count, uint32_t size, enum how how)
{
    struct hf_queue *acks = hf_queue_new();
    struct file *files = calloc(count, sizeof *files);
    struct hf_ingest_session *session = ingest_session_open(host->deployment->ingest, host->row,
                                                            host->id, 0, on_ingest_reply, acks);
    struct hf_frame source = {.type = HF_FRAME_SOURCE,
                              .source = {.stream = 1,
                                         .name = event_text("data"),
                                         .kind = event_text("files"),
                                         .class_name = event_text("config")}};
    submit(session, acks, &source);
    for (size_t i = 0; i < count; i++) {
        files[i] = (struct file){.data = malloc(size), .size = size};
        hf_random(files[i].data, size);
        hf_sha256(files[i].data, size, files[i].id);
    }
    if (how == IN_ONE_BLOCK) {
        send_in_one_block(session, acks, files, count);
    }
    for (size_t i = 0; i < count; i++) {
        char path[32];
        uint8_t ref[HF_CHUNK_REF_BYTES];
        memcpy(ref, files[i].id, HF_HASH_BYTES);
        for (unsigned j = 0; j < 4; j++) {
            ref[HF_HASH_BYTES + j] = (uint8_t)(size >> (8 * j));
        }
        struct hf_block block = {.chunks = {ref, sizeof ref}, .data = {files[i].data, size}};
        struct hf_frame chunks = {.type = HF_FRAME_CHUNKS,
                                  .chunks = {.blocks = &block, .count = 1}};
        snprintf(path, sizeof path, "data/%04zu", i);
        struct hf_version version = {.seq = ++host->last_seq,
                                     .type = HF_FILE_REGULAR,
                                     .path = event_text(path),
                                     .captured_ns = hf_clock_now_ns(),
                                     .mode = 0640,
                                     .size = size,
                                     .refs = {ref, sizeof ref}};
        struct hf_frame versions = {.type = HF_FRAME_VERSIONS,
                                    .versions = {.stream = 1, .versions = &version, .count = 1}};
        if (how == IN_BLOCKS_OF_THEIR_OWN) {
            submit(session, acks, &chunks);
        }
        submit(session, acks, &versions);
    }
    ingest_session_close(session);
    hf_queue_free(acks, NULL);
    struct question question = {.ask = ask_source_row, .number = host->row};
    ask(host->deployment, &question);
    assert_int_equal(question.rc, HF_OK);
    host->source_row = question.number;
    return files;
}

static struct file *files_add(struct host *host, size_t count, uint32_t size)
{
    return files_add_so(host, count, size, IN_BLOCKS_OF_THEIR_OWN);
}

static void files_free(struct file *files, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(files[i].data);
    }
    free(files);
}

static struct hf_event job_event(const struct host *host, const struct host *origin)
{
    int64_t now_ns = hf_clock_now_ns();
    return (struct hf_event){.type = HF_EVENT_JOB_CREATED,
                             .time_ns = now_ns,
                             .actor = event_text("test"),
                             .job_created = {.host_id = event_text(host->id),
                                             .origin_host_id = event_text(origin->id),
                                             .source_name = event_text("data"),
                                             .at_ns = now_ns,
                                             .conflict = HF_CONFLICT_REPLACE,
                                             .expires_ns = now_ns + HOUR_NS,
                                             .file_count = 3,
                                             .byte_count = 12}};
}

static uint64_t job_new(const struct host *host, struct hf_event event)
{
    assert_ok(ingest_commit(host->deployment->ingest, &event, 1, &error));
    return event.job_created.job_id;
}

struct job_facts {
    enum hf_job_state state;
    uint64_t snapshot, fetched, results;
    char message[256];
};

static void ask_job(struct question *q, struct hf_catalog_reader *catalog)
{
    struct hf_catalog_memory memory = {0};
    struct hf_job_row row;
    const struct hf_job_result_row *results = NULL;
    size_t count = 0;
    struct job_facts *facts = q->context;
    q->rc = catalog_job_get(catalog, q->number, &memory, &row, &q->error);
    if (q->rc == HF_OK) {
        *facts = (struct job_facts){
            .state = row.state, .snapshot = row.snapshot_id, .fetched = row.fetched_bytes};
        snprintf(facts->message, sizeof facts->message, "%s", row.message);
        q->rc = catalog_job_results(catalog, q->number, 0, (struct hf_bytes){0}, 1000, &memory,
                                    &results, &count, &q->error);
        facts->results = count;
    }
    catalog_memory_free(&memory);
}

static struct job_facts job_facts(struct deployment *d, uint64_t job)
{
    struct job_facts facts = {0};
    struct question question = {.ask = ask_job, .number = job, .context = &facts};
    ask(d, &question);
    assert_int_equal(question.rc, HF_OK);
    return facts;
}

static void ask_denials(struct question *q, struct hf_catalog_reader *catalog)
{
    struct hf_catalog_memory memory = {0};
    const struct hf_audit_row *rows = NULL;
    size_t count = 0;
    q->rc = catalog_audit_list(catalog, 0, 1000, &memory, &rows, &count, &q->error);
    q->number = 0;
    for (size_t i = 0; i < count; i++) {
        q->number += strcmp(rows[i].action, "chunk.denied") == 0;
    }
    catalog_memory_free(&memory);
}

static uint64_t denials(struct deployment *d)
{
    struct question question = {.ask = ask_denials};
    ask(d, &question);
    assert_int_equal(question.rc, HF_OK);
    return question.number;
}

/* --- the agent's end --- */

struct sent {
    struct hf_queue_item item; /* first */
    struct hf_ingest_reply *reply;
};

struct line {
    struct hf_queue *queue;
    struct hf_restore *restore;
    struct hf_ingest_reply *last; /* what line_receive gave */
    uint64_t seq;
    atomic_bool hurries;
};

static void on_hurry(void *context, bool on)
{
    struct line *line = context;
    atomic_store(&line->hurries, on);
}

static void on_send(void *context, struct hf_ingest_reply *reply)
{
    struct line *line = context;
    struct sent *sent = calloc(1, sizeof *sent);
    sent->reply = reply;
    if (!hf_queue_push(line->queue, &sent->item)) {
        abort();
    }
}

static struct line *line_open(const struct host *host)
{
    struct line *line = calloc(1, sizeof *line);
    line->queue = hf_queue_new();
    struct hf_restore_options options = {.ingest = host->deployment->ingest,
                                         .host_row = host->row,
                                         .host_id = host->id,
                                         .send = on_send,
                                         .hurry = on_hurry,
                                         .context = line};
    assert_int_equal(restore_open(&options, &line->restore), HF_OK);
    restore_wake(line->restore);
    return line;
}

/* The next frame or NULL after wait_ms. */
static const struct hf_frame *line_next(struct line *line, int wait_ms)
{
    struct sent *sent = (struct sent *)(void *)hf_queue_pop(line->queue, wait_ms);
    ingest_reply_free(line->last);
    line->last = sent ? sent->reply : NULL;
    free(sent);
    return line->last ? &line->last->frame : NULL;
}

static const struct hf_frame *line_receive(struct line *line, enum hf_frame_type type)
{
    const struct hf_frame *frame = line_next(line, PATIENCE_MS);
    assert_non_null(frame);
    if (frame->type != type) {
        fail_msg("%s came instead of %s", proto_frame_name(frame->type), proto_frame_name(type));
    }
    return frame;
}

static void line_close(struct line *line)
{
    restore_close(line->restore);
    while (line_next(line, 0)) {
    }
    hf_queue_free(line->queue, NULL);
    free(line);
}

static int line_try(struct line *line, struct hf_frame frame)
{
    struct hf_buf message = {0};
    struct hf_frame decoded;
    frame.seq = ++line->seq;
    assert_int_equal(proto_encode(&frame, &message), HF_OK);
    assert_ok(proto_decode(message.data, message.size, &decoded, &error));
    int rc = restore_frame(line->restore, &message, &decoded);
    if (rc != HF_OK) {
        proto_frame_free(&decoded);
        hf_buf_free(&message);
    }
    return rc;
}

static void line_send(struct line *line, struct hf_frame frame)
{
    assert_int_equal(line_try(line, frame), HF_OK);
}

static struct hf_frame answer(uint64_t job, bool accepted, const char *message)
{
    return (struct hf_frame){
        .type = HF_FRAME_RESTORE_ANSWER,
        .answer = {.job = job, .accepted = accepted, .message = event_text(message)}};
}

static struct hf_frame next_page(uint64_t job, struct hf_bytes cursor)
{
    return (struct hf_frame){.type = HF_FRAME_RESTORE_NEXT, .next = {.job = job, .cursor = cursor}};
}

static struct hf_frame chunk_get(uint64_t job, const uint8_t *ids, size_t count)
{
    return (struct hf_frame){.type = HF_FRAME_CHUNK_GET,
                             .ids = {.request = job, .ids = {ids, count * HF_HASH_BYTES}}};
}

static struct hf_frame done(uint64_t job, enum hf_job_outcome outcome)
{
    return (struct hf_frame){
        .type = HF_FRAME_RESTORE_DONE,
        .done = {.job = job, .outcome = outcome, .file_count = 3, .fetched_bytes = 12}};
}

static uint64_t line_accept(struct line *line)
{
    uint64_t job = line_receive(line, HF_FRAME_RESTORE_OFFER)->offer.job;
    line_send(line, answer(job, true, ""));
    return job;
}

/* Its job is over. */
static void wait_calm(const struct line *line)
{
    for (int i = 0; i < PATIENCE_MS && atomic_load(&line->hurries); i++) {
        usleep(1000);
    }
    assert_false(atomic_load(&line->hurries));
}

static void expect_refusal(struct line *line, enum hf_wire_code code)
{
    const struct hf_frame *frame = line_receive(line, HF_FRAME_ERROR);
    assert_int_equal(frame->refusal.code, code);
    assert_int_equal(frame->refusal.about_seq, line->seq);
}

/* --- tests --- */

static void a_job_goes_from_offer_to_result(void **state)
{
    (void)state;
    struct deployment d = deployment_new(DAY_NS);
    struct host host = host_new(&d);
    struct file *files = files_add(&host, 3, 4000);
    uint64_t job = job_new(&host, job_event(&host, &host));
    struct line *line = line_open(&host);
    const struct hf_restore_offer *offer = &line_receive(line, HF_FRAME_RESTORE_OFFER)->offer;
    assert_int_equal(offer->job, job);
    assert_int_equal(offer->origin_host.size, 0);
    assert_int_equal(offer->conflict, HF_CONFLICT_REPLACE);
    assert_int_equal(offer->path_count, 0);
    assert_true(atomic_load(&line->hurries));
    line_send(line, answer(job, true, ""));
    line_send(line, next_page(job, (struct hf_bytes){0}));
    const struct hf_restore_page *page = &line_receive(line, HF_FRAME_RESTORE_PAGE)->page;
    assert_true(page->last);
    assert_int_equal(page->count, 3);
    assert_memory_equal(page->versions[2].refs.data, files[2].id, HF_HASH_BYTES);
    struct job_facts facts = job_facts(&d, job);
    assert_int_equal(facts.state, HF_JOB_STATE_RUNNING);
    assert_true(facts.snapshot > 0); /* the way back stands before the first page is given */
    uint8_t ids[2 * HF_HASH_BYTES];
    memcpy(ids, files[1].id, HF_HASH_BYTES);
    memcpy(ids + HF_HASH_BYTES, files[0].id, HF_HASH_BYTES);
    line_send(line, chunk_get(job, ids, 2));
    const struct hf_frame *content = line_receive(line, HF_FRAME_CHUNKS);
    assert_int_equal(content->chunks.job, job);
    assert_int_equal(content->chunks.count, 2);
    /* In the order of the pack, not of the question. */
    assert_memory_equal(content->chunks.blocks[0].chunks.data, files[0].id, HF_HASH_BYTES);
    assert_memory_equal(content->chunks.blocks[0].data.data, files[0].data, files[0].size);
    struct hf_restore_result results[] = {
        {.path = event_text("data/0000"), .status = HF_RESTORE_RESTORED, .bytes = 4000},
        {.path = event_text("data/0001"),
         .status = HF_RESTORE_FAILED,
         .message = event_text("no room")}};
    line_send(line, (struct hf_frame){.type = HF_FRAME_RESTORE_RESULT,
                                      .results = {.job = job, .results = results, .count = 2}});
    line_send(line, done(job, HF_JOB_FAILED));
    assert_int_equal(line_receive(line, HF_FRAME_RESTORE_DONE)->done.job, job);
    wait_calm(line);
    facts = job_facts(&d, job);
    assert_int_equal(facts.state, HF_JOB_STATE_FAILED);
    assert_int_equal(facts.results, 2);
    assert_int_equal(facts.fetched, 12);
    line_close(line);
    files_free(files, 3);
    deployment_free(&d);
}

/* Where there are few, the agent is told which paths it is about. */
static void an_offer_names_what_was_selected_unless_that_is_much(void **state)
{
    (void)state;
    struct deployment d = deployment_new(DAY_NS);
    struct host host = host_new(&d);
    struct file *files = files_add(&host, 1, 100);
    struct hf_bytes paths[HF_OFFER_PATHS_MAX + 1];
    char names[HF_OFFER_PATHS_MAX + 1][8];
    for (size_t i = 0; i <= HF_OFFER_PATHS_MAX; i++) {
        snprintf(names[i], sizeof names[i], "data/%02zu", i);
        paths[i] = event_text(names[i]);
    }
    for (size_t more = 0; more < 2; more++) {
        struct hf_event event = job_event(&host, &host);
        event.job_created.paths = paths;
        event.job_created.path_count = HF_OFFER_PATHS_MAX + more;
        uint64_t job = job_new(&host, event);
        struct line *line = line_open(&host);
        const struct hf_restore_offer *offer = &line_receive(line, HF_FRAME_RESTORE_OFFER)->offer;
        assert_int_equal(offer->path_count, more ? 0 : HF_OFFER_PATHS_MAX);
        for (size_t i = 0; i < offer->path_count; i++) {
            assert_int_equal(offer->paths[i].size, strlen(names[i]));
            assert_memory_equal(offer->paths[i].data, names[i], strlen(names[i]));
        }
        line_send(line, answer(job, false, "no"));
        wait_calm(line);
        line_close(line);
    }
    files_free(files, 1);
    deployment_free(&d);
}

/* Asks for these files of a job, and gives the one block that comes. */
static const struct hf_block *one_block(struct line *line, uint64_t job, const struct file *files,
                                        const size_t *wanted, size_t count)
{
    uint8_t ids[16 * HF_HASH_BYTES];
    for (size_t i = 0; i < count; i++) {
        memcpy(ids + i * HF_HASH_BYTES, files[wanted[i]].id, HF_HASH_BYTES);
    }
    line_send(line, chunk_get(job, ids, count));
    const struct hf_frame *content = line_receive(line, HF_FRAME_CHUNKS);
    assert_int_equal(content->chunks.count, 1);
    return &content->chunks.blocks[0];
}

static void a_block_comes_whole_when_a_third_of_it_is_wanted_and_made_anew_else(void **state)
{
    (void)state;
    struct deployment d = deployment_new(DAY_NS);
    struct host host = host_new(&d);
    struct file *files = files_add_so(&host, 8, 1000, IN_ONE_BLOCK);
    uint64_t job = job_new(&host, job_event(&host, &host));
    struct line *line = line_open(&host);
    line_receive(line, HF_FRAME_RESTORE_OFFER);
    line_send(line, answer(job, true, ""));
    const struct hf_block *block = one_block(line, job, files, (size_t[]){7, 0, 3}, 3);
    assert_int_equal(hf_block_chunk_count(block), 8);
    assert_memory_equal(hf_block_chunk_id(block, 4), files[4].id, HF_HASH_BYTES);
    assert_int_equal(block->data.size, 8000);
    block = one_block(line, job, files, (size_t[]){6, 1, 6, 1}, 4); /* each comes once */
    assert_int_equal(hf_block_chunk_count(block), 2);
    assert_memory_equal(hf_block_chunk_id(block, 0), files[1].id, HF_HASH_BYTES);
    assert_memory_equal(hf_block_chunk_id(block, 1), files[6].id, HF_HASH_BYTES);
    assert_int_equal(block->data.size, 2000);
    assert_memory_equal(block->data.data + 1000, files[6].data, 1000);
    line_close(line);
    files_free(files, 8);
    deployment_free(&d);
}

/* The other host has some of a block's chunks: of the rest it must see nothing. */
static void of_another_hosts_block_only_what_is_of_the_job_comes(void **state)
{
    (void)state;
    struct deployment d = deployment_new(DAY_NS);
    struct host owner = host_new(&d);
    struct host host = host_new(&d);
    struct file *secret = files_add_so(&owner, 8, 1000, IN_ONE_BLOCK);
    struct hf_queue *acks = hf_queue_new();
    struct hf_ingest_session *session =
        ingest_session_open(d.ingest, host.row, host.id, 0, on_ingest_reply, acks);
    send_in_one_block(session, acks, secret, 7); /* all but one it has as well */
    ingest_session_close(session);
    struct file *own = files_add(&host, 1, 500);
    uint64_t job = job_new(&host, job_event(&host, &host));
    struct line *line = line_open(&host);
    line_receive(line, HF_FRAME_RESTORE_OFFER);
    line_send(line, answer(job, true, ""));
    const struct hf_block *block = one_block(line, job, secret, (size_t[]){0, 1, 2, 3, 4, 5, 6}, 7);
    assert_int_equal(hf_block_chunk_count(block), 7);
    assert_int_equal(block->data.size, 7000);
    line_close(line);
    hf_queue_free(acks, NULL);
    files_free(secret, 8);
    files_free(own, 1);
    deployment_free(&d);
}

static void a_host_that_answers_again_has_that_moment_named_too(void **state)
{
    (void)state;
    struct deployment d = deployment_new(DAY_NS);
    struct host host = host_new(&d);
    struct file *files = files_add(&host, 1, 4000);
    uint64_t job = job_new(&host, job_event(&host, &host));
    struct line *line = line_open(&host);
    line_accept(line);
    line_send(line, next_page(job, (struct hf_bytes){0}));
    line_receive(line, HF_FRAME_RESTORE_PAGE);
    uint64_t first = job_facts(&d, job).snapshot;
    line_send(line, answer(job, true, ""));
    line_send(line, next_page(job, (struct hf_bytes){0}));
    line_receive(line, HF_FRAME_RESTORE_PAGE);
    assert_true(job_facts(&d, job).snapshot > first);
    line_close(line);
    /* Who comes back after an interruption begins anew, and the moment stays. */
    uint64_t second = job_facts(&d, job).snapshot;
    line = line_open(&host);
    line_accept(line);
    line_send(line, next_page(job, (struct hf_bytes){0}));
    line_receive(line, HF_FRAME_RESTORE_PAGE);
    assert_int_equal(job_facts(&d, job).snapshot, second);
    line_close(line);
    files_free(files, 1);
    deployment_free(&d);
}

static void pages_go_on_where_the_cursor_says_and_together_are_the_moment(void **state)
{
    (void)state;
    enum { COUNT = 1100 };
    struct deployment d = deployment_new(DAY_NS);
    struct host host = host_new(&d);
    struct file *files = files_add(&host, COUNT, 8);
    uint64_t job = job_new(&host, job_event(&host, &host));
    struct line *line = line_open(&host);
    assert_int_equal(line_accept(line), job);
    uint8_t cursor[HF_PATH_MAX_BYTES];
    struct hf_bytes after = {0};
    size_t count = 0;
    size_t pages = 0;
    for (bool last = false; !last; pages++) {
        line_send(line, next_page(job, after));
        const struct hf_restore_page *page = &line_receive(line, HF_FRAME_RESTORE_PAGE)->page;
        for (size_t i = 0; i < page->count; i++, count++) {
            assert_memory_equal(page->versions[i].refs.data, files[count].id, HF_HASH_BYTES);
        }
        last = page->last;
        after = (struct hf_bytes){cursor, page->next_cursor.size};
        if (after.size > 0) {
            memcpy(cursor, page->next_cursor.data, after.size);
        }
        restore_sent(line->restore, line->last->bytes);
    }
    assert_int_equal(count, COUNT);
    assert_true(pages > 1);
    line_close(line);
    files_free(files, COUNT);
    deployment_free(&d);
}

static void content_of_another_host_is_denied_and_audited(void **state)
{
    (void)state;
    struct deployment d = deployment_new(DAY_NS);
    struct host host = host_new(&d);
    struct host victim = host_new(&d);
    struct file *own = files_add(&host, 1, 100);
    struct file *foreign = files_add(&victim, 1, 100);
    uint64_t job = job_new(&host, job_event(&host, &host));
    struct line *line = line_open(&host);
    assert_int_equal(line_accept(line), job);
    uint8_t ids[2 * HF_HASH_BYTES];
    memcpy(ids, foreign[0].id, HF_HASH_BYTES);
    memcpy(ids + HF_HASH_BYTES, own[0].id, HF_HASH_BYTES);
    line_send(line, chunk_get(job, ids, 2));
    const struct hf_frame *frame = line_receive(line, HF_FRAME_ERROR);
    assert_int_equal(frame->refusal.code, HF_WIRE_DENIED);
    assert_int_equal(frame->refusal.ids.size, HF_HASH_BYTES);
    assert_memory_equal(frame->refusal.ids.data, foreign[0].id, HF_HASH_BYTES);
    const struct hf_frame *content = line_receive(line, HF_FRAME_CHUNKS);
    assert_int_equal(content->chunks.count, 1);
    assert_memory_equal(content->chunks.blocks[0].chunks.data, own[0].id, HF_HASH_BYTES);
    for (int i = 0; i < 10; i++) {
        line_send(line, chunk_get(job, foreign[0].id, 1));
        expect_refusal(line, HF_WIRE_DENIED);
    }
    assert_int_equal(denials(&d), 1); /* one entry a job: nobody fills the journal by asking */
    line_close(line);
    files_free(own, 1);
    files_free(foreign, 1);
    deployment_free(&d);
}

static void a_job_onto_another_host_gives_the_origins_content_to_it_alone(void **state)
{
    (void)state;
    struct deployment d = deployment_new(DAY_NS);
    struct host target = host_new(&d);
    struct host origin = host_new(&d);
    struct host bystander = host_new(&d);
    struct file *files = files_add(&origin, 1, 100);
    uint64_t job = job_new(&target, job_event(&target, &origin));
    struct line *other = line_open(&bystander);
    assert_null(line_next(other, 200)); /* it is not offered */
    line_send(other, answer(job, true, ""));
    expect_refusal(other, HF_WIRE_DENIED);
    line_send(other, chunk_get(job, files[0].id, 1));
    expect_refusal(other, HF_WIRE_DENIED);
    line_send(other, done(job, HF_JOB_SUCCEEDED)); /* nor can it end the job */
    expect_refusal(other, HF_WIRE_DENIED);
    assert_int_equal(job_facts(&d, job).state, HF_JOB_STATE_WAITING);
    struct line *line = line_open(&target);
    const struct hf_restore_offer *offer = &line_receive(line, HF_FRAME_RESTORE_OFFER)->offer;
    assert_memory_equal(offer->origin_host.data, origin.id, strlen(origin.id));
    line_send(line, answer(job, true, ""));
    line_send(line, chunk_get(job, files[0].id, 1));
    assert_int_equal(line_receive(line, HF_FRAME_CHUNKS)->chunks.count, 1);
    line_close(line);
    line_close(other);
    files_free(files, 1);
    deployment_free(&d);
}

/* What else the origin has sent in one block with it is nobody's business there. */
static void of_the_origins_blocks_another_host_gets_what_it_asks_for_alone(void **state)
{
    (void)state;
    struct deployment d = deployment_new(DAY_NS);
    struct host target = host_new(&d);
    struct host origin = host_new(&d);
    struct file *files = files_add_so(&origin, 8, 1000, IN_ONE_BLOCK);
    uint64_t job = job_new(&target, job_event(&target, &origin));
    struct line *line = line_open(&target);
    line_accept(line);
    const struct hf_block *block = one_block(line, job, files, (size_t[]){0, 1, 2, 3, 4, 5, 6}, 7);
    assert_int_equal(hf_block_chunk_count(block), 7);
    assert_int_equal(block->data.size, 7000);
    line_close(line);
    files_free(files, 8);
    deployment_free(&d);
}

static void nothing_is_given_before_the_offer_is_accepted(void **state)
{
    (void)state;
    struct deployment d = deployment_new(DAY_NS);
    struct host host = host_new(&d);
    struct file *files = files_add(&host, 1, 100);
    uint64_t job = job_new(&host, job_event(&host, &host));
    struct line *line = line_open(&host);
    line_receive(line, HF_FRAME_RESTORE_OFFER);
    line_send(line, next_page(job, (struct hf_bytes){0}));
    expect_refusal(line, HF_WIRE_STATE);
    line_send(line, chunk_get(job, files[0].id, 1));
    expect_refusal(line, HF_WIRE_STATE);
    line_send(line, chunk_get(job + 1, files[0].id, 1));
    expect_refusal(line, HF_WIRE_DENIED);
    line_close(line);
    files_free(files, 1);
    deployment_free(&d);
}

static void a_refused_job_ends_with_the_hosts_reason_and_the_next_is_offered(void **state)
{
    (void)state;
    struct deployment d = deployment_new(DAY_NS);
    struct host host = host_new(&d);
    struct file *files = files_add(&host, 1, 100);
    uint64_t first = job_new(&host, job_event(&host, &host));
    uint64_t second = job_new(&host, job_event(&host, &host));
    struct line *line = line_open(&host);
    assert_int_equal(line_receive(line, HF_FRAME_RESTORE_OFFER)->offer.job, first);
    line_send(line, answer(first, false, "outside restore_root"));
    assert_int_equal(line_receive(line, HF_FRAME_RESTORE_OFFER)->offer.job, second);
    struct job_facts facts = job_facts(&d, first);
    assert_int_equal(facts.state, HF_JOB_STATE_FAILED);
    assert_says(facts.message, "outside restore_root");
    line_close(line);
    files_free(files, 1);
    deployment_free(&d);
}

static void a_cut_session_is_offered_the_job_again_with_its_one_snapshot(void **state)
{
    (void)state;
    struct deployment d = deployment_new(DAY_NS);
    struct host host = host_new(&d);
    struct file *files = files_add(&host, 1, 100);
    uint64_t job = job_new(&host, job_event(&host, &host));
    struct line *line = line_open(&host);
    assert_int_equal(line_accept(line), job);
    line_send(line, next_page(job, (struct hf_bytes){0}));
    line_receive(line, HF_FRAME_RESTORE_PAGE);
    uint64_t snapshot = job_facts(&d, job).snapshot;
    line_close(line);
    deployment_stop(&d); /* the collector restarts, too */
    deployment_start(&d, DAY_NS);
    line = line_open(&host);
    assert_int_equal(line_accept(line), job);
    line_send(line, next_page(job, (struct hf_bytes){0}));
    line_receive(line, HF_FRAME_RESTORE_PAGE);
    assert_int_equal(job_facts(&d, job).snapshot, snapshot);
    /* The agent may have ended it while it was away. */
    line_close(line);
    line = line_open(&host);
    line_receive(line, HF_FRAME_RESTORE_OFFER);
    line_send(line, done(job, HF_JOB_SUCCEEDED));
    assert_int_equal(line_receive(line, HF_FRAME_RESTORE_DONE)->done.job, job);
    assert_int_equal(job_facts(&d, job).state, HF_JOB_STATE_SUCCEEDED);
    /* Said twice, recorded once. */
    line_send(line, done(job, HF_JOB_FAILED));
    assert_int_equal(line_receive(line, HF_FRAME_RESTORE_DONE)->done.job, job);
    assert_int_equal(job_facts(&d, job).state, HF_JOB_STATE_SUCCEEDED);
    line_close(line);
    files_free(files, 1);
    deployment_free(&d);
}

static void cancel(struct deployment *d, uint64_t job)
{
    struct hf_event event = {.type = HF_EVENT_JOB_STATE,
                             .actor = event_text("test"),
                             .job_state = {.job_id = job, .state = HF_JOB_STATE_CANCELLED}};
    assert_ok(ingest_commit(d->ingest, &event, 1, &error));
}

static void a_cancelled_job_is_called_off_also_between_offer_and_answer(void **state)
{
    (void)state;
    struct deployment d = deployment_new(DAY_NS);
    struct host host = host_new(&d);
    struct file *files = files_add(&host, 1, 100);
    uint64_t job = job_new(&host, job_event(&host, &host));
    struct line *line = line_open(&host);
    line_receive(line, HF_FRAME_RESTORE_OFFER);
    cancel(&d, job); /* nobody told the session */
    line_send(line, answer(job, true, ""));
    assert_int_equal(line_receive(line, HF_FRAME_RESTORE_CANCEL)->cancel.job, job);
    line_send(line, next_page(job, (struct hf_bytes){0}));
    expect_refusal(line, HF_WIRE_STATE);
    line_send(line, done(job, HF_JOB_CANCELLED));
    line_receive(line, HF_FRAME_RESTORE_DONE);
    uint64_t second = job_new(&host, job_event(&host, &host));
    restore_wake(line->restore);
    assert_int_equal(line_accept(line), second);
    cancel(&d, second);
    restore_cancel(line->restore, second);
    assert_int_equal(line_receive(line, HF_FRAME_RESTORE_CANCEL)->cancel.job, second);
    line_close(line);
    files_free(files, 1);
    deployment_free(&d);
}

static void expire_now(struct question *q, struct hf_catalog_reader *catalog)
{
    struct deployment *d = q->context;
    q->rc = restore_expire_jobs(d->ingest, catalog, &q->error);
}

static void an_expired_job_is_not_offered_and_ends_whether_its_host_comes_or_not(void **state)
{
    (void)state;
    struct deployment d = deployment_new(DAY_NS);
    struct host comes = host_new(&d);
    struct host stays_away = host_new(&d);
    struct file *files = files_add(&comes, 1, 100);
    struct hf_event late = job_event(&comes, &comes);
    late.job_created.expires_ns = late.time_ns + HF_NS_PER_MS;
    uint64_t first = job_new(&comes, late);
    late = job_event(&stays_away, &comes);
    late.job_created.expires_ns = late.time_ns + HF_NS_PER_MS;
    uint64_t second = job_new(&stays_away, late);
    uint64_t current = job_new(&stays_away, job_event(&stays_away, &comes));
    usleep(5000);
    struct line *line = line_open(&comes);
    assert_null(line_next(line, 300));
    assert_int_equal(job_facts(&d, first).state, HF_JOB_STATE_EXPIRED);
    assert_int_equal(job_facts(&d, second).state, HF_JOB_STATE_WAITING);
    struct question question = {.ask = expire_now, .context = &d};
    ask(&d, &question);
    assert_int_equal(question.rc, HF_OK);
    assert_int_equal(job_facts(&d, second).state, HF_JOB_STATE_EXPIRED);
    assert_int_equal(job_facts(&d, current).state, HF_JOB_STATE_WAITING);
    line_close(line);
    files_free(files, 1);
    deployment_free(&d);
}

/* An agent that asks and does not read: content stays in the packs. */
static void content_is_not_made_ahead_of_what_is_sent(void **state)
{
    (void)state;
    enum { COUNT = 60, SIZE = 500000 };
    struct deployment d = deployment_new(DAY_NS);
    struct host host = host_new(&d);
    struct file *files = files_add(&host, COUNT, SIZE);
    uint64_t job = job_new(&host, job_event(&host, &host));
    struct line *line = line_open(&host);
    size_t came = 0;
    assert_int_equal(line_accept(line), job);
    for (size_t i = 0; i < COUNT; i++) {
        line_send(line, chunk_get(job, files[i].id, 1));
    }
    while (line_next(line, 500)) { /* nothing is reported as sent */
        assert_int_equal(line->last->frame.type, HF_FRAME_CHUNKS);
        ingest_reply_free(line->last);
        line->last = NULL;
        came++;
    }
    assert_true(came >= 8u * 1024u * 1024u / SIZE);
    assert_true(came <= 10u * 1024u * 1024u / SIZE);
    for (; came < COUNT; came++) {
        restore_sent(line->restore, SIZE + 200);
        line_receive(line, HF_FRAME_CHUNKS);
    }
    line_close(line);
    files_free(files, COUNT);
    deployment_free(&d);
}

static void an_agent_that_asks_without_end_is_stopped(void **state)
{
    (void)state;
    struct deployment d = deployment_new(DAY_NS);
    struct host host = host_new(&d);
    struct file *files = files_add(&host, 1, 100);
    uint8_t *ids = calloc(HF_FRAME_IDS_MAX, HF_HASH_BYTES);
    uint64_t job = job_new(&host, job_event(&host, &host));
    struct line *line = line_open(&host);
    line_accept(line);
    int rc = HF_OK;
    for (int i = 0; rc == HF_OK && i < 5000; i++) {
        rc = line_try(line, chunk_get(job, ids, HF_FRAME_IDS_MAX));
    }
    assert_int_equal(rc, HF_ERR_LIMIT);
    line_close(line);
    free(ids);
    files_free(files, 1);
    deployment_free(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_goes_from_offer_to_result),
        cmocka_unit_test(an_offer_names_what_was_selected_unless_that_is_much),
        cmocka_unit_test(a_block_comes_whole_when_a_third_of_it_is_wanted_and_made_anew_else),
        cmocka_unit_test(of_another_hosts_block_only_what_is_of_the_job_comes),
        cmocka_unit_test(a_host_that_answers_again_has_that_moment_named_too),
        cmocka_unit_test(pages_go_on_where_the_cursor_says_and_together_are_the_moment),
        cmocka_unit_test(content_of_another_host_is_denied_and_audited),
        cmocka_unit_test(a_job_onto_another_host_gives_the_origins_content_to_it_alone),
        cmocka_unit_test(of_the_origins_blocks_another_host_gets_what_it_asks_for_alone),
        cmocka_unit_test(nothing_is_given_before_the_offer_is_accepted),
        cmocka_unit_test(a_refused_job_ends_with_the_hosts_reason_and_the_next_is_offered),
        cmocka_unit_test(a_cut_session_is_offered_the_job_again_with_its_one_snapshot),
        cmocka_unit_test(a_cancelled_job_is_called_off_also_between_offer_and_answer),
        cmocka_unit_test(an_expired_job_is_not_offered_and_ends_whether_its_host_comes_or_not),
        cmocka_unit_test(content_is_not_made_ahead_of_what_is_sent),
        cmocka_unit_test(an_agent_that_asks_without_end_is_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
