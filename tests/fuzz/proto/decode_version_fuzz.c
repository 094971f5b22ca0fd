/* What decodes, encodes again, to what decodes as the same version. */
#include <stdlib.h>
#include <string.h>

#include "proto/frame.h"
#include "proto/version.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool same_bytes(struct hf_bytes a, struct hf_bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static bool same(const struct hf_version *a, const struct hf_version *b)
{
    return a->seq == b->seq && a->type == b->type && a->flags == b->flags &&
           same_bytes(a->path, b->path) && a->captured_ns == b->captured_ns && a->mode == b->mode &&
           a->uid == b->uid && a->gid == b->gid && same_bytes(a->owner, b->owner) &&
           same_bytes(a->group, b->group) && a->mtime_ns == b->mtime_ns && a->size == b->size &&
           same_bytes(a->target, b->target) && a->depth == b->depth &&
           same_bytes(a->refs, b->refs) && a->job == b->job && a->link == b->link &&
           same_bytes(a->xattrs, b->xattrs);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hf_version version;
    struct hf_version again;
    struct hf_error error;
    struct hf_buf out = {0};
    if (proto_version_decode(data, size, &version, &error) == HF_OK) {
        if (proto_version_encode(&version, &out) != HF_OK ||
            proto_version_decode(out.data, out.size, &again, &error) != HF_OK ||
            !same(&version, &again)) {
            abort();
        }
    }
    hf_buf_free(&out);
    return 0;
}
