#include "agent/identity/enroll_command.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "agent/identity/https_client.h"
#include "agent/identity/identity.h"
#include "common/bytes.h"
#include "common/fs.h"
#include "common/join_token.h"
#include "common/pki.h"

#define TOKEN_BYTES_MAX 8192u

static void usage(FILE *out)
{
    fputs("usage: holdfast-agent enroll --token-file FILE [--identity DIR]\n\n"
          "Joins the collector that made the token: makes a key on this host, gets a certificate\n"
          "for it, and writes both to DIR (" HF_IDENTITY_DIRECTORY " unless given).\n"
          "The token stands in a file so that it is not seen in the list of processes.\n",
          out);
}

static int read_token(const char *path, struct hf_join_token *token, struct hf_error *error)
{
    struct hf_buf text = {0};
    struct stat status;
    if (stat(path, &status) == 0 && (status.st_mode & (S_IRGRP | S_IROTH))) {
        return hf_error_set(error, HF_ERR_DENIED, 0,
                            "%s can be read by others, who could join in this host's place: "
                            "chmod 600 it (or make a new token, if they may have)",
                            path);
    }
    int rc = hf_read_file(path, TOKEN_BYTES_MAX, &text, error);
    rc = rc == HF_OK ? hf_buf_terminate(&text) : rc;
    if (rc == HF_OK && (rc = join_token_parse((const char *)text.data, token, error)) != HF_OK) {
        hf_error_prefix(error, "%s", path);
    }
    hf_buf_wipe_free(&text);
    return rc;
}

/* The root certificate, believed only because its fingerprint is the token's. */
static int fetch_root(const struct hf_join_token *token, const char *host, uint16_t port,
                      struct hf_buf *root, struct hf_error *error)
{
    struct hf_buf answer = {0};
    struct hf_pki_info info;
    char expected[2 * HF_HASH_BYTES + 1];
    char actual[2 * HF_HASH_BYTES + 1];
    unsigned status = 0;
    struct https_request request = {.host = host, .port = port, .method = "GET", .path = "/v1/ca"};
    int rc = https_ask(&request, &status, &answer, error);
    rc = rc == HF_OK ? hf_buf_terminate(&answer) : rc;
    if (rc == HF_OK && status != 200) {
        rc = hf_error_set(error, HF_ERR_PROTOCOL, 0,
                          "%s port %u answered with status %u; is that the collector's enrolment "
                          "address?",
                          host, port, status);
    }
    /* Anybody can get the true root and answer with it and one of his own: only what the
     * fingerprint was taken of may be believed. */
    rc = rc == HF_OK ? hf_pki_single((const char *)answer.data, root, error) : rc;
    rc = rc == HF_OK ? hf_pki_info((const char *)root->data, &info, error) : rc;
    hf_buf_free(&answer);
    if (rc == HF_OK && memcmp(info.fingerprint, token->ca_fingerprint, HF_HASH_BYTES) != 0) {
        hf_hex_encode(token->ca_fingerprint, HF_HASH_BYTES, expected);
        hf_hex_encode(info.fingerprint, HF_HASH_BYTES, actual);
        rc = hf_error_set(error, HF_ERR_DENIED, 0,
                          "%s port %u is not the collector that made this token: its CA is %s, the "
                          "token says %s. Nothing secret was sent. Check the address, and whether "
                          "somebody stands in between",
                          host, port, actual, expected);
    }
    return rc;
}

static int make_body(const struct hf_join_token *token, const char *key_pem, char **out,
                     struct hf_error *error)
{
    struct hf_buf csr = {0};
    struct hf_buf csr_text = {0};
    struct hf_buf secret = {0};
    char hostname[256] = "";
    gethostname(hostname, sizeof hostname - 1);
    int rc = hf_pki_request_new(key_pem, "holdfast-agent", &csr, error);
    rc = rc == HF_OK ? hf_base64url_encode(&csr_text, csr.data, csr.size) : rc;
    rc = rc == HF_OK ? hf_buf_terminate(&csr_text) : rc;
    rc = rc == HF_OK ? hf_buf_append_format(&secret, "%s.", token->id) : rc;
    rc = rc == HF_OK ? hf_base64url_encode(&secret, token->secret, HF_JOIN_SECRET_BYTES) : rc;
    rc = rc == HF_OK ? hf_buf_terminate(&secret) : rc;
    if (rc == HF_OK) {
        json_t *body = json_pack("{s:s, s:s, s:s}", "token", (const char *)secret.data, "csr",
                                 (const char *)csr_text.data, "hostname", hostname);
        *out = body ? json_dumps(body, JSON_COMPACT) : NULL;
        json_decref(body);
        rc = *out ? HF_OK : hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory to enrol");
    }
    hf_buf_free(&csr);
    hf_buf_free(&csr_text);
    hf_buf_wipe_free(&secret);
    return rc;
}

struct joined {
    char host_id[64];
    char agents[280];
    struct hf_buf chain;
};

static int read_answer(unsigned status, const struct hf_buf *body, struct joined *joined,
                       struct hf_error *error)
{
    json_t *answer = json_loadb((const char *)body->data, body->size, 0, NULL);
    const char *host_id = json_string_value(json_object_get(answer, "host_id"));
    const char *chain = json_string_value(json_object_get(answer, "chain"));
    const char *agents = json_string_value(json_object_get(answer, "agents"));
    const json_t *refusal = json_object_get(answer, "error");
    const char *message = json_string_value(json_object_get(refusal, "message"));
    const char *hint = json_string_value(json_object_get(refusal, "hint"));
    int rc = HF_OK;
    if (status != 200) {
        rc = hf_error_set(error, HF_ERR_DENIED, 0, "The collector refused: %s%s%s",
                          message ? message : "it did not say why", hint ? ". " : "",
                          hint ? hint : "");
    } else if (!host_id || !chain || !agents || strlen(host_id) >= sizeof joined->host_id ||
               strlen(agents) >= sizeof joined->agents) {
        rc = hf_error_set(error, HF_ERR_PROTOCOL, 0, "The collector's answer is not complete");
    } else {
        snprintf(joined->host_id, sizeof joined->host_id, "%s", host_id);
        snprintf(joined->agents, sizeof joined->agents, "%s", agents);
        rc = hf_buf_append_str(&joined->chain, chain);
        rc = rc == HF_OK ? hf_buf_terminate(&joined->chain) : rc;
    }
    json_decref(answer);
    return rc;
}

static int enroll(const struct hf_join_token *token, const char *directory, struct joined *joined,
                  struct hf_error *error)
{
    char host[256];
    uint16_t port = 0;
    unsigned status = 0;
    char *body = NULL;
    struct hf_buf root = {0};
    struct hf_buf key = {0};
    struct hf_buf answer = {0};
    int rc = identity_prepare(directory, &key, error);
    rc = rc == HF_OK ? join_address_split(token->enrol_address, host, &port, error) : rc;
    rc = rc == HF_OK ? fetch_root(token, host, port, &root, error) : rc;
    rc = rc == HF_OK ? make_body(token, (const char *)key.data, &body, error) : rc;
    if (rc == HF_OK) {
        /* From here on the collector has to prove that it has a certificate of that root. */
        struct https_request request = {.host = host,
                                        .port = port,
                                        .method = "POST",
                                        .path = "/v1/enrol",
                                        .body = body,
                                        .ca_pem = (const char *)root.data};
        rc = https_ask(&request, &status, &answer, error);
    }
    rc = rc == HF_OK ? read_answer(status, &answer, joined, error) : rc;
    rc = rc == HF_OK
             ? identity_create(directory, joined->host_id, joined->agents, (const char *)key.data,
                               (const char *)joined->chain.data, (const char *)root.data, error)
             : rc;
    if (body) {
        hf_wipe(body, strlen(body));
        free(body);
    }
    hf_buf_wipe_free(&key);
    hf_buf_free(&answer);
    hf_buf_free(&root);
    return rc;
}

static const struct option options[] = {{"token-file", required_argument, NULL, 't'},
                                        {"identity", required_argument, NULL, 'i'},
                                        {"help", no_argument, NULL, 'h'},
                                        {NULL, 0, NULL, 0}};

/* getopt_long takes an abbreviation for the option, --token for --token-file, and repeats what it
 * does not know: a secret that was given so would end in a log. Complains without repeating it. */
static bool options_known(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strncmp(argv[i], "--", 2) != 0) {
            continue;
        }
        const char *name = argv[i] + 2;
        size_t length = strcspn(name, "=");
        const struct option *option = options;
        while (option->name &&
               (strlen(option->name) != length || strncmp(option->name, name, length) != 0)) {
            option++;
        }
        if (length == strlen("token") && strncmp(name, "token", length) == 0) {
            fputs("holdfast-agent enroll: there is no --token: on a command line every user of "
                  "this host can read it. Write it into a file of mode 600 and give --token-file "
                  "FILE; make a new token if this one may have been seen\n",
                  stderr);
            return false;
        }
        if (!option->name) {
            fprintf(stderr, "holdfast-agent enroll: there is no option --%.*s\n", (int)length,
                    name);
            return false;
        }
        i += option->has_arg == required_argument && name[length] != '=';
    }
    return true;
}

/* 0 to go on, 1 when help was given, 2 after a complaint. */
static int read_options(int argc, char **argv, const char **token_file, const char **directory)
{
    if (!options_known(argc, argv)) {
        return 2;
    }
    optind = 1;
    for (int choice; (choice = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        if (choice == 't') {
            *token_file = optarg;
        } else if (choice == 'i') {
            *directory = optarg;
        } else {
            usage(choice == 'h' ? stdout : stderr);
            return choice == 'h' ? 1 : 2;
        }
    }
    if (!*token_file || optind < argc) {
        usage(stderr);
        return 2;
    }
    if (strncmp(*token_file, "hf1.", 4) == 0) {
        fputs("holdfast-agent enroll: --token-file takes the name of a file, and that is a token: "
              "write it into a file of mode 600, and make a new one if this may have been seen\n",
              stderr);
        return 2;
    }
    return 0;
}

int enroll_command(int argc, char **argv)
{
    const char *token_file = NULL;
    const char *directory = HF_IDENTITY_DIRECTORY;
    struct hf_join_token token;
    struct joined joined = {0};
    struct hf_error error = {0};
    umask(0077);
    int result = read_options(argc, argv, &token_file, &directory);
    if (result) {
        return result == 1 ? 0 : result;
    }
    int rc = read_token(token_file, &token, &error);
    if (rc == HF_OK) {
        rc = enroll(&token, directory, &joined, &error);
        hf_wipe(&token, sizeof token);
    }
    if (rc == HF_OK) {
        printf("Joined as %s. Its identity is in %s; the collector is %s\n", joined.host_id,
               directory, joined.agents);
    } else {
        fprintf(stderr, "holdfast-agent enroll: %s\n", error.message);
    }
    hf_buf_free(&joined.chain);
    return rc == HF_OK ? 0 : 1;
}
