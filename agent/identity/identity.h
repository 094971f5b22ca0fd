/* This host's identity: its key and certificate, the root it trusts, and where its collector is.
 *
 * A directory of mode 0700: agent.pem (key, then chain, in one file, replaced as one), ca.pem,
 * identity.ini, and while the host is joining pending.key. Thread: that of the caller; no locking.
 */
#ifndef HF_AGENT_IDENTITY_IDENTITY_H
#define HF_AGENT_IDENTITY_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/error.h"

#define HF_IDENTITY_DIRECTORY "/var/lib/holdfast-agent/identity"

struct hf_identity;

/* HF_ERR_NOT_FOUND when the host has not enrolled, HF_ERR_DENIED when others can read the key or
 * key, certificate and root don't belong together; the messages say what to do. A certificate that
 * has ended is only warned of: it may be this host's clock that is wrong. */
int identity_open(const char *directory, struct hf_identity **out, struct hf_error *error);
void identity_free(struct hf_identity *identity); /* NULL is fine */

const char *identity_host_id(const struct hf_identity *identity);
const char *identity_collector_host(const struct hf_identity *identity);
uint16_t identity_collector_port(const struct hf_identity *identity);
const char *identity_agent_pem_path(const struct hf_identity *identity);
const char *identity_ca_pem_path(const struct hf_identity *identity);

/* Whether it is time: a point between half and two thirds of the certificate's life, fixed for each
 * certificate, so that a fleet does not renew in one moment. */
bool identity_renewal_due(const struct hf_identity *identity, int64_t now_ns);
/* How long this host's certificate is valid in all. */
int64_t identity_life_ns(const struct hf_identity *identity);
/* A request for a new key, in DER. The key is kept in memory until its certificate is installed:
 * asking again asks for the same one, so that the answer to an earlier request is good too. */
int identity_make_request(struct hf_identity *identity, struct hf_buf *request,
                          struct hf_error *error);
/* Check that chain (PEM) is for the key of the last request, for this host, and leads to the root;
 * then replace agent.pem atomically. The old one stays in use until it is replaced. A chain that is
 * good and can't be written is kept for identity_install_again; HF_ERR_CONFLICT when none was
 * asked for. */
int identity_install(struct hf_identity *identity, struct hf_bytes chain, struct hf_error *error);
/* Whether a chain is kept that identity_install could not write; another try to write it. */
bool identity_install_waits(const struct hf_identity *identity);
int identity_install_again(struct hf_identity *identity, struct hf_error *error);

/* The key to join with, as PEM: made and kept before anything is asked for, so that asking again
 * after an answer was lost asks for the same key, which gets the same certificate and costs no
 * second use of the token. HF_ERR_EXISTS when the host has an identity. Wipe key_pem after use. */
int identity_prepare(const char *directory, struct hf_buf *key_pem, struct hf_error *error);
/* Write a new identity with the key of identity_prepare; refuses to overwrite one. */
int identity_create(const char *directory, const char *host_id, const char *collector,
                    const char *key_pem, const char *chain_pem, const char *ca_pem,
                    struct hf_error *error);

#endif
