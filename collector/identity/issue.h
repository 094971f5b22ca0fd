/* Issuing certificates. Private to identity/. */
#ifndef HF_COLLECTOR_IDENTITY_ISSUE_H
#define HF_COLLECTOR_IDENTITY_ISSUE_H

#include "collector/identity/identity.h"

struct issued {
    struct hf_buf chain_pem; /* leaf and issuing certificate */
    char serial[2 * 20 + 1];
    uint8_t key_hash[HF_HASH_BYTES];
    int64_t not_before_ns, not_after_ns;
};

int issue_client(struct hf_authority *authority, const char *host_id, struct hf_bytes spki,
                 struct issued *out, struct hf_error *error);
/* A server certificate for the key, leaf and issuing certificate appended to chain_pem; it begins a
 * little before now and lasts until issue_server_end. */
int issue_server(const struct hf_authority *authority, struct hf_bytes spki,
                 const char *const *names, size_t name_count, struct hf_buf *chain_pem,
                 struct hf_error *error);
/* When one that is issued at now_ns ends: never after the certificate that issues it. */
int64_t issue_server_end(const struct hf_authority *authority, int64_t now_ns);
/* The CERT_ISSUED event; its views point into issued and the texts. */
void issued_fill_event(const struct issued *issued, const char *host_id, const char *token_id,
                       struct hf_event *event);

#endif
