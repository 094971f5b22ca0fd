/* GET .../archive: a moment as a tar, in the pax interchange format (POSIX.1-2017, pax), page by
 * page. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/api/call.h"
#include "collector/api/content.h"
#include "common/clock.h"

#define TAR_BLOCK      512u
#define TAR_NAME_BYTES 100u
#define TAR_OCTAL_MAX  UINT64_C(077777777777) /* of an eleven-digit field */
#define PAGE_ROWS      500u
#define PATHS_MAX      HF_HTTP_QUERY_MAX

struct archive {
    struct hf_timeline_query query;
    struct hf_bytes paths[PATHS_MAX];
    struct hf_buf paths_memory;
    struct hf_buf after;
    struct hf_catalog_memory memory; /* of the page */
    struct hf_version_page page;
    size_t next_row;
    bool page_loaded;
    struct api_content content; /* of the file that is being written */
    bool in_file;
    uint64_t file_left;
};

/* ustar header fields, by offset and size. */
struct tar_field {
    size_t offset, size;
};
static const struct tar_field tar_name = {0, 100}, tar_mode = {100, 8}, tar_uid = {108, 8},
                              tar_gid = {116, 8}, tar_size = {124, 12}, tar_mtime = {136, 12},
                              tar_checksum = {148, 8}, tar_type = {156, 1}, tar_link = {157, 100},
                              tar_magic = {257, 8}, tar_owner = {265, 32}, tar_group = {297, 32};

static void put_octal(uint8_t *header, struct tar_field field, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%0*llo", (int)field.size - 1, (unsigned long long)value);
    memcpy(header + field.offset, text, field.size - 1);
}

static void put_bytes(uint8_t *header, struct tar_field field, struct hf_bytes bytes)
{
    size_t size = bytes.size < field.size ? bytes.size : field.size;
    if (size > 0) {
        memcpy(header + field.offset, bytes.data, size);
    }
}

static int append_header(struct hf_buf *out, uint8_t header[TAR_BLOCK], char type)
{
    unsigned sum = 0;
    header[tar_type.offset] = (uint8_t)type;
    static const uint8_t magic[8] = {'u', 's', 't', 'a', 'r', '\0', '0', '0'};
    memcpy(header + tar_magic.offset, magic, sizeof magic);
    memset(header + tar_checksum.offset, ' ', tar_checksum.size);
    for (size_t i = 0; i < TAR_BLOCK; i++) {
        sum += header[i];
    }
    snprintf((char *)header + tar_checksum.offset, tar_checksum.size, "%06o", sum);
    header[tar_checksum.offset + 7] = ' ';
    return hf_buf_append(out, header, TAR_BLOCK);
}

static int append_padding(struct hf_buf *out, uint64_t size)
{
    static const uint8_t zeros[TAR_BLOCK];
    return hf_buf_append(out, zeros, (TAR_BLOCK - size % TAR_BLOCK) % TAR_BLOCK);
}

/* "LENGTH key=value\n", where LENGTH counts itself. */
static int append_record(struct hf_buf *out, const char *key, struct hf_bytes value)
{
    size_t body = strlen(key) + value.size + 3; /* blank, '=', newline */
    size_t length = body + 1;
    char digits[24];
    while ((size_t)snprintf(digits, sizeof digits, "%zu", length) + body != length) {
        length = (size_t)snprintf(digits, sizeof digits, "%zu", length) + body;
    }
    int rc = hf_buf_append_format(out, "%zu %s=", length, key);
    rc = rc == HF_OK ? hf_buf_append(out, value.data, value.size) : rc;
    return rc == HF_OK ? hf_buf_append_byte(out, '\n') : rc;
}

static int append_number_record(struct hf_buf *out, const char *key, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    return append_record(out, key, event_text(text));
}

/* The times in nanoseconds and whatever the old header has no room for. */
static int pax_records(const struct hf_version *version, struct hf_buf *out)
{
    char mtime[40];
    int64_t fraction = version->mtime_ns % HF_NS_PER_SECOND;
    int64_t seconds = version->mtime_ns / HF_NS_PER_SECOND;
    const char *sign = version->mtime_ns < 0 ? "-" : "";
    snprintf(mtime, sizeof mtime, "%s%lld.%09lld", sign, llabs((long long)seconds),
             llabs((long long)fraction));
    int rc = append_record(out, "mtime", event_text(mtime));
    json_t *utf8 = json_stringn((const char *)version->path.data, version->path.size);
    if (!utf8 && rc == HF_OK) {
        rc = append_record(out, "hdrcharset", event_text("BINARY"));
    }
    json_decref(utf8);
    if (rc == HF_OK) {
        rc = append_record(out, "path", version->path);
    }
    if (rc == HF_OK && version->target.size > 0) {
        rc = append_record(out, "linkpath", version->target);
    }
    if (rc == HF_OK && version->size > TAR_OCTAL_MAX) {
        rc = append_number_record(out, "size", version->size);
    }
    if (rc == HF_OK && version->uid > 07777777) {
        rc = append_number_record(out, "uid", version->uid);
    }
    if (rc == HF_OK && version->gid > 07777777) {
        rc = append_number_record(out, "gid", version->gid);
    }
    return rc;
}

static int append_member(const struct hf_version *version, struct hf_buf *out)
{
    struct hf_buf records = {0};
    uint8_t pax[TAR_BLOCK] = {0};
    uint8_t header[TAR_BLOCK] = {0};
    char type = '0';
    if (version->type == HF_FILE_DIRECTORY) {
        type = '5';
    } else if (version->type == HF_FILE_SYMLINK) {
        type = '2';
    }
    int rc = pax_records(version, &records);
    put_bytes(pax, tar_name, event_text("holdfast.pax"));
    put_octal(pax, tar_mode, 0644);
    put_octal(pax, tar_size, records.size);
    rc = rc == HF_OK ? append_header(out, pax, 'x') : rc;
    rc = rc == HF_OK ? hf_buf_append(out, records.data, records.size) : rc;
    rc = rc == HF_OK ? append_padding(out, records.size) : rc;
    put_bytes(header, tar_name, version->path);
    put_bytes(header, tar_link, version->target);
    put_octal(header, tar_mode, version->mode & 07777);
    put_octal(header, tar_uid, version->uid & 07777777);
    put_octal(header, tar_gid, version->gid & 07777777);
    put_octal(header, tar_size, version->size & TAR_OCTAL_MAX);
    put_octal(header, tar_mtime,
              version->mtime_ns > 0 ? (uint64_t)(version->mtime_ns / HF_NS_PER_SECOND) : 0);
    put_bytes(header, tar_owner, version->owner);
    put_bytes(header, tar_group, version->group);
    rc = rc == HF_OK ? append_header(out, header, type) : rc;
    hf_buf_free(&records);
    return rc;
}

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
        rc = append_padding(out, size);
        content_close(&archive->content);
        archive->in_file = false;
    }
    return rc;
}

static int produce(void *state, struct hf_catalog_reader *catalog, struct hf_store_reader *store,
                   struct hf_buf *out, bool *done, struct hf_error *error)
{
    static const uint8_t end_of_archive[2 * TAR_BLOCK];
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
            rc = hf_buf_append(out, end_of_archive, sizeof end_of_archive);
            *done = true;
        } else if (rc == HF_OK) {
            rc = append_member(&row->version, out);
            if (rc == HF_OK && row->version.type == HF_FILE_REGULAR) {
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
