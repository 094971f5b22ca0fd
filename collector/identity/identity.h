/* Identity: the deployment's certificate authority, and who gets in.
 *
 * An authority is loaded from the data directory that `holdfast-collector init` made: the issuing
 * key and its certificate, and the root's certificate. The root's key is not needed and belongs
 * offline. All functions may be called from any thread but the loop (they compute, and some commit
 * events).
 */
#ifndef HF_COLLECTOR_IDENTITY_IDENTITY_H
#define HF_COLLECTOR_IDENTITY_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>

#include "collector/catalog/catalog.h"
#include "collector/http/http.h"
#include "common/error.h"
#include "common/hash.h"

struct hf_ingest;
struct hf_authority;
struct hf_enrolment;

#define HF_IDENTITY_VALIDITY_NS (INT64_C(7) * 86400 * 1000000000)

/* data_directory/ca/{issuing.pem,issuing.key,root.pem}. Refuses a key that others can read, and
 * files that don't belong together. Certificates for hosts are valid for validity_ns. */
int authority_load(const char *data_directory, int64_t validity_ns, struct hf_authority **out,
                   struct hf_error *error);
void authority_free(struct hf_authority *authority);
const char *authority_root_pem(const struct hf_authority *authority);
/* SHA-256 of the root certificate's DER: what tokens pin. */
void authority_fingerprint(const struct hf_authority *authority, uint8_t out[HF_HASH_BYTES]);

/* --- the collector's own certificate: data_directory/tls/collector.pem for the key collector.key,
 * which stays (server_certificate.c) --- */

#define HF_IDENTITY_SERVER_VALIDITY_NS (INT64_C(2) * 365 * 86400 * 1000000000)

/* Issue it anew, for the names that it has, when a third of its life is left or less, or when it
 * is not valid yet (it was issued while the clock was wrong). One that the authority did not issue
 * is left alone. *renewed: the file is a new one, which listeners have to be told. */
int server_certificate_renew(const struct hf_authority *authority, const char *data_directory,
                             bool *renewed, struct hf_error *error);
/* Issue it anew now, for these DNS names and IP addresses. */
int server_certificate_issue(const struct hf_authority *authority, const char *data_directory,
                             const char *const *names, size_t name_count, struct hf_error *error);

/* Whether the holder of a verified certificate with this common name may open a session:
 * HF_ERR_NOT_FOUND (no such host), HF_ERR_DENIED (revoked). *host_row on success. */
int identity_admit(struct hf_catalog_reader *catalog, const char *common_name, uint64_t *host_row,
                   struct hf_error *error);

/* A new certificate for a host that has a session: for the key of the request, under the host's own
 * id. chain_pem receives leaf and issuing certificate. HF_ERR_DENIED when the host is revoked or
 * the request is not good, HF_ERR_AGAIN when it asks too often. */
int identity_renew(struct hf_authority *authority, struct hf_ingest *ingest, const char *host_id,
                   struct hf_bytes request, struct hf_buf *chain_pem, struct hf_error *error);

/* The enrolment endpoint: GET /v1/ca, POST /v1/enrol (PROTOCOL.md). agents_address is what hosts
 * are told to connect to; it is copied. */
int enrolment_new(struct hf_authority *authority, struct hf_ingest *ingest,
                  const char *agents_address, struct hf_enrolment **out, struct hf_error *error);
void enrolment_free(struct hf_enrolment *enrolment);
/* An hf_http_handler; context is the struct hf_enrolment. */
void enrolment_handle(void *context, const struct hf_http_request *request,
                      struct hf_catalog_reader *catalog, struct hf_store_reader *store,
                      struct hf_http_response *response);

/* `holdfast-collector init ...`: make a data directory. Returns an exit status. */
int init_command(int argc, char **argv);
/* `holdfast-collector certificate ...`: server_certificate_issue by hand. Returns an exit status.
 */
int certificate_command(int argc, char **argv);

#endif
