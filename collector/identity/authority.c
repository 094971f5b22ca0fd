#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "collector/identity/identity.h"
#include "collector/identity/issue.h"
#include "collector/ingest/ingest.h"
#include "common/bytes.h"
#include "common/clock.h"
#include "common/fs.h"
#include "common/pki.h"
#include "common/rate_limit.h"

#define PEM_BYTES_MAX  65536u
#define CLOCK_ERROR_NS (5 * 60 * HF_NS_PER_SECOND) /* hosts whose clocks are a little behind */

/* Renewals a host: it needs one in half a certificate's life, and every one is kept for ever. */
#define RENEWALS_BURST 10

struct hf_authority {
    struct hf_buf issuing_key, issuing_cert, root_cert;
    int64_t validity_ns;
    int64_t issuing_not_after_ns;
    uint8_t fingerprint[HF_HASH_BYTES];
    struct hf_rate_limit *renewals; /* by host */
};

static int load_pem(const char *directory, const char *name, bool secret, struct hf_buf *out,
                    struct hf_error *error)
{
    char path[4096];
    struct stat status;
    snprintf(path, sizeof path, "%s/ca/%s", directory, name);
    if (secret && stat(path, &status) == 0 && (status.st_mode & (S_IRWXG | S_IRWXO))) {
        return hf_error_set(
            error, HF_ERR_DENIED, 0,
            "%s can be read by others than its owner: chmod 600 it, and if they may "
            "have read it make a new deployment",
            path);
    }
    int rc = hf_read_file(path, PEM_BYTES_MAX, out, error);
    return rc == HF_OK ? hf_buf_terminate(out) : rc;
}

/* Keys and certificates get mixed up when people move them: better noticed now than by hosts. */
static int check_authority(struct hf_authority *authority, struct hf_error *error)
{
    struct hf_pki_info root;
    struct hf_pki_info issuing;
    struct hf_buf spki = {0};
    uint8_t key_hash[HF_HASH_BYTES];
    const char *issuing_pem = (const char *)authority->issuing_cert.data;
    const char *root_pem = (const char *)authority->root_cert.data;
    int rc = hf_pki_verify(issuing_pem, root_pem, error);
    rc = rc == HF_OK ? hf_pki_info(issuing_pem, &issuing, error) : rc;
    rc = rc == HF_OK ? hf_pki_info(root_pem, &root, error) : rc;
    rc =
        rc == HF_OK ? hf_pki_key_spki((const char *)authority->issuing_key.data, &spki, error) : rc;
    if (rc == HF_OK) {
        hf_sha256(spki.data, spki.size, key_hash);
        if (memcmp(key_hash, issuing.key_hash, HF_HASH_BYTES) != 0) {
            rc = hf_error_set(error, HF_ERR_DENIED, 0,
                              "issuing.key is not the key of issuing.pem: put back the pair");
        }
        memcpy(authority->fingerprint, root.fingerprint, HF_HASH_BYTES);
        authority->issuing_not_after_ns = issuing.not_after_ns;
    }
    hf_buf_free(&spki);
    return rc;
}

int authority_load(const char *data_directory, int64_t validity_ns, struct hf_authority **out,
                   struct hf_error *error)
{
    struct hf_authority *authority = calloc(1, sizeof *authority);
    if (authority) {
        /* With certificates of seconds, as in tests, renewals are as frequent. */
        unsigned per_minute = validity_ns < 3600 * HF_NS_PER_SECOND ? 60 : 1;
        authority->validity_ns = validity_ns;
        authority->renewals = hf_rate_limit_new(RENEWALS_BURST, per_minute);
    }
    if (!authority || !authority->renewals) {
        authority_free(authority);
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory for the certificate authority");
    }
    int rc = load_pem(data_directory, "issuing.key", true, &authority->issuing_key, error);
    rc = rc == HF_OK
             ? load_pem(data_directory, "issuing.pem", false, &authority->issuing_cert, error)
             : rc;
    rc = rc == HF_OK ? load_pem(data_directory, "root.pem", false, &authority->root_cert, error)
                     : rc;
    rc = rc == HF_OK ? check_authority(authority, error) : rc;
    if (rc != HF_OK) {
        authority_free(authority);
        return hf_error_prefix(error, "The certificate authority in %s/ca", data_directory);
    }
    *out = authority;
    return HF_OK;
}

void authority_free(struct hf_authority *authority)
{
    if (authority) {
        hf_buf_wipe_free(&authority->issuing_key);
        hf_buf_free(&authority->issuing_cert);
        hf_buf_free(&authority->root_cert);
        hf_rate_limit_free(authority->renewals);
        free(authority);
    }
}

const char *authority_root_pem(const struct hf_authority *authority)
{
    return (const char *)authority->root_cert.data;
}

void authority_fingerprint(const struct hf_authority *authority, uint8_t out[HF_HASH_BYTES])
{
    memcpy(out, authority->fingerprint, HF_HASH_BYTES);
}

int issue_client(struct hf_authority *authority, const char *host_id, struct hf_bytes spki,
                 struct issued *out, struct hf_error *error)
{
    int64_t now = hf_clock_now_ns() / HF_NS_PER_SECOND * HF_NS_PER_SECOND;
    /* A small part of the certificate's life at most: hosts renew after half of it, and with the
     * half already over they would ask again at once and for ever. */
    int64_t validity_ns = authority->validity_ns / HF_NS_PER_SECOND * HF_NS_PER_SECOND;
    int64_t before_ns = validity_ns / 10 < CLOCK_ERROR_NS ? validity_ns / 10 : CLOCK_ERROR_NS;
    int64_t after_ns = now + validity_ns;
    if (after_ns > authority->issuing_not_after_ns) {
        after_ns = authority->issuing_not_after_ns;
    }
    struct hf_pki_issue issue = {
        .kind = HF_PKI_CLIENT,
        .common_name = host_id,
        .spki = spki,
        .issuer_key_pem = (const char *)authority->issuing_key.data,
        .issuer_cert_pem = (const char *)authority->issuing_cert.data,
        .not_before_ns = (now - before_ns) / HF_NS_PER_SECOND * HF_NS_PER_SECOND,
        .not_after_ns = after_ns,
    };
    *out =
        (struct issued){.not_before_ns = issue.not_before_ns, .not_after_ns = issue.not_after_ns};
    hf_random(issue.serial, sizeof issue.serial);
    hf_pki_serial_text(issue.serial, out->serial);
    hf_sha256(spki.data, spki.size, out->key_hash);
    int rc = hf_pki_issue(&issue, &out->chain_pem, error);
    rc = rc == HF_OK ? hf_buf_append(&out->chain_pem, authority->issuing_cert.data,
                                     authority->issuing_cert.size)
                     : rc;
    return rc == HF_OK ? hf_buf_terminate(&out->chain_pem) : rc;
}

int64_t issue_server_end(const struct hf_authority *authority, int64_t now_ns)
{
    int64_t end_ns = now_ns + HF_IDENTITY_SERVER_VALIDITY_NS;
    return end_ns < authority->issuing_not_after_ns ? end_ns : authority->issuing_not_after_ns;
}

int issue_server(const struct hf_authority *authority, struct hf_bytes spki,
                 const char *const *names, size_t name_count, struct hf_buf *chain_pem,
                 struct hf_error *error)
{
    int64_t now = hf_clock_now_ns();
    struct hf_pki_issue issue = {
        .kind = HF_PKI_SERVER,
        .common_name = "Holdfast collector",
        .spki = spki,
        .issuer_key_pem = (const char *)authority->issuing_key.data,
        .issuer_cert_pem = (const char *)authority->issuing_cert.data,
        .names = names,
        .name_count = name_count,
        .not_before_ns = now - CLOCK_ERROR_NS,
        .not_after_ns = issue_server_end(authority, now),
    };
    hf_random(issue.serial, sizeof issue.serial);
    int rc = hf_pki_issue(&issue, chain_pem, error);
    return rc == HF_OK ? hf_buf_append(chain_pem, authority->issuing_cert.data,
                                       authority->issuing_cert.size)
                       : rc;
}

int identity_admit(struct hf_catalog_reader *catalog, const char *common_name, uint64_t *host_row,
                   struct hf_error *error)
{
    struct hf_catalog_memory memory = {0};
    struct hf_host_row row;
    int rc = catalog_host_by_id(catalog, common_name, &memory, &row, error);
    if (rc == HF_ERR_NOT_FOUND) {
        hf_error_set(error, rc, 0,
                     "No host '%.64s' ever enrolled here; enrol it with a token of this collector",
                     common_name);
    } else if (rc == HF_OK && row.revoked_ns != 0) {
        rc =
            hf_error_set(error, HF_ERR_DENIED, 0,
                         "Host '%s' is revoked; enrol the machine again with a new token to let it "
                         "back in",
                         common_name);
    } else if (rc == HF_OK) {
        *host_row = row.row;
    }
    catalog_memory_free(&memory);
    return rc;
}

int identity_renew(struct hf_authority *authority, struct hf_ingest *ingest, const char *host_id,
                   struct hf_bytes request, struct hf_buf *chain_pem, struct hf_error *error)
{
    struct hf_buf spki = {0};
    struct issued issued = {0};
    char actor[96];
    uint32_t wait_s = hf_rate_limit_take(authority->renewals, host_id);
    if (wait_s > 0) {
        return hf_error_set(error, HF_ERR_AGAIN, 0,
                            "Host %s renews its certificate too often; it may again in %u s",
                            host_id, wait_s);
    }
    int rc = hf_pki_request_check(request.data, request.size, &spki, error);
    rc = rc == HF_OK ? issue_client(authority, host_id, (struct hf_bytes){spki.data, spki.size},
                                    &issued, error)
                     : rc;
    if (rc == HF_OK) {
        snprintf(actor, sizeof actor, "host %s", host_id);
        struct hf_event events[2] = {
            {.type = HF_EVENT_CERT_ISSUED, .actor = event_text(actor)},
            {.type = HF_EVENT_AUDIT,
             .actor = event_text(actor),
             .audit = {.action = event_text("certificate.renew"),
                       .object = event_text(host_id),
                       .detail = event_text(issued.serial),
                       .outcome = HF_AUDIT_OK}},
        };
        issued_fill_event(&issued, host_id, "", &events[0]);
        rc = ingest_commit(ingest, events, 2, error);
    }
    rc = rc == HF_OK ? hf_buf_append(chain_pem, issued.chain_pem.data, issued.chain_pem.size) : rc;
    hf_buf_free(&issued.chain_pem);
    hf_buf_free(&spki);
    return rc;
}

void issued_fill_event(const struct issued *issued, const char *host_id, const char *token_id,
                       struct hf_event *event)
{
    struct hf_event_cert_issued *cert = &event->cert_issued;
    cert->host_id = event_text(host_id);
    cert->serial = event_text(issued->serial);
    memcpy(cert->key_hash, issued->key_hash, HF_HASH_BYTES);
    cert->not_before_ns = issued->not_before_ns;
    cert->not_after_ns = issued->not_after_ns;
    cert->certificate_pem = event_text((const char *)issued->chain_pem.data);
    cert->token_id = event_text(token_id);
}
