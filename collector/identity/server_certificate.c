/* The collector's own certificate, renewed before it ends: with it, every agent, every operator and
 * every scrape would be locked out at once. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/identity/identity.h"
#include "collector/identity/issue.h"
#include "collector/identity/server_names.h"
#include "common/clock.h"
#include "common/fs.h"
#include "common/log.h"
#include "common/pki.h"

#define PEM_BYTES_MAX 65536u
#define PATH_BYTES    4400

static int read_pem(const char *data_directory, const char *name, struct hf_buf *out,
                    struct hf_error *error)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/tls/%s", data_directory, name);
    int rc = hf_read_file(path, PEM_BYTES_MAX, out, error);
    return rc == HF_OK ? hf_buf_terminate(out) : rc;
}

int server_certificate_issue(const struct hf_authority *authority, const char *data_directory,
                             const char *const *names, size_t name_count, struct hf_error *error)
{
    char path[PATH_BYTES];
    struct hf_buf key = {0};
    struct hf_buf spki = {0};
    struct hf_buf chain = {0};
    int rc = read_pem(data_directory, "collector.key", &key, error);
    rc = rc == HF_OK ? hf_pki_key_spki((const char *)key.data, &spki, error) : rc;
    rc = rc == HF_OK ? issue_server(authority, (struct hf_bytes){spki.data, spki.size}, names,
                                    name_count, &chain, error)
                     : rc;
    snprintf(path, sizeof path, "%s/tls/collector.pem", data_directory);
    rc = rc == HF_OK ? hf_write_file_atomic(path, chain.data, chain.size, 0644, error) : rc;
    hf_buf_free(&chain);
    hf_buf_free(&spki);
    hf_buf_wipe_free(&key);
    return rc;
}

/* Whether a new certificate is wanted, and would last longer than this one. */
static bool is_due(const struct hf_authority *authority, const struct hf_pki_info *info)
{
    int64_t now = hf_clock_now_ns();
    int64_t life_ns = info->not_after_ns - info->not_before_ns;
    if (info->not_before_ns > now) {
        return true;
    }
    int64_t end_ns = issue_server_end(authority, now);
    return info->not_after_ns - now <= life_ns / 3 && end_ns - info->not_after_ns > life_ns / 10;
}

static void warn_of_end(const char *why, const struct hf_pki_info *info)
{
    char when[HF_TIME_TEXT_BYTES];
    int64_t now = hf_clock_now_ns();
    if (info->not_after_ns - now <= (info->not_after_ns - info->not_before_ns) / 3) {
        hf_time_local(info->not_after_ns, when);
        hf_log_warning("The collector's certificate ends on %s and can't be renewed here: %s", when,
                       why);
    }
}

static int issue_for_names_of(const struct hf_authority *authority, const char *data_directory,
                              const char *pem, struct hf_error *error)
{
    struct hf_buf text = {0};
    size_t count = 0;
    const char **names = NULL;
    int rc = hf_pki_names(pem, &text, &count, error);
    names = rc == HF_OK ? calloc(count + 1, sizeof *names) : NULL;
    if (rc == HF_OK && !names) {
        rc = hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory for the certificate's names");
    }
    const char *name = (const char *)text.data;
    for (size_t i = 0; names && i < count; i++) {
        names[i] = name;
        name += strlen(name) + 1;
    }
    if (rc == HF_OK) {
        rc = server_certificate_issue(authority, data_directory, names, count, error);
    }
    free(names);
    hf_buf_free(&text);
    return rc;
}

int server_certificate_renew(const struct hf_authority *authority, const char *data_directory,
                             bool *renewed, struct hf_error *error)
{
    struct hf_buf pem = {0};
    struct hf_pki_info info;
    struct hf_error foreign = {0};
    *renewed = false;
    int rc = read_pem(data_directory, "collector.pem", &pem, error);
    const char *text = (const char *)pem.data;
    rc = rc == HF_OK ? hf_pki_info(text, &info, error) : rc;
    if (rc == HF_OK &&
        hf_pki_verify_any_time(text, authority_root_pem(authority), &foreign) != HF_OK) {
        warn_of_end("another authority issued it", &info);
    } else if (rc == HF_OK && is_due(authority, &info)) {
        rc = issue_for_names_of(authority, data_directory, text, error);
        *renewed = rc == HF_OK;
    } else if (rc == HF_OK) {
        warn_of_end("the issuing certificate ca/issuing.pem ends then; a new one has to be signed "
                    "with root.key",
                    &info);
    }
    hf_buf_free(&pem);
    return rc == HF_OK ? HF_OK : hf_error_prefix(error, "The collector's certificate");
}

/* --- the command --- */

static void usage(FILE *out)
{
    fputs(
        "usage: holdfast-collector certificate --data DIR [--name NAME[,NAME...]]\n\n"
        "Issues the collector's own certificate, DIR/tls/collector.pem, anew. A running collector\n"
        "renews it by itself; this is for other names. SIGHUP makes a running collector take "
        "it.\n\n"
        "  --name  DNS names and IP addresses by which hosts and operators reach this machine;\n"
        "          those of the present certificate unless given\n",
        out);
}

/* 0, or an exit status + 1. */
static int parse(int argc, char **argv, const char **data, const char **names)
{
    static const struct option options[] = {{"data", required_argument, NULL, 'd'},
                                            {"name", required_argument, NULL, 'n'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    optind = 1;
    for (int choice; (choice = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        switch (choice) {
        case 'd':
            *data = optarg;
            break;
        case 'n':
            *names = optarg;
            break;
        default:
            usage(choice == 'h' ? stdout : stderr);
            return choice == 'h' ? 1 : 3;
        }
    }
    if (!*data || optind < argc) {
        usage(stderr);
        return 3;
    }
    return 0;
}

static int issue_anew(const struct hf_authority *authority, const char *data,
                      const struct server_names *names, struct hf_error *error)
{
    struct hf_buf pem = {0};
    if (names->count > 0) {
        return server_certificate_issue(authority, data, names->names, names->count, error);
    }
    int rc = read_pem(data, "collector.pem", &pem, error);
    rc = rc == HF_OK ? issue_for_names_of(authority, data, (const char *)pem.data, error) : rc;
    hf_buf_free(&pem);
    return rc;
}

static int print_issued(const char *data, struct hf_error *error)
{
    char when[HF_TIME_TEXT_BYTES];
    struct hf_buf pem = {0};
    struct hf_buf names = {0};
    struct hf_pki_info info;
    size_t count = 0;
    int rc = read_pem(data, "collector.pem", &pem, error);
    rc = rc == HF_OK ? hf_pki_info((const char *)pem.data, &info, error) : rc;
    rc = rc == HF_OK ? hf_pki_names((const char *)pem.data, &names, &count, error) : rc;
    if (rc == HF_OK) {
        hf_time_local(info.not_after_ns, when);
        printf("%s/tls/collector.pem is valid until %s for", data, when);
        const char *name = (const char *)names.data;
        for (size_t i = 0; i < count; i++, name += strlen(name) + 1) {
            printf("%s %s", i ? "," : "", name);
        }
        printf("\nA running collector takes it at SIGHUP (systemctl reload holdfast-collector)\n");
    }
    hf_buf_free(&names);
    hf_buf_free(&pem);
    return rc;
}

int certificate_command(int argc, char **argv)
{
    const char *data = NULL;
    const char *text = NULL;
    struct server_names names = {0};
    struct hf_authority *authority = NULL;
    struct hf_error error = {0};
    int status = parse(argc, argv, &data, &text);
    if (status != 0) {
        return status - 1;
    }
    int rc = text ? server_names_parse(text, &names, &error) : HF_OK;
    status = rc == HF_OK ? 1 : 2;
    rc = rc == HF_OK ? authority_load(data, HF_IDENTITY_VALIDITY_NS, &authority, &error) : rc;
    rc = rc == HF_OK ? issue_anew(authority, data, &names, &error) : rc;
    rc = rc == HF_OK ? print_issued(data, &error) : rc;
    if (rc != HF_OK) {
        fprintf(stderr, "holdfast-collector certificate: %s\n", error.message);
    }
    authority_free(authority);
    server_names_free(&names);
    return rc == HF_OK ? 0 : status;
}
