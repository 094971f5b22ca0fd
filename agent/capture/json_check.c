#include "agent/capture/json_check.h"

#include <stdlib.h>

#include <yajl/yajl_parse.h>

/* The parser keeps a token that one piece began and another ends, and the open brackets, for which
 * it takes memory anew so often that many of them are slow. */
#define MEMORY_MAX_BYTES ((size_t)4 * 1024 * 1024)
#define DEPTH_MAX        4096u
/* So that it is noticed in time that it keeps too much. */
#define PIECE_BYTES ((size_t)64 * 1024)

struct hf_json_check {
    yajl_handle parser;
    size_t allocated;
    unsigned depth;
    bool failed, given_up;
};

union header {
    size_t size;
    max_align_t align;
};

static void *counted_realloc(void *context, void *old, size_t size)
{
    struct hf_json_check *check = context;
    union header *header = old ? (union header *)old - 1 : NULL;
    size_t before = header ? header->size : 0;
    header = size <= SIZE_MAX - sizeof *header ? realloc(header, sizeof *header + size) : NULL;
    if (!header) {
        abort(); /* yajl takes no for an answer nowhere */
    }
    header->size = size;
    check->allocated += size - before;
    return header + 1;
}

static void *counted_malloc(void *context, size_t size)
{
    return counted_realloc(context, NULL, size);
}

static void counted_free(void *context, void *old)
{
    struct hf_json_check *check = context;
    if (old) {
        union header *header = (union header *)old - 1;
        check->allocated -= header->size;
        free(header);
    }
}

/* What it answers: whether to go on. */
static int open_bracket(void *context)
{
    struct hf_json_check *check = context;
    return ++check->depth <= DEPTH_MAX;
}

static int close_bracket(void *context)
{
    struct hf_json_check *check = context;
    check->depth--;
    return 1;
}

static const yajl_callbacks brackets = {
    .yajl_start_map = open_bracket,
    .yajl_end_map = close_bracket,
    .yajl_start_array = open_bracket,
    .yajl_end_array = close_bracket,
};

struct hf_json_check *json_check_new(void)
{
    struct hf_json_check *check = calloc(1, sizeof *check);
    if (!check) {
        return NULL;
    }
    yajl_alloc_funcs memory = {counted_malloc, counted_realloc, counted_free, check};
    check->parser = yajl_alloc(&brackets, &memory, check); /* it copies memory */
    return check;
}

void json_check_free(struct hf_json_check *check)
{
    if (check) {
        yajl_free(check->parser);
        free(check);
    }
}

void json_check_feed(struct hf_json_check *check, const uint8_t *data, size_t size)
{
    while (size > 0 && !check->failed && !check->given_up) {
        size_t piece = size < PIECE_BYTES ? size : PIECE_BYTES;
        yajl_status status = yajl_parse(check->parser, data, piece);
        check->failed = status == yajl_status_error;
        check->given_up =
            status == yajl_status_client_canceled || check->allocated > MEMORY_MAX_BYTES;
        data += piece;
        size -= piece;
    }
}

bool json_check_end(struct hf_json_check *check)
{
    return !check->failed &&
           (check->given_up || yajl_complete_parse(check->parser) == yajl_status_ok);
}
