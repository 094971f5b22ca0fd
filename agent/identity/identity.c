#include "agent/identity/identity.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/clock.h"
#include "common/fs.h"
#include "common/ini.h"
#include "common/join_token.h"
#include "common/log.h"
#include "common/pki.h"

#define PEM_BYTES_MAX 65536u

struct hf_identity {
    char *directory;
    char agent_pem_path[4096], ca_pem_path[4096];
    char host_id[64];
    char collector_host[256];
    uint16_t collector_port;
    struct hf_pki_info certificate;
    struct hf_buf pending_key;   /* of the request that is under way */
    struct hf_buf pending_chain; /* its good answer, until it is on disk */
};

static int load_file(const char *path, struct hf_buf *out, struct hf_error *error)
{
    int rc = hf_read_file(path, PEM_BYTES_MAX, out, error);
    return rc == HF_OK ? hf_buf_terminate(out) : rc;
}

/* Whether a chain is what it should be: for this key, this host, and of this root. Not whether it
 * is valid now: that is the collector's to judge, and a host whose clock is wrong must still be
 * able to renew. */
static int check_chain(const char *chain_pem, const char *key_pem, const char *host_id,
                       const char *ca_pem, struct hf_pki_info *info, struct hf_error *error)
{
    struct hf_buf spki = {0};
    uint8_t key_hash[HF_HASH_BYTES];
    int rc = hf_pki_info(chain_pem, info, error);
    rc = rc == HF_OK ? hf_pki_key_spki(key_pem, &spki, error) : rc;
    if (rc == HF_OK) {
        hf_sha256(spki.data, spki.size, key_hash);
        if (memcmp(key_hash, info->key_hash, HF_HASH_BYTES) != 0) {
            rc = hf_error_set(error, HF_ERR_DENIED, 0, "The certificate is for another key");
        } else if (strcmp(info->common_name, host_id) != 0) {
            rc = hf_error_set(error, HF_ERR_DENIED, 0,
                              "The certificate is for another host (%s, not %s)", info->common_name,
                              host_id);
        } else if (!info->for_clients) {
            rc = hf_error_set(error, HF_ERR_DENIED, 0, "The certificate is not one for hosts");
        }
    }
    rc = rc == HF_OK ? hf_pki_verify_any_time(chain_pem, ca_pem, error) : rc;
    hf_buf_free(&spki);
    return rc;
}

static void warn_if_over(const struct hf_identity *identity)
{
    char text[HF_TIME_TEXT_BYTES];
    if (hf_clock_now_ns() > identity->certificate.not_after_ns) {
        hf_time_local(identity->certificate.not_after_ns, text);
        hf_log_warning("This host's certificate ended at %s, the collector will refuse it. Unless "
                       "this host's clock is wrong, remove %s and enrol again with a new token",
                       text, identity->directory);
    }
}

static int load_certificate(struct hf_identity *identity, struct hf_error *error)
{
    struct hf_buf pem = {0};
    struct hf_buf ca = {0};
    int rc = load_file(identity->agent_pem_path, &pem, error);
    rc = rc == HF_OK ? load_file(identity->ca_pem_path, &ca, error) : rc;
    if (rc == HF_OK) {
        /* The key stands first; mbedTLS finds the certificates behind it. */
        const char *both = (const char *)pem.data;
        rc = check_chain(both, both, identity->host_id, (const char *)ca.data,
                         &identity->certificate, error);
        if (rc != HF_OK) {
            hf_error_prefix(error,
                            "The identity in %s is damaged: remove that directory and enrol again "
                            "with a new token",
                            identity->directory);
        }
    }
    if (rc == HF_OK) {
        warn_if_over(identity);
    }
    hf_buf_wipe_free(&pem);
    hf_buf_free(&ca);
    return rc;
}

static int load_settings(struct hf_identity *identity, struct hf_error *error)
{
    char path[4200];
    struct hf_ini *ini = NULL;
    const char *host = NULL;
    const char *collector = NULL;
    snprintf(path, sizeof path, "%s/identity.ini", identity->directory);
    int rc = hf_ini_load(path, &ini, error);
    rc = rc == HF_OK ? hf_ini_get_string(ini, "identity", "host", "", &host, error) : rc;
    rc = rc == HF_OK ? hf_ini_get_string(ini, "identity", "collector", "", &collector, error) : rc;
    rc = rc == HF_OK ? join_address_split(collector, identity->collector_host,
                                          &identity->collector_port, error)
                     : rc;
    if (rc == HF_OK) {
        snprintf(identity->host_id, sizeof identity->host_id, "%s", host);
    }
    hf_ini_free(ini);
    return rc;
}

static int check_secret(const struct hf_identity *identity, struct hf_error *error)
{
    struct stat status;
    if (stat(identity->agent_pem_path, &status) != 0 && errno != ENOENT) {
        return hf_error_set(error, HF_ERR_DENIED, errno, "Can't look at %s",
                            identity->agent_pem_path);
    }
    if (stat(identity->agent_pem_path, &status) != 0) {
        return hf_error_set(error, HF_ERR_NOT_FOUND, 0,
                            "This host has not joined a collector yet: there is no %s. Run "
                            "'holdfast-agent enroll --token-file FILE'",
                            identity->agent_pem_path);
    }
    if (status.st_mode & (S_IRWXG | S_IRWXO)) {
        return hf_error_set(
            error, HF_ERR_DENIED, 0,
            "%s can be read by others than its owner: they may have this host's key. "
            "Remove %s, revoke the host and enrol again",
            identity->agent_pem_path, identity->directory);
    }
    return HF_OK;
}

int identity_open(const char *directory, struct hf_identity **out, struct hf_error *error)
{
    struct hf_identity *identity = calloc(1, sizeof *identity);
    if (!identity || !(identity->directory = strdup(directory))) {
        free(identity);
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory for this host's identity");
    }
    snprintf(identity->agent_pem_path, sizeof identity->agent_pem_path, "%s/agent.pem", directory);
    snprintf(identity->ca_pem_path, sizeof identity->ca_pem_path, "%s/ca.pem", directory);
    int rc = check_secret(identity, error);
    rc = rc == HF_OK ? load_settings(identity, error) : rc;
    rc = rc == HF_OK ? load_certificate(identity, error) : rc;
    if (rc != HF_OK) {
        identity_free(identity);
        return rc;
    }
    *out = identity;
    return HF_OK;
}

void identity_free(struct hf_identity *identity)
{
    if (identity) {
        hf_buf_wipe_free(&identity->pending_key);
        hf_buf_free(&identity->pending_chain);
        free(identity->directory);
        free(identity);
    }
}

const char *identity_host_id(const struct hf_identity *identity)
{
    return identity->host_id;
}

const char *identity_collector_host(const struct hf_identity *identity)
{
    return identity->collector_host;
}

uint16_t identity_collector_port(const struct hf_identity *identity)
{
    return identity->collector_port;
}

const char *identity_agent_pem_path(const struct hf_identity *identity)
{
    return identity->agent_pem_path;
}

const char *identity_ca_pem_path(const struct hf_identity *identity)
{
    return identity->ca_pem_path;
}

bool identity_renewal_due(const struct hf_identity *identity, int64_t now_ns)
{
    const struct hf_pki_info *certificate = &identity->certificate;
    int64_t life_ns = certificate->not_after_ns - certificate->not_before_ns;
    /* The certificate's own hash is the die: the same point at every start of the agent. */
    int64_t spread_ns =
        life_ns / 6 / 65536 * (int64_t)(hf_get_le32(certificate->fingerprint) & 0xffff);
    return now_ns >= certificate->not_before_ns + life_ns / 2 + spread_ns;
}

int64_t identity_life_ns(const struct hf_identity *identity)
{
    return identity->certificate.not_after_ns - identity->certificate.not_before_ns;
}

int identity_make_request(struct hf_identity *identity, struct hf_buf *request,
                          struct hf_error *error)
{
    int rc = identity->pending_key.size > 0 ? HF_OK : hf_pki_key_new(&identity->pending_key, error);
    return rc == HF_OK ? hf_pki_request_new((const char *)identity->pending_key.data,
                                            identity->host_id, request, error)
                       : rc;
}

/* Key, then chain, in one file. */
static int write_agent_pem(const char *path, const char *key_pem, const char *chain_pem,
                           struct hf_error *error)
{
    struct hf_buf both = {0};
    /* Room for all at once: growing would leave the key in freed memory. */
    int rc = hf_buf_reserve(&both, strlen(key_pem) + strlen(chain_pem) + 1);
    rc = rc == HF_OK ? hf_buf_append_str(&both, key_pem) : rc;
    rc = rc == HF_OK ? hf_buf_append_str(&both, chain_pem) : rc;
    rc = rc == HF_OK ? hf_write_file_atomic(path, both.data, both.size, 0600, error) : rc;
    hf_buf_wipe_free(&both);
    return rc;
}

bool identity_install_waits(const struct hf_identity *identity)
{
    return identity->pending_chain.size > 0;
}

int identity_install_again(struct hf_identity *identity, struct hf_error *error)
{
    struct hf_pki_info info;
    const char *chain = (const char *)identity->pending_chain.data;
    if (!identity_install_waits(identity)) {
        return hf_error_set(error, HF_ERR_CONFLICT, 0, "No certificate waits to be installed");
    }
    int rc = hf_pki_info(chain, &info, error);
    rc = rc == HF_OK ? write_agent_pem(identity->agent_pem_path,
                                       (const char *)identity->pending_key.data, chain, error)
                     : rc;
    if (rc == HF_OK) {
        identity->certificate = info;
        hf_buf_wipe_free(&identity->pending_key);
        hf_buf_free(&identity->pending_chain);
    }
    return rc;
}

int identity_install(struct hf_identity *identity, struct hf_bytes chain, struct hf_error *error)
{
    struct hf_buf text = {0};
    struct hf_buf ca = {0};
    struct hf_pki_info info;
    if (identity->pending_key.size == 0) {
        return hf_error_set(error, HF_ERR_CONFLICT, 0, "No certificate was asked for");
    }
    int rc = hf_buf_append(&text, chain.data, chain.size);
    rc = rc == HF_OK ? hf_buf_terminate(&text) : rc;
    rc = rc == HF_OK ? load_file(identity->ca_pem_path, &ca, error) : rc;
    rc = rc == HF_OK
             ? check_chain((const char *)text.data, (const char *)identity->pending_key.data,
                           identity->host_id, (const char *)ca.data, &info, error)
             : rc;
    if (rc == HF_OK) {
        hf_buf_free(&identity->pending_chain);
        identity->pending_chain = text;
        text = (struct hf_buf){0};
        rc = identity_install_again(identity, error);
    }
    hf_buf_free(&text);
    hf_buf_free(&ca);
    return rc;
}

static int claim_directory(const char *directory, struct hf_error *error)
{
    char path[4200];
    struct stat status;
    snprintf(path, sizeof path, "%s/agent.pem", directory);
    if (lstat(path, &status) == 0) {
        return hf_error_set(
            error, HF_ERR_EXISTS, 0,
            "This host has an identity already (%s). To join anew, revoke the old one "
            "('holdfast host revoke') and remove the directory",
            path);
    }
    int rc = hf_mkdirs(directory, 0700, error);
    if (rc == HF_OK && chmod(directory, 0700) != 0) {
        rc = hf_error_set(error, HF_ERR_IO, errno, "Can't close %s to others", directory);
    }
    return rc;
}

int identity_prepare(const char *directory, struct hf_buf *key_pem, struct hf_error *error)
{
    char path[4200];
    struct hf_buf spki = {0};
    snprintf(path, sizeof path, "%s/pending.key", directory);
    int rc = claim_directory(directory, error);
    if (rc != HF_OK) {
        return rc;
    }
    rc = load_file(path, key_pem, error);
    rc = rc == HF_OK ? hf_pki_key_spki((const char *)key_pem->data, &spki, error) : rc;
    if (rc != HF_OK) { /* none yet, or not whole */
        hf_buf_wipe_free(key_pem);
        rc = hf_pki_key_new(key_pem, error);
        rc = rc == HF_OK ? hf_write_file_atomic(path, key_pem->data, key_pem->size, 0600, error)
                         : rc;
    }
    hf_buf_free(&spki);
    return rc;
}

int identity_create(const char *directory, const char *host_id, const char *collector,
                    const char *key_pem, const char *chain_pem, const char *ca_pem,
                    struct hf_error *error)
{
    char path[4200];
    char host[256];
    uint16_t port;
    struct hf_pki_info info;
    struct hf_buf settings = {0};
    /* Both go into a file that is read line by line. */
    if (strspn(host_id, "abcdefghijklmnopqrstuvwxyz0123456789-") != strlen(host_id) ||
        strpbrk(collector, " \t\r\n;#")) {
        return hf_error_set(error, HF_ERR_PROTOCOL, 0,
                            "The collector's answer names a host or an address that can't be");
    }
    int rc = join_address_split(collector, host, &port, error);
    rc = rc == HF_OK ? claim_directory(directory, error) : rc;
    rc = rc == HF_OK ? check_chain(chain_pem, key_pem, host_id, ca_pem, &info, error) : rc;
    rc = rc == HF_OK
             ? hf_buf_append_format(&settings,
                                    "# Made by holdfast-agent enroll.\n[identity]\nhost = %s\n"
                                    "collector = %s\n",
                                    host_id, collector)
             : rc;
    snprintf(path, sizeof path, "%s/identity.ini", directory);
    rc = rc == HF_OK ? hf_write_file_atomic(path, settings.data, settings.size, 0600, error) : rc;
    snprintf(path, sizeof path, "%s/ca.pem", directory);
    rc = rc == HF_OK ? hf_write_file_atomic(path, ca_pem, strlen(ca_pem), 0644, error) : rc;
    /* Last: its presence is what says that the host has joined. */
    snprintf(path, sizeof path, "%s/agent.pem", directory);
    rc = rc == HF_OK ? write_agent_pem(path, key_pem, chain_pem, error) : rc;
    if (rc == HF_OK) {
        snprintf(path, sizeof path, "%s/pending.key", directory);
        unlink(path);
    }
    hf_buf_free(&settings);
    return rc;
}
