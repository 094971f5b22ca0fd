/* Reading a file's content chunk by chunk, with bounded memory. Private to api/. */
#ifndef HF_COLLECTOR_API_CONTENT_H
#define HF_COLLECTOR_API_CONTENT_H

#include "collector/catalog/catalog.h"

struct hf_store_reader;

struct api_content {
    struct hf_buf refs; /* copied from the version */
    uint8_t depth;
    size_t next_ref;
    struct hf_buf list; /* depth 1: the list chunk that is being walked */
    size_t next_in_list;
};

int content_open(struct api_content *content, const struct hf_version *version);
void content_close(struct api_content *content);
/* Append the next chunk's plaintext to out; *done when none is left (nothing appended then). */
int content_read(struct api_content *content, struct hf_catalog_reader *catalog,
                 struct hf_store_reader *store, struct hf_buf *out, bool *done,
                 struct hf_error *error);

#endif
