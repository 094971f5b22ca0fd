#include "collector/dictionary/samples.h"

#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"

/* Where the id's last row is noted, or would be. Ids are hashes: any bits of them will do. */
static uint32_t *find_slot(const struct hf_samples *samples, const uint8_t *id)
{
    size_t mask = 2 * samples->room - 1;
    size_t at = hf_get_le64(id) & mask;
    while (samples->index[at] != 0 &&
           memcmp(samples->rows[samples->index[at] - 1].id, id, HF_HASH_BYTES) != 0) {
        at = (at + 1) & mask;
    }
    return &samples->index[at];
}

static int make_room(struct hf_samples *samples)
{
    if (samples->count < samples->room) {
        return HF_OK;
    }
    size_t room = samples->room ? 2 * samples->room : 256;
    struct hf_sample *grown = reallocarray(samples->rows, room, sizeof *grown);
    if (!grown) {
        return HF_ERR_NO_MEMORY;
    }
    samples->rows = grown;
    uint32_t *index = calloc(2 * room, sizeof *index);
    if (!index) {
        return HF_ERR_NO_MEMORY;
    }
    free(samples->index);
    samples->index = index;
    samples->room = room;
    for (size_t i = 0; i < samples->count; i++) {
        *find_slot(samples, samples->rows[i].id) = (uint32_t)i + 1;
    }
    return HF_OK;
}

int samples_add(struct hf_samples *samples, uint64_t host, const uint8_t id[HF_HASH_BYTES],
                struct hf_bytes content)
{
    int rc = make_room(samples);
    if (rc != HF_OK) {
        return rc;
    }
    uint32_t *slot = find_slot(samples, id);
    const struct hf_sample *other = *slot > 0 ? &samples->rows[*slot - 1] : NULL;
    if (other && other->host == host) {
        return HF_OK;
    }
    size_t at = other ? other->at : samples->bytes.size;
    if (content.size > HF_SAMPLES_MAX_SEEN_BYTES - samples->seen ||
        (!other && content.size > HF_SAMPLES_MAX_BYTES - samples->bytes.size)) {
        return HF_ERR_LIMIT;
    }
    if (!other && hf_buf_append(&samples->bytes, content.data, content.size) != HF_OK) {
        return HF_ERR_NO_MEMORY;
    }
    struct hf_sample *row = &samples->rows[samples->count++];
    *row =
        (struct hf_sample){.host = host, .at = at, .size = content.size, .repeated = other != NULL};
    memcpy(row->id, id, HF_HASH_BYTES);
    *slot = (uint32_t)samples->count;
    samples->seen += content.size;
    return HF_OK;
}

struct hf_bytes samples_content(const struct hf_samples *samples, size_t i)
{
    return (struct hf_bytes){samples->bytes.data + samples->rows[i].at, samples->rows[i].size};
}

void samples_free(struct hf_samples *samples)
{
    hf_buf_free(&samples->bytes);
    free(samples->rows);
    free(samples->index);
    *samples = (struct hf_samples){0};
}
