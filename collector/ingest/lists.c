/* Versions of files with so many chunks that their references stand in lists of their own: each
 * list has to be held, and so has each chunk that it names, millions of look-ups perhaps. While one
 * such version is looked into, slice by slice, its session's frames wait behind it, and those of
 * all others are committed in between. On the committer. */
#include <stdlib.h>

#include "collector/ingest/pipeline.h"
#include "common/bytes.h"
#include "common/clock.h"

#define SLICE_NS   (10 * HF_NS_PER_MS)
#define BATCH_REFS 256u

/* Where the looking stands, and what it found. */
struct ingest_lists {
    size_t version;        /* in the frame: being looked into, or the first that can't be taken */
    size_t list, at;       /* bytes into its references, and into the list's */
    uint64_t total;        /* the lengths so far */
    struct hf_buf missing; /* ids that the host does not hold */
    bool over, wrong;      /* wrong: the lengths are not the version's size */
    struct hf_error failure;
};

void lists_free(struct ingest_lists *lists)
{
    if (lists) {
        hf_buf_free(&lists->missing);
        free(lists);
    }
}

static bool has_lists(const struct ingest_item *item)
{
    if (item->frame.type != HF_FRAME_VERSIONS) {
        return false;
    }
    for (size_t i = 0; i < item->frame.versions.count; i++) {
        if (item->frame.versions.versions[i].depth > 0) {
            return true;
        }
    }
    return false;
}

/* --- who waits --- */

static void park(struct ingest_item *item)
{
    struct hf_ingest_session *session = item->session;
    struct hf_ingest *ingest = session->ingest;
    item->next = NULL;
    if (session->parked_last) {
        session->parked_last->next = item;
    } else {
        session->parked_first = item;
        session->next_parked = NULL;
        *(ingest->parked_last ? &ingest->parked_last->next_parked : &ingest->parked_first) =
            session;
        ingest->parked_last = session;
    }
    session->parked_last = item;
}

struct ingest_item *lists_park(struct ingest_item *first)
{
    struct ingest_item *kept = NULL;
    struct ingest_item **last = &kept;
    for (struct ingest_item *item = first, *next; item; item = next) {
        next = item->next;
        bool waits = item->kind == ITEM_FRAME && item->session->parked_first != NULL;
        if (!waits && item->kind == ITEM_FRAME && !item->lists && has_lists(item)) {
            item->lists = calloc(1, sizeof *item->lists);
            waits = item->lists != NULL; /* without memory it is refused when its turn comes */
        }
        if (waits) {
            park(item);
        } else {
            *last = item;
            last = &item->next;
            item->next = NULL;
        }
    }
    return kept;
}

bool lists_pending(const struct hf_ingest *ingest)
{
    return ingest->parked_first != NULL;
}

static struct hf_ingest_session *take_session(struct hf_ingest *ingest)
{
    struct hf_ingest_session *session = ingest->parked_first;
    ingest->parked_first = session->next_parked;
    ingest->parked_last = ingest->parked_first ? ingest->parked_last : NULL;
    session->next_parked = NULL;
    return session;
}

static void back_in_line(struct hf_ingest *ingest, struct hf_ingest_session *session)
{
    *(ingest->parked_last ? &ingest->parked_last->next_parked : &ingest->parked_first) = session;
    ingest->parked_last = session;
}

static struct ingest_item *take_items(struct hf_ingest_session *session)
{
    struct ingest_item *first = session->parked_first;
    session->parked_first = session->parked_last = NULL;
    return first;
}

static void drop_items(struct hf_ingest_session *session)
{
    struct ingest_item *item = take_items(session);
    while (item) {
        struct ingest_item *next = item->next;
        item_free(item); /* the last one may take its session with it */
        item = next;
    }
}

void lists_drop(struct hf_ingest *ingest)
{
    while (ingest->parked_first) {
        drop_items(take_session(ingest));
    }
}

/* --- looking --- */

static int read_list(struct hf_ingest *ingest, const uint8_t *id, struct hf_buf *list,
                     struct hf_error *error)
{
    struct hf_chunk_place place;
    hf_buf_clear(list);
    int rc = catalog_chunk_find(ingest->catalog, id, &place, error);
    return rc == HF_OK ? store_read_chunk(ingest->committer_reader, &place.place, id, list, error)
                       : rc;
}

static bool found_enough(const struct ingest_lists *lists)
{
    return lists->missing.size >= HF_CATALOG_MISSING_MAX * HF_HASH_BYTES;
}

/* From lists->at on, as far as the time goes. */
static int look_into(struct hf_ingest *ingest, struct ingest_item *item, const struct hf_buf *list,
                     int64_t until_ns, struct hf_error *error)
{
    struct ingest_lists *lists = item->lists;
    int rc = HF_OK;
    while (rc == HF_OK && lists->at < list->size && !found_enough(lists) &&
           hf_clock_monotonic_ns() < until_ns) {
        size_t left = list->size - lists->at;
        size_t size =
            left < BATCH_REFS * HF_CHUNK_REF_BYTES ? left : BATCH_REFS * HF_CHUNK_REF_BYTES;
        const uint8_t *refs = list->data + lists->at;
        rc = catalog_missing_refs(ingest->catalog, item->session->host_row,
                                  (struct hf_bytes){refs, size}, &lists->missing, error);
        for (size_t i = 0; rc == HF_OK && i < size; i += HF_CHUNK_REF_BYTES) {
            lists->total += hf_get_le32(refs + i + HF_HASH_BYTES);
        }
        lists->at += size;
    }
    return rc;
}

/* The version that is at hand. *over when all is known of it. */
static int look_at_version(struct hf_ingest *ingest, struct ingest_item *item, int64_t until_ns,
                           bool *over, struct hf_error *error)
{
    struct ingest_lists *lists = item->lists;
    const struct hf_version *version = &item->frame.versions.versions[lists->version];
    struct hf_buf list = {0};
    int rc = HF_OK;
    bool begun = lists->list > 0 || lists->at > 0;
    if (version->depth > 0 && !begun) {
        rc = catalog_missing_refs(ingest->catalog, item->session->host_row, version->refs,
                                  &lists->missing, error);
    }
    *over = version->depth == 0 || lists->missing.size > 0;
    while (rc == HF_OK && !*over && hf_clock_monotonic_ns() < until_ns) {
        if (lists->list >= version->refs.size || found_enough(lists)) {
            *over = true;
            break;
        }
        rc = read_list(ingest, version->refs.data + lists->list, &list, error);
        rc = rc == HF_OK ? look_into(ingest, item, &list, until_ns, error) : rc;
        if (rc == HF_OK && lists->at >= list.size) {
            lists->list += HF_CHUNK_REF_BYTES;
            lists->at = 0;
        }
    }
    hf_buf_free(&list);
    lists->wrong = rc == HF_OK && *over && version->depth > 0 && lists->missing.size == 0 &&
                   lists->total != version->size;
    return rc;
}

/* A slice. What comes after the first version that can't be taken will come again. */
static int look(struct hf_ingest *ingest, struct ingest_item *item, struct hf_error *error)
{
    struct ingest_lists *lists = item->lists;
    int64_t until_ns = hf_clock_monotonic_ns() + SLICE_NS;
    int rc = HF_OK;
    while (rc == HF_OK && !lists->over && hf_clock_monotonic_ns() < until_ns) {
        bool known = false;
        rc = look_at_version(ingest, item, until_ns, &known, error);
        if (rc != HF_OK || !known) {
            continue;
        }
        lists->over = lists->wrong || lists->missing.size > 0 ||
                      lists->version + 1 == item->frame.versions.count;
        if (!lists->over) {
            lists->version++;
            lists->list = lists->at = 0;
            lists->total = 0;
        }
    }
    return rc;
}

struct ingest_item *lists_work(struct hf_ingest *ingest)
{
    struct hf_error error = {0};
    struct hf_ingest_session *session = take_session(ingest);
    struct ingest_lists *lists = session->parked_first->lists;
    if (!session_is_open(session)) {
        drop_items(session); /* nobody hears the answer; nothing of it was acknowledged */
        return NULL;
    }
    int rc = catalog_begin(ingest->catalog, &error);
    if (rc == HF_OK) {
        rc = look(ingest, session->parked_first, &error);
        catalog_rollback(ingest->catalog);
    }
    if (rc != HF_OK) {
        lists->over = true; /* the commit says so */
        lists->failure = error;
        lists->failure.code = (enum hf_err)rc;
    }
    if (!lists->over) {
        back_in_line(ingest, session);
        return NULL;
    }
    return take_items(session);
}

int lists_missing(const struct ingest_item *item, const struct hf_version *version,
                  struct hf_buf *missing, struct hf_error *error)
{
    const struct ingest_lists *lists = item->lists;
    size_t at = (size_t)(version - item->frame.versions.versions);
    if (!lists) {
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory to look into a list of chunks");
    }
    if (lists->failure.code != HF_OK) {
        *error = lists->failure;
        return error->code;
    }
    if (at < lists->version) {
        return HF_OK; /* it was found to be whole */
    }
    if (at > lists->version) {
        /* It comes after one that could not be taken then: it has to come again. */
        return hf_buf_append(missing, version->refs.data, HF_HASH_BYTES);
    }
    if (lists->wrong) {
        return hf_error_set(error, HF_ERR_INVALID, 0,
                            "The lists of a version add up to %llu bytes, but its size is %llu",
                            (unsigned long long)lists->total, (unsigned long long)version->size);
    }
    return hf_buf_append(missing, lists->missing.data, lists->missing.size);
}
