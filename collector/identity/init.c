/* `holdfast-collector init`: everything that a collector needs, made once. */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "collector/identity/identity.h"
#include "collector/identity/server_names.h"
#include "collector/ingest/ingest.h"
#include "collector/store/store.h"
#include "common/bytes.h"
#include "common/clock.h"
#include "common/fs.h"
#include "common/join_token.h"
#include "common/pki.h"

#define YEAR_NS (INT64_C(365) * 86400 * HF_NS_PER_SECOND)

struct setup {
    const char *data;
    struct server_names names;
    const char *agents, *enrol, *api;
    struct hf_buf root_key, root_cert, issuing_key, issuing_cert, server_key, server_cert;
    uint8_t repository_key[HF_STORE_KEY_BYTES];
};

static void usage(FILE *out)
{
    fputs(
        "usage: holdfast-collector init --data DIR --name NAME[,NAME...] [--agents ADDRESS:PORT]\n"
        "                               [--enrol ADDRESS:PORT] [--api ADDRESS:PORT]\n\n"
        "Makes DIR with everything a collector needs: certificate authority, its own certificate,\n"
        "repository and its key, the first administrator's token, a commented configuration.\n\n"
        "  --name    DNS names and IP addresses by which hosts and operators reach this machine;\n"
        "            the first is what enrolment tokens tell hosts\n"
        "  --agents  where agents connect; 0.0.0.0:7443 unless given\n"
        "  --enrol   where hosts enrol; 0.0.0.0:7444 unless given\n"
        "  --api     where operators connect; 127.0.0.1:7445 unless given\n",
        out);
}

static int parse(int argc, char **argv, struct setup *setup, struct hf_error *error)
{
    static const struct option options[] = {{"data", required_argument, NULL, 'd'},
                                            {"name", required_argument, NULL, 'n'},
                                            {"agents", required_argument, NULL, 'a'},
                                            {"enrol", required_argument, NULL, 'e'},
                                            {"api", required_argument, NULL, 'p'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    char *names = NULL;
    setup->agents = "0.0.0.0:7443";
    setup->enrol = "0.0.0.0:7444";
    setup->api = "127.0.0.1:7445";
    optind = 1;
    for (int choice; (choice = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        switch (choice) {
        case 'd':
            setup->data = optarg;
            break;
        case 'n':
            names = optarg;
            break;
        case 'a':
            setup->agents = optarg;
            break;
        case 'e':
            setup->enrol = optarg;
            break;
        case 'p':
            setup->api = optarg;
            break;
        case 'h':
            usage(stdout);
            exit(0);
        default:
            return HF_ERR_INVALID; /* getopt has complained */
        }
    }
    if (!setup->data || !names || optind < argc) {
        return hf_error_set(error, HF_ERR_INVALID, 0, "--data and --name are needed, nothing else");
    }
    char host[256];
    uint16_t port;
    const char *addresses[] = {setup->agents, setup->enrol, setup->api};
    int rc = server_names_parse(names, &setup->names, error);
    for (size_t i = 0; rc == HF_OK && i < 3; i++) {
        rc = join_address_split(addresses[i], host, &port, error);
    }
    return rc;
}

/* Nothing that is there is ever overwritten. */
static int claim_directory(const char *path, struct hf_error *error)
{
    assert(path); /* parse insists on --data */
    int rc = hf_mkdirs(path, 0700, error);
    DIR *dir = rc == HF_OK ? opendir(path) : NULL;
    if (rc == HF_OK && !dir) {
        rc = hf_error_set(error, HF_ERR_IO, errno, "Can't look into %s", path);
    }
    for (struct dirent *entry; dir && rc == HF_OK && (entry = readdir(dir));) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            rc = hf_error_set(error, HF_ERR_EXISTS, 0,
                              "%s is not empty (it has '%s'). init never overwrites: name a new "
                              "directory, or start the collector that is there already",
                              path, entry->d_name);
        }
    }
    if (dir) {
        closedir(dir);
    }
    if (rc == HF_OK && chmod(path, 0700) != 0) {
        rc = hf_error_set(error, HF_ERR_IO, errno, "Can't close %s to others", path);
    }
    return rc;
}

static int write_text(const struct setup *setup, const char *name, const void *text, size_t size,
                      mode_t mode, struct hf_error *error)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", setup->data, name);
    return hf_write_file_atomic(path, text, size, mode, error);
}

static int issue(struct hf_pki_issue *issue, const struct hf_buf *subject_key, struct hf_buf *cert,
                 struct hf_error *error)
{
    struct hf_buf spki = {0};
    int rc = hf_pki_key_spki((const char *)subject_key->data, &spki, error);
    issue->spki = (struct hf_bytes){spki.data, spki.size};
    hf_random(issue->serial, sizeof issue->serial);
    issue->not_before_ns = hf_clock_now_ns() - 300 * HF_NS_PER_SECOND;
    rc = rc == HF_OK ? hf_pki_issue(issue, cert, error) : rc;
    hf_buf_free(&spki);
    return rc;
}

static int make_authority(struct setup *setup, struct hf_error *error)
{
    int64_t now = hf_clock_now_ns();
    int rc = hf_pki_key_new(&setup->root_key, error);
    rc = rc == HF_OK ? hf_pki_key_new(&setup->issuing_key, error) : rc;
    rc = rc == HF_OK ? hf_pki_key_new(&setup->server_key, error) : rc;
    if (rc != HF_OK) {
        return rc;
    }
    struct hf_pki_issue root = {.kind = HF_PKI_ROOT,
                                .common_name = "Holdfast root",
                                .issuer_key_pem = (const char *)setup->root_key.data,
                                .not_after_ns = now + 20 * YEAR_NS};
    rc = issue(&root, &setup->root_key, &setup->root_cert, error);
    if (rc != HF_OK) {
        return rc;
    }
    struct hf_pki_issue issuing = {.kind = HF_PKI_ISSUING,
                                   .common_name = "Holdfast issuing",
                                   .issuer_key_pem = (const char *)setup->root_key.data,
                                   .issuer_cert_pem = (const char *)setup->root_cert.data,
                                   .not_after_ns = now + 10 * YEAR_NS};
    rc = issue(&issuing, &setup->issuing_key, &setup->issuing_cert, error);
    if (rc != HF_OK) {
        return rc;
    }
    struct hf_pki_issue server = {.kind = HF_PKI_SERVER,
                                  .common_name = "Holdfast collector",
                                  .issuer_key_pem = (const char *)setup->issuing_key.data,
                                  .issuer_cert_pem = (const char *)setup->issuing_cert.data,
                                  .names = setup->names.names,
                                  .name_count = setup->names.count,
                                  .not_after_ns = now + HF_IDENTITY_SERVER_VALIDITY_NS};
    rc = issue(&server, &setup->server_key, &setup->server_cert, error);
    rc = rc == HF_OK ? hf_buf_append(&setup->server_cert, setup->issuing_cert.data,
                                     setup->issuing_cert.size)
                     : rc;
    return rc;
}

static int write_authority(struct setup *setup, struct hf_error *error)
{
    char path[4096];
    struct hf_buf clients_ca = {0};
    snprintf(path, sizeof path, "%s/ca", setup->data);
    int rc = hf_mkdirs(path, 0700, error);
    snprintf(path, sizeof path, "%s/tls", setup->data);
    rc = rc == HF_OK ? hf_mkdirs(path, 0700, error) : rc;
    rc = rc == HF_OK
             ? hf_buf_append(&clients_ca, setup->issuing_cert.data, setup->issuing_cert.size)
             : rc;
    rc =
        rc == HF_OK ? hf_buf_append(&clients_ca, setup->root_cert.data, setup->root_cert.size) : rc;
    const struct {
        const char *name;
        const struct hf_buf *text;
        mode_t mode;
    } files[] = {
        {"ca/root.key", &setup->root_key, 0600},
        {"ca/root.pem", &setup->root_cert, 0644},
        {"ca/issuing.key", &setup->issuing_key, 0600},
        {"ca/issuing.pem", &setup->issuing_cert, 0644},
        {"tls/collector.key", &setup->server_key, 0600},
        {"tls/collector.pem", &setup->server_cert, 0644},
        {"tls/clients-ca.pem", &clients_ca, 0644},
    };
    for (size_t i = 0; rc == HF_OK && i < sizeof files / sizeof files[0]; i++) {
        rc = write_text(setup, files[i].name, files[i].text->data, files[i].text->size,
                        files[i].mode, error);
    }
    hf_buf_free(&clients_ca);
    return rc;
}

static int make_repository(struct setup *setup, struct hf_error *error)
{
    char path[4096];
    char text[2 * HF_STORE_KEY_BYTES + 2];
    hf_random(setup->repository_key, sizeof setup->repository_key);
    hf_hex_encode(setup->repository_key, sizeof setup->repository_key, text);
    text[sizeof text - 2] = '\n';
    text[sizeof text - 1] = '\0';
    int rc = write_text(setup, "repository.key", text, strlen(text), 0600, error);
    hf_wipe(text, sizeof text);
    snprintf(path, sizeof path, "%s/repository", setup->data);
    return rc == HF_OK ? store_create(path, setup->repository_key, error) : rc;
}

static int write_config(struct setup *setup, struct hf_error *error)
{
    struct hf_buf text = {0};
    int rc = hf_buf_append_format(
        &text,
        "# The collector's configuration. Paths are relative to this file's directory.\n"
        "# `holdfast-collector check --config FILE` says what it means and names mistakes.\n\n"
        "[collector]\n"
        "# What enrolment tokens tell hosts to connect to; one of the names in the certificate.\n"
        "advertise = %s\n"
        "#catalog = catalog.db\n\n"
        "[listen]\n"
        "# Port 0 takes any free one; run/ports then tells which.\n"
        "agents = %s\n"
        "enrol = %s\n"
        "# Keep operators' access to networks where operators are.\n"
        "api = %s\n\n"
        "[store]\n"
        "#repository = repository\n"
        "#key = repository.key\n"
        "# A pack is sealed at this size.\n"
        "#pack_size = 64MiB\n\n"
        "[limits]\n"
        "# Bulk data that agents together may have under way.\n"
        "#memory = 256MiB\n"
        "#sessions = 20000\n\n"
        "[certificates]\n"
        "# Of hosts; they renew by themselves between half and two thirds of it.\n"
        "#validity = 7d\n\n"
        "[dictionaries]\n"
        "# How often to see whether small files would take less room with a dictionary trained on\n"
        "# what at least three hosts have in common. 0s: never.\n"
        "#interval = 1h\n\n"
        "[log]\n"
        "# error, warning, info or debug.\n"
        "#level = info\n",
        setup->names.names[0], setup->agents, setup->enrol, setup->api);
    rc = rc == HF_OK ? write_text(setup, "collector.conf", text.data, text.size, 0600, error) : rc;
    hf_buf_free(&text);
    return rc;
}

static int write_cli_config(struct setup *setup, struct hf_error *error)
{
    char host[256];
    char directory[4096];
    uint16_t port = 0;
    struct hf_buf text = {0};
    int rc = join_address_split(setup->api, host, &port, error);
    if (rc == HF_OK && !realpath(setup->data, directory)) {
        rc = hf_error_set(error, HF_ERR_IO, 0, "Can't find %s", setup->data);
    }
    bool v6 = strchr(setup->names.names[0], ':') != NULL;
    rc = rc == HF_OK
             ? hf_buf_append_format(&text,
                                    "# For operators' machines: copy this file, ca/root.pem and a "
                                    "token of their own.\n[collector]\nurl = https://%s%s%s:%u\n"
                                    "ca_file = %s/ca/root.pem\ntoken_file = %s/admin.token\n",
                                    v6 ? "[" : "", setup->names.names[0], v6 ? "]" : "", port,
                                    directory, directory)
             : rc;
    rc = rc == HF_OK ? write_text(setup, "cli.conf", text.data, text.size, 0600, error) : rc;
    hf_buf_free(&text);
    return rc;
}

/* The first administrator's token goes through the journal like every other. */
static int make_admin(struct setup *setup, struct hf_error *error)
{
    char repository[4096];
    char catalog[4096];
    uint8_t random_id[8];
    uint8_t secret[32];
    char id[2 * sizeof random_id + 1];
    struct hf_ingest *ingest = NULL;
    struct hf_buf text = {0};
    snprintf(repository, sizeof repository, "%s/repository", setup->data);
    snprintf(catalog, sizeof catalog, "%s/catalog.db", setup->data);
    struct hf_ingest_options options = {
        .store = {.directory = repository, .key = setup->repository_key},
        .catalog_path = catalog,
        .workers = 1,
    };
    int rc = ingest_start(&options, &ingest, error);
    if (rc != HF_OK) {
        return rc;
    }
    hf_random(random_id, sizeof random_id);
    hf_random(secret, sizeof secret);
    hf_hex_encode(random_id, sizeof random_id, id);
    struct hf_event events[2] = {
        {.type = HF_EVENT_TOKEN_CREATED,
         .actor = event_text("init"),
         .token_created = {.token_id = event_text(id),
                           .kind = HF_TOKEN_API,
                           .role = HF_ROLE_ADMIN,
                           .name = event_text("first administrator")}},
        {.type = HF_EVENT_AUDIT,
         .actor = event_text("init"),
         .audit = {.action = event_text("token.create"),
                   .object = event_text(id),
                   .detail = event_text("first administrator"),
                   .outcome = HF_AUDIT_OK}},
    };
    hf_sha256(secret, sizeof secret, events[0].token_created.secret_hash);
    rc = ingest_commit(ingest, events, 2, error);
    ingest_stop(ingest);
    rc = rc == HF_OK ? hf_buf_append_format(&text, "hfa.%s.", id) : rc;
    rc = rc == HF_OK ? hf_base64url_encode(&text, secret, sizeof secret) : rc;
    rc = rc == HF_OK ? hf_buf_append_byte(&text, '\n') : rc;
    rc = rc == HF_OK ? write_text(setup, "admin.token", text.data, text.size, 0600, error) : rc;
    hf_wipe(secret, sizeof secret);
    hf_buf_wipe_free(&text);
    return rc;
}

static void report(const struct setup *setup)
{
    printf("Made a collector in %s\n\n"
           "  collector.conf       its configuration, commented\n"
           "  ca/root.key          signs nothing from now on: MOVE IT OFFLINE, keep two copies\n"
           "  repository.key       decrypts every backup: KEEP A COPY OUTSIDE THIS MACHINE\n"
           "  ca/root.pem          the root certificate, for operators' machines\n"
           "  ca/issuing.*         issues hosts' certificates\n"
           "  tls/                 this machine's own certificate, for",
           setup->data);
    for (size_t i = 0; i < setup->names.count; i++) {
        printf("%s %s", i ? "," : "", setup->names.names[i]);
    }
    printf(
        "\n  repository/          the packs; catalog.db is an index over them\n"
        "  admin.token          the first administrator's API token\n"
        "  cli.conf             for the holdfast command: HOLDFAST_CONFIG=%s/cli.conf\n\n"
        "Next\n"
        "  holdfast-collector run --config %s/collector.conf\n"
        "  holdfast token create --ttl 1h --uses 1 --label name=robot-01   (then, on the host:)\n"
        "  holdfast-agent enroll --token-file FILE\n",
        setup->data, setup->data);
}

int init_command(int argc, char **argv)
{
    struct setup setup = {0};
    struct hf_error error = {0};
    umask(0077);
    int rc = parse(argc, argv, &setup, &error);
    if (rc != HF_OK) {
        if (error.message[0]) {
            fprintf(stderr, "holdfast-collector init: %s\n", error.message);
        }
        usage(stderr);
        server_names_free(&setup.names);
        return 2;
    }
    rc = claim_directory(setup.data, &error);
    bool claimed = rc == HF_OK;
    rc = rc == HF_OK ? make_authority(&setup, &error) : rc;
    rc = rc == HF_OK ? write_authority(&setup, &error) : rc;
    rc = rc == HF_OK ? make_repository(&setup, &error) : rc;
    rc = rc == HF_OK ? write_config(&setup, &error) : rc;
    rc = rc == HF_OK ? write_cli_config(&setup, &error) : rc;
    rc = rc == HF_OK ? make_admin(&setup, &error) : rc;
    if (rc == HF_OK) {
        report(&setup);
    } else {
        fprintf(stderr, "holdfast-collector init: %s\n", error.message);
        if (claimed) {
            fprintf(stderr, "%s is half made: empty it before trying again\n", setup.data);
        }
    }
    hf_buf_wipe_free(&setup.root_key);
    hf_buf_wipe_free(&setup.issuing_key);
    hf_buf_wipe_free(&setup.server_key);
    hf_buf_free(&setup.root_cert);
    hf_buf_free(&setup.issuing_cert);
    hf_buf_free(&setup.server_cert);
    hf_wipe(setup.repository_key, sizeof setup.repository_key);
    server_names_free(&setup.names);
    return rc == HF_OK ? 0 : 1;
}
