/* The operators' API: API.md says what it answers. One handler for collector/http; runs on workers.
 *
 * It reads the catalog and the packs through the worker's readers, changes things only by
 * committing events, and asks about live sessions only through struct hf_api_sessions, which main
 * connects.
 */
#ifndef HF_COLLECTOR_API_API_H
#define HF_COLLECTOR_API_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/http/http.h"
#include "common/error.h"

struct hf_ingest;

struct hf_api_session_state {
    bool online;
    int64_t since_ns;            /* 0 when offline */
    char address[64];            /* "" when offline */
    uint64_t duplicates_refused; /* since the collector's start */
};

struct hf_api_refusals {
    const char *reason; /* static */
    uint64_t count;     /* since the collector's start */
};
#define HF_API_REASONS_MAX 32

/* What is alive now. Callable from any thread, never blocks for long. */
struct hf_api_sessions {
    void *context;
    void (*state)(void *context, const char *host_id, struct hf_api_session_state *out);
    uint64_t (*count)(void *context);
    /* Sessions that were refused or ended for what the agent did, by reason; returns how many
     * reasons, all of them whether they happened or not. */
    size_t (*refusals)(void *context, struct hf_api_refusals out[HF_API_REASONS_MAX]);
    /* The newest mark of a source that is newer than the catalog's (0: none); *state and *until_ns
     * as in hf_source_row. */
    bool (*mark)(void *context, uint64_t source_row, int64_t *until_ns, int *state);
    /* The host is revoked; reason: the operator's, may be "". */
    void (*close)(void *context, const char *host_id, const char *reason);
    void (*wake)(void *context, const char *host_id); /* a job waits */
    void (*cancel)(void *context, const char *host_id, uint64_t job);
};

struct hf_api_options {
    struct hf_ingest *ingest;
    struct hf_api_sessions sessions;
    /* For enrolment tokens: where hosts enrol and connect, and the root's SHA-256 fingerprint. */
    const char *enrol_address, *agents_address;
    uint8_t ca_fingerprint[32];
};

struct hf_api;

/* Strings of options are copied. */
int api_new(const struct hf_api_options *options, struct hf_api **out, struct hf_error *error);
void api_free(struct hf_api *api);
/* An hf_http_handler; context is the struct hf_api. */
void api_handle(void *context, const struct hf_http_request *request,
                struct hf_catalog_reader *catalog, struct hf_store_reader *store,
                struct hf_http_response *response);

#endif
