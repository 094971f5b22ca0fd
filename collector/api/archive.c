/* GET .../archive: a moment as a tar, in the pax interchange format (POSIX.1-2017, pax), page by
 * page. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/api/call.h"
#include "collector/api/content.h"
#include "collector/api/first_names.h"
#include "collector/api/tar.h"
#include "common/clock.h"

#define PAGE_ROWS 500u
#define PATHS_MAX HF_HTTP_QUERY_MAX

struct archive {
    struct hf_timeline_query query;
    struct hf_bytes paths[PATHS_MAX];
    struct hf_buf paths_memory;
    struct hf_buf after;
    struct hf_catalog_memory memory; /* of the page */
    struct hf_version_page page;
    size_t next_row;
    bool page_loaded;
    struct first_names *names;
    struct api_content content; /* of the file that is being written */
    bool in_file;
    uint64_t file_left;
};

/* On to the next row of the tree; *end when there is none. */
static int next_row(struct archive *archive, struct hf_catalog_reader *catalog,
                    const struct hf_version_row **row, bool *end, struct hf_error *error)
{
    *end = false;
    while (!archive->page_loaded || archive->next_row == archive->page.count) {
        if (archive->page_loaded && archive->page.last) {
            *end = true;
            return HF_OK;
        }
        if (archive->page_loaded) {
            hf_buf_clear(&archive->after);
            int rc =
                hf_buf_append(&archive->after, archive->page.next.data, archive->page.next.size);
            if (rc != HF_OK) {
                return rc;
            }
            archive->query.after = (struct hf_bytes){archive->after.data, archive->after.size};
        }
        catalog_memory_free(&archive->memory);
        int rc = catalog_tree(catalog, &archive->query, &archive->memory, &archive->page, error);
        if (rc != HF_OK) {
            return rc;
        }
        archive->page_loaded = true;
        archive->next_row = 0;
    }
    *row = &archive->page.rows[archive->next_row++];
    return HF_OK;
}

static int continue_file(struct archive *archive, struct hf_catalog_reader *catalog,
                         struct hf_store_reader *store, struct hf_buf *out, struct hf_error *error)
{
    bool over = false;
    size_t start = out->size;
    int rc = content_read(&archive->content, catalog, store, out, &over, error);
    uint64_t got = out->size - start;
    if (rc == HF_OK && (got > archive->file_left || (over && archive->file_left > 0))) {
        rc = hf_error_set(error, HF_ERR_CORRUPT, 0, "A file's chunks don't add up to its size");
    }
    archive->file_left -= rc == HF_OK ? got : 0;
    if (rc == HF_OK && over) {
        uint64_t size = archive->page.rows[archive->next_row - 1].version.size;
        rc = tar_append_padding(out, size);
        content_close(&archive->content);
        archive->in_file = false;
    }
    return rc;
}

static int produce(void *state, struct hf_catalog_reader *catalog, struct hf_store_reader *store,
                   struct hf_buf *out, bool *done, struct hf_error *error)
{
    struct archive *archive = state;
    int rc = HF_OK;
    *done = false;
    while (rc == HF_OK && !*done && out->size < HF_HTTP_PIECE_BYTES) {
        const struct hf_version_row *row = NULL;
        bool end = false;
        if (archive->in_file) {
            rc = continue_file(archive, catalog, store, out, error);
            continue;
        }
        rc = next_row(archive, catalog, &row, &end, error);
        if (rc == HF_OK && end) {
            rc = tar_append_end(out);
            *done = true;
        } else if (rc == HF_OK) {
            struct hf_bytes first = first_names_of(archive->names, &row->version);
            rc = tar_append_member(&row->version, first, out);
            if (rc == HF_OK && row->version.type == HF_FILE_REGULAR && first.size == 0) {
                rc = content_open(&archive->content, &row->version);
                archive->in_file = true;
                archive->file_left = row->version.size;
            }
        }
    }
    return rc;
}

static void free_archive(void *state)
{
    struct archive *archive = state;
    if (archive->in_file) {
        content_close(&archive->content);
    }
    first_names_free(archive->names);
    catalog_memory_free(&archive->memory);
    hf_buf_free(&archive->paths_memory);
    hf_buf_free(&archive->after);
    free(archive);
}

/* Copy the selected paths: the request is gone when the later pieces are made. */
static bool copy_paths(struct api_call *call, struct archive *archive)
{
    size_t sizes[PATHS_MAX];
    size_t count = 0;
    for (size_t n = 0; n < PATHS_MAX; n++) {
        struct hf_bytes path;
        bool found = false;
        if (!call_path(call, n, &path, &found)) {
            return false;
        }
        if (!found) {
            break;
        }
        if (hf_buf_append(&archive->paths_memory, path.data, path.size) != HF_OK) {
            call_fail(call, HF_ERR_NO_MEMORY);
            return false;
        }
        sizes[count++] = path.size;
    }
    size_t offset = 0;
    for (size_t i = 0; i < count; i++) {
        archive->paths[i] = (struct hf_bytes){archive->paths_memory.data + offset, sizes[i]};
        offset += sizes[i];
    }
    archive->query.paths = archive->paths;
    archive->query.path_count = count;
    return true;
}

void api_archive(struct api_call *call)
{
    struct hf_host_row host;
    struct hf_source_row source;
    struct archive *archive = calloc(1, sizeof *archive);
    if (archive && !(archive->names = first_names_new())) {
        free(archive);
        archive = NULL;
    }
    if (!archive) {
        call_fail(call, HF_ERR_NO_MEMORY);
        return;
    }
    if (!call_source(call, &host, &source) ||
        !call_moment(call, "at", hf_clock_now_ns(), &archive->query.at_ns) ||
        !copy_paths(call, archive)) {
        free_archive(archive);
        return;
    }
    archive->query.source_row = source.row;
    archive->query.limit = PAGE_ROWS;
    uint64_t files = 0;
    uint64_t bytes = 0;
    int rc = catalog_tree_totals(call->catalog, &archive->query, &files, &bytes, &call->error);
    if (rc != HF_OK || files == 0) {
        if (rc != HF_OK) {
            call_fail(call, rc);
        } else {
            call_refuse(call, 404, "not-found", "'holdfast ls' shows what there is",
                        "%s:%s had nothing of that at that moment", host.name, source.name);
        }
        free_archive(archive);
        return;
    }
    call->response->content_type = "application/x-tar";
    call->response->produce = produce;
    call->response->produce_state = archive;
    call->response->produce_free = free_archive;
    call->response->length = -1;
    /* With each member's header and, on the average, half a block to fill up. */
    call->response->about_bytes = bytes + files * (TAR_BLOCK + TAR_BLOCK / 2);
}
