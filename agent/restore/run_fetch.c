/* Staging over the wire: pages of versions come in, requests for chunks go out, many at once. */
#include <stdlib.h>
#include <string.h>

#include "agent/restore/run.h"
#include "agent/restore/stage.h"

/* One being worked on and one in hand, so that the collector's next page costs no waiting. */
#define PAGES_MAX 2u

struct fetch {
    struct hf_run *run;
    struct hf_stage *stage;
    struct hf_link_event *pages[PAGES_MAX];
    size_t page_count;
    size_t version_at; /* in pages[0] */
    bool asked;        /* a page is on its way */
    bool last_seen;
    struct hf_buf cursor;
    size_t listed; /* versions on all pages so far */
};

static int request_chunks(void *context, struct hf_bytes ids, struct hf_error *error)
{
    struct fetch *fetch = context;
    struct hf_frame frame = {
        .type = HF_FRAME_CHUNK_GET,
        .ids = {.request = fetch->run->job->id, .ids = ids},
    };
    int result = run_send(fetch->run, &frame);
    return result ? hf_error_set(error, (enum hf_err)result, 0, "the connection was cut") : 0;
}

/* From the writers' threads. */
static void wake(void *context)
{
    struct fetch *fetch = context;
    restorer_wake(fetch->run->restorer);
}

static int find_content(void *context, const struct hf_version *version, struct hf_buf *path)
{
    struct fetch *fetch = context;
    return capture_find_content(fetch->run->restorer->options.capture, version, path);
}

static int ask_page(struct fetch *fetch, struct hf_error *error)
{
    if (fetch->asked || fetch->last_seen || fetch->page_count == PAGES_MAX)
        return 0;
    struct hf_frame frame = {
        .type = HF_FRAME_RESTORE_NEXT,
        .next = {.job = fetch->run->job->id, .cursor = {fetch->cursor.data, fetch->cursor.size}},
    };
    int result = run_send(fetch->run, &frame);
    if (result)
        return hf_error_set(error, (enum hf_err)result, 0, "the connection was cut");
    fetch->asked = true;
    return 0;
}

/* A list without an end fills the disk of a host that believes it. */
static const char *complaint_about(const struct fetch *fetch, const struct hf_restore_page *page)
{
    const struct hf_bytes next = page->next_cursor;
    bool same = next.size == fetch->cursor.size &&
                (next.size == 0 || memcmp(next.data, fetch->cursor.data, fetch->cursor.size) == 0);
    if (!page->last && (next.size == 0 || same))
        return "the collector's list of files does not go on";
    if (page->count > HF_FILES_MAX - fetch->listed)
        return "the collector's list of files has no end";
    return NULL;
}

static bool is_beneath(struct hf_bytes path, struct hf_bytes top)
{
    return path.size >= top.size && memcmp(path.data, top.data, top.size) == 0 &&
           (path.size == top.size || path.data[top.size] == '/');
}

/* What was not offered was not captured before it is replaced. */
static int check_offered(const struct hf_restore_offer *offer, const struct hf_version *version,
                         struct hf_error *error)
{
    bool offered = offer->path_count == 0;
    for (size_t i = 0; i < offer->path_count && !offered; i++)
        offered = is_beneath(version->path, offer->paths[i]);
    return offered ? 0
                   : hf_error_set(error, HF_ERR_PROTOCOL, 0,
                                  "the collector's list names /%.*s, which it did not offer",
                                  (int)(version->path.size < 300 ? version->path.size : 300),
                                  (const char *)version->path.data);
}

/* Takes over event. */
static int take_page(struct fetch *fetch, struct hf_link_event *event, struct hf_error *error)
{
    const struct hf_restore_page *page = &event->frame.page;
    if (page->job != fetch->run->job->id || !fetch->asked) {
        link_event_free(event);
        return 0;
    }
    const char *complaint = complaint_about(fetch, page);
    fetch->asked = false;
    fetch->last_seen = page->last;
    hf_buf_clear(&fetch->cursor);
    if (complaint ||
        hf_buf_append(&fetch->cursor, page->next_cursor.data, page->next_cursor.size)) {
        link_event_free(event);
        return hf_error_set(error, complaint ? HF_ERR_PROTOCOL : HF_ERR_NO_MEMORY, 0, "%s",
                            complaint ? complaint : "no memory for a restore");
    }
    fetch->listed += page->count;
    fetch->pages[fetch->page_count++] = event;
    return ask_page(fetch, error);
}

static int work_through_pages(struct fetch *fetch, struct hf_error *error)
{
    int result = 0;
    while (!result && fetch->page_count > 0 && stage_wants_more(fetch->stage)) {
        const struct hf_restore_page *page = &fetch->pages[0]->frame.page;
        if (fetch->version_at < page->count) {
            const struct hf_version *version = &page->versions[fetch->version_at++];
            result = check_offered(&fetch->run->job->offer, version, error);
            result = result ? result : stage_add(fetch->stage, version, error);
            continue;
        }
        link_event_free(fetch->pages[0]);
        fetch->page_count--;
        memmove(fetch->pages, fetch->pages + 1, fetch->page_count * sizeof(fetch->pages[0]));
        fetch->version_at = 0;
        result = ask_page(fetch, error);
    }
    return result ? result : stage_flush(fetch->stage, error);
}

static int take_refusal(struct fetch *fetch, const struct hf_refusal *refusal,
                        struct hf_error *error)
{
    char message[HF_ERROR_MESSAGE_BYTES / 2];
    size_t size =
        refusal->message.size < sizeof(message) ? refusal->message.size : sizeof(message) - 1;
    memcpy(message, refusal->message.data, size);
    message[size] = '\0';
    if (refusal->about_seq == 0)
        return 0; /* about no frame of a restore */
    if (refusal->ids.size > 0)
        return stage_lack(fetch->stage, refusal->ids, message, error);
    return hf_error_set(error, HF_ERR_DENIED, 0, "the collector refused to go on: %s", message);
}

/* Takes over event. */
static int take_event(struct fetch *fetch, struct hf_link_event *event, struct hf_error *error)
{
    uint64_t job = fetch->run->job->id;
    const struct hf_frame *frame = &event->frame;
    int result = 0;
    if (frame->type == HF_FRAME_RESTORE_PAGE)
        return take_page(fetch, event, error);
    if (frame->type == HF_FRAME_CHUNKS && frame->chunks.job == job)
        result = stage_take(fetch->stage, frame, error);
    else if (frame->type == HF_FRAME_ERROR)
        result = take_refusal(fetch, &frame->refusal, error);
    link_event_free(event);
    return result;
}

int run_fetch(struct hf_run *run, struct hf_error *error)
{
    struct fetch fetch = {.run = run};
    struct hf_stage_options options = {.job = run->job,
                                       .targets = run->targets,
                                       .rules = run_rules(run),
                                       .cutting = run_cutting(run),
                                       .request = request_chunks,
                                       .find_content = find_content,
                                       .wake = wake,
                                       .context = &fetch};
    int result = stage_new(&options, &fetch.stage, error);
    if (result)
        return result;
    result = ask_page(&fetch, error);
    while (!result) {
        result = work_through_pages(&fetch, error);
        if (result || (fetch.last_seen && fetch.page_count == 0 && stage_idle(fetch.stage)))
            break;
        struct hf_link_event *event;
        result = run_next_event(run, 1000, &event); /* also returns when writers have finished */
        if (result)
            hf_error_set(error, (enum hf_err)result, 0, "the connection was cut");
        else if (run->cancelled)
            result = hf_error_set(error, HF_ERR_CONFLICT, 0, "cancelled; nothing was changed");
        else if (event)
            result = take_event(&fetch, event, error);
        if (result && run->cancelled)
            link_event_free(event);
        if (!result)
            result = stage_collect(fetch.stage, 0, error);
    }
    if (!result && !run->job->offer.dry_run)
        result = stage_finish(fetch.stage, error);
    struct hf_error unwritten;
    int failure = stage_end_flushing(fetch.stage, &unwritten);
    if (failure && (!result || result == HF_ERR_CLOSED)) {
        *error = unwritten;
        result = failure;
    }
    while (fetch.page_count > 0)
        link_event_free(fetch.pages[--fetch.page_count]);
    hf_buf_free(&fetch.cursor);
    stage_free(fetch.stage);
    capture_find_end(run->restorer->options.capture);
    return result;
}
