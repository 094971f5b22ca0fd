#include "agent/restore/offer.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/fs.h"

static bool equals(struct hf_bytes bytes, const char *text)
{
    return bytes.size == strlen(text) && !memcmp(bytes.data, text, bytes.size);
}

static bool takes_from(const struct hf_config_source *source, struct hf_bytes origin)
{
    if (origin.size == 0)
        return true;
    for (size_t i = 0; i < source->restore_from_count; i++)
        if (!strcmp(source->restore_from[i], "*") || equals(origin, source->restore_from[i]))
            return true;
    return false;
}

/* The same roots that targets_new checks against; here for the refusal, before anything is done. */
static int check_destination(struct hf_bytes destination, struct hf_error *error)
{
    if (destination.size == 0)
        return 0;
    size_t length = destination.size;
    while (length > 1 && destination.data[length - 1] == '/')
        length--;
    if (destination.data[0] == '/' && length > 1 &&
        !hf_path_check_relative((const char *)destination.data + 1, length - 1, NULL))
        return 0;
    return hf_error_set(error, HF_ERR_DENIED, 0,
                        "the destination %.*s is not an absolute directory free of . and ..",
                        (int)(destination.size < 300 ? destination.size : 300),
                        (const char *)destination.data);
}

static int add_roots(struct hf_offer_terms *terms, const struct hf_config_source *source)
{
    size_t count = terms->root_count + source->restore_root_count;
    const char **grown = realloc(terms->roots, (count + 1) * sizeof(*grown));
    if (!grown)
        return HF_ERR_NO_MEMORY;
    terms->roots = grown;
    for (size_t i = 0; i < source->restore_root_count; i++)
        terms->roots[terms->root_count++] = source->restore_roots[i];
    return 0;
}

int offer_check(const struct hf_config *config, const struct hf_restore_offer *offer,
                struct hf_offer_terms *out, struct hf_error *error)
{
    bool in_place = offer->destination.size == 0, refused_origin = false;
    *out = (struct hf_offer_terms){0};
    int result = check_destination(offer->destination, error);
    for (size_t i = 0; !result && i < config->source_count; i++) {
        const struct hf_config_source *source = &config->sources[i];
        bool named = equals(offer->source, source->name);
        if (named) {
            out->source = source;
            out->source_index = i;
        }
        if (!named && in_place)
            continue;
        if (!takes_from(source, offer->origin_host)) {
            refused_origin = true;
            continue;
        }
        if (add_roots(out, source))
            result = hf_error_set(error, HF_ERR_NO_MEMORY, 0, "no memory for a restore");
    }
    if (!result && in_place && !out->source)
        result = hf_error_set(error, HF_ERR_DENIED, 0,
                              "this host has no source %.*s; restore with --to a directory beneath "
                              "a restore_root, or add the source to the agent's configuration",
                              (int)offer->source.size, (const char *)offer->source.data);
    if (!result && out->root_count == 0)
        result = hf_error_set(error, HF_ERR_DENIED, 0,
                              refused_origin
                                  ? "this host does not take files of %.*s; its administrator can "
                                    "allow it with restore_from in the agent's configuration"
                                  : "this host has no place that may be restored to; its "
                                    "administrator can name some with restore_root%.*s",
                              refused_origin ? (int)offer->origin_host.size : 0,
                              refused_origin ? (const char *)offer->origin_host.data : "");
    if (result)
        offer_terms_free(out);
    return result;
}

void offer_terms_free(struct hf_offer_terms *terms)
{
    free(terms->roots);
    *terms = (struct hf_offer_terms){0};
}
