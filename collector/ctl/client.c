/* The API's client: libcurl for HTTPS, one connection kept. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "collector/ctl/ctl.h"
#include "common/buf.h"
#include "common/bytes.h"
#include "common/fs.h"
#include "common/ini.h"

#define ANSWER_MAX_BYTES (64u * 1024u * 1024u)
#define TOKEN_MAX_BYTES  4096u

struct ctl_client {
    CURL *curl;
    struct curl_slist *headers;
    char *url;
    char *ca_file;
};

/* --- where the collector is --- */

static int load_config(struct hf_ini **out)
{
    *out = NULL;
    struct hf_error error = {0};
    const char *named = getenv("HOLDFAST_CONFIG");
    const char *home = getenv("HOME");
    char personal[4096];
    snprintf(personal, sizeof personal, "%s/.config/holdfast/config", home ? home : "");
    const char *candidates[] = {named ? named : personal, named ? NULL : "/etc/holdfast/cli.conf"};
    for (size_t i = 0; i < 2 && candidates[i]; i++) {
        FILE *probe = fopen(candidates[i], "re");
        if (!probe && !(named && i == 0)) {
            continue;
        }
        if (probe) {
            fclose(probe);
        }
        if (hf_ini_load(candidates[i], out, &error) != HF_OK) {
            complain("%s", error.message);
            return CTL_USAGE;
        }
        return CTL_OK;
    }
    return CTL_OK;
}

static char *setting(const char *option, const char *variable, struct hf_ini *ini, const char *key)
{
    const char *environment = getenv(variable);
    const char *value = option ? option : environment && *environment ? environment : NULL;
    if (!value && ini) {
        const struct hf_ini_entry *entry = hf_ini_get(ini, "collector", key, 0);
        value = entry ? entry->value : NULL;
    }
    return value ? strdup(value) : NULL;
}

static int read_token(const char *path, struct hf_buf *out)
{
    struct hf_error error = {0};
    if (hf_read_file(path, TOKEN_MAX_BYTES, out, &error) != HF_OK) {
        complain("%s", error.message);
        return CTL_DENIED;
    }
    while (out->size > 0 && strchr(" \r\n\t", out->data[out->size - 1])) {
        out->size--;
    }
    if (out->size == 0 || memchr(out->data, '\n', out->size)) {
        complain("%s should hold one line, the API token", path);
        return CTL_DENIED;
    }
    return CTL_OK;
}

static int set_up_curl(struct ctl_client *client, const struct hf_buf *token)
{
    struct hf_buf header = {0};
    client->curl = curl_easy_init();
    int rc = hf_buf_append_format(&header, "Authorization: Bearer %.*s", (int)token->size,
                                  (const char *)token->data);
    if (rc == HF_OK && client->curl) {
        client->headers = curl_slist_append(NULL, (const char *)header.data);
    }
    hf_buf_wipe_free(&header);
    if (!client->headers) {
        complain("Out of memory");
        return CTL_FAILED;
    }
    curl_easy_setopt(client->curl, CURLOPT_HTTPHEADER, client->headers);
    curl_easy_setopt(client->curl, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(client->curl, CURLOPT_CONNECTTIMEOUT, 15L);
    curl_easy_setopt(client->curl, CURLOPT_USERAGENT, "holdfast/" HF_VERSION);
    curl_easy_setopt(client->curl, CURLOPT_NOSIGNAL, 1L);
    if (client->ca_file) {
        curl_easy_setopt(client->curl, CURLOPT_CAINFO, client->ca_file);
    }
    return CTL_OK;
}

int client_new(const struct ctl_client_options *options, struct ctl_client **out)
{
    struct hf_ini *ini = NULL;
    int status = load_config(&ini);
    if (status != CTL_OK) {
        return status;
    }
    struct ctl_client *client = calloc(1, sizeof *client);
    struct hf_buf token = {0};
    char *token_file = setting(options->token_file, "HOLDFAST_TOKEN_FILE", ini, "token_file");
    if (client) {
        client->url = setting(options->url, "HOLDFAST_URL", ini, "url");
        client->ca_file = setting(options->ca_file, "HOLDFAST_CA_FILE", ini, "ca_file");
    }
    hf_ini_free(ini);
    if (!client) {
        complain("Out of memory");
        status = CTL_FAILED;
    } else if (!client->url) {
        complain("No collector is named. Pass --url, set HOLDFAST_URL, or write "
                 "~/.config/holdfast/config");
        status = CTL_USAGE;
    } else if (!token_file) {
        complain("No API token is named. Pass --token-file or set HOLDFAST_TOKEN_FILE");
        status = CTL_DENIED;
    } else {
        status = read_token(token_file, &token);
    }
    free(token_file);
    if (status == CTL_OK) {
        status = set_up_curl(client, &token);
    }
    hf_buf_wipe_free(&token);
    if (status != CTL_OK) {
        client_free(client);
        return status;
    }
    *out = client;
    return CTL_OK;
}

void client_free(struct ctl_client *client)
{
    if (!client) {
        return;
    }
    for (struct curl_slist *header = client->headers; header; header = header->next) {
        hf_wipe(header->data, strlen(header->data));
    }
    curl_slist_free_all(client->headers);
    if (client->curl) {
        curl_easy_cleanup(client->curl);
    }
    free(client->url);
    free(client->ca_file);
    free(client);
}

/* --- URLs --- */

static void url_append(struct ctl_url *url, const char *text, bool encode)
{
    char *encoded = encode ? curl_easy_escape(NULL, text, (int)strlen(text)) : NULL;
    const char *piece = encode ? encoded : text;
    char *joined = NULL;
    if (!piece || asprintf(&joined, "%s%s", url->text ? url->text : "", piece) < 0) {
        fprintf(stderr, "holdfast: out of memory\n");
        exit(CTL_FAILED);
    }
    curl_free(encoded);
    free(url->text);
    url->text = joined;
}

void url_start(struct ctl_url *url, const char *path)
{
    *url = (struct ctl_url){0};
    url_append(url, path, false);
}

void url_segment(struct ctl_url *url, const char *segment)
{
    url_append(url, "/", false);
    url_append(url, segment, true);
}

void url_param(struct ctl_url *url, const char *name, const char *value)
{
    if (!value) {
        return;
    }
    url_append(url, url->has_query ? "&" : "?", false);
    url_append(url, name, false);
    url_append(url, "=", false);
    if (*value) {
        url_append(url, value, true);
    }
    url->has_query = true;
}

void url_param_path(struct ctl_url *url, const char *path)
{
    bool plain = true;
    for (const unsigned char *p = (const unsigned char *)path; *p; p++) {
        plain = plain && *p >= 0x20 && *p != 0x7f;
    }
    if (plain) {
        url_param(url, "path", path);
        return;
    }
    size_t length = strlen(path);
    char *hex = malloc(2 * length + 1);
    if (!hex) {
        fprintf(stderr, "holdfast: out of memory\n");
        exit(CTL_FAILED);
    }
    hf_hex_encode((const uint8_t *)path, length, hex);
    url_param(url, "path_hex", hex);
    free(hex);
}

void url_param_number(struct ctl_url *url, const char *name, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    url_param(url, name, text);
}

void url_free(struct ctl_url *url)
{
    free(url->text);
    url->text = NULL;
}

/* --- requests --- */

static int status_of(long http_status)
{
    switch (http_status) {
    case 400: /* what was asked can't be meant, */
    case 413: /* or is more than one request may ask */
        return CTL_USAGE;
    case 401:
    case 403:
        return CTL_DENIED;
    case 404:
        return CTL_NOT_FOUND;
    default:
        return http_status >= 200 && http_status < 300 ? CTL_OK : CTL_FAILED;
    }
}

static void complain_of_answer(long http_status, const json_t *answer)
{
    const json_t *error = json_object_get(answer, "error");
    const char *message = json_string_value(json_object_get(error, "message"));
    const char *hint = json_string_value(json_object_get(error, "hint"));
    if (message) {
        complain("%s", message);
    } else {
        complain("The collector answered with HTTP status %ld and no explanation", http_status);
    }
    if (hint) {
        show_line(stderr, "%s", hint);
    }
}

static void complain_of_transfer(const struct ctl_client *client, CURLcode code,
                                 const char *details)
{
    complain("Can't talk to the collector at %s: %s", client->url,
             *details ? details : curl_easy_strerror(code));
    if (code == CURLE_PEER_FAILED_VERIFICATION) {
        fprintf(stderr,
                "Its certificate is not one of this deployment's root (%s) or names "
                "another machine. Check --url and --ca-file.\n",
                client->ca_file ? client->ca_file : "none given; pass --ca-file");
    }
}

static size_t gather(char *data, size_t size, size_t count, void *context)
{
    struct hf_buf *buf = context;
    size_t bytes = size * count;
    if (bytes > ANSWER_MAX_BYTES - buf->size || hf_buf_append(buf, data, bytes) != HF_OK) {
        return 0;
    }
    return bytes;
}

static char *full_url(const struct ctl_client *client, const struct ctl_url *url)
{
    char *text = NULL;
    size_t length = strlen(client->url);
    while (length > 0 && client->url[length - 1] == '/') {
        length--;
    }
    return asprintf(&text, "%.*s%s", (int)length, client->url, url->text) < 0 ? NULL : text;
}

/* One exchange; the answer's bytes go to write. Returns an exit status; *http_status is 0 when none
 * came. */
static int perform(struct ctl_client *client, const struct ctl_url *url,
                   size_t (*write)(char *, size_t, size_t, void *), void *context,
                   long *http_status)
{
    char details[CURL_ERROR_SIZE] = "";
    char *text = full_url(client, url);
    *http_status = 0;
    if (!text) {
        complain("Out of memory");
        return CTL_FAILED;
    }
    curl_easy_setopt(client->curl, CURLOPT_URL, text);
    curl_easy_setopt(client->curl, CURLOPT_ERRORBUFFER, details);
    curl_easy_setopt(client->curl, CURLOPT_WRITEFUNCTION, write);
    curl_easy_setopt(client->curl, CURLOPT_WRITEDATA, context);
    CURLcode code = curl_easy_perform(client->curl);
    curl_easy_setopt(client->curl, CURLOPT_ERRORBUFFER, NULL);
    free(text);
    if (code != CURLE_OK) {
        complain_of_transfer(client, code, details);
        return CTL_UNREACHABLE;
    }
    curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, http_status);
    return CTL_OK;
}

static int exchange_json(struct ctl_client *client, const struct ctl_url *url, json_t **out)
{
    struct hf_buf body = {0};
    long http_status = 0;
    int status = perform(client, url, gather, &body, &http_status);
    if (status == CTL_OK) {
        json_error_t json_error;
        json_t *answer =
            json_loadb((const char *)body.data, body.size, JSON_ALLOW_NUL, &json_error);
        status = status_of(http_status);
        if (status != CTL_OK) {
            complain_of_answer(http_status, answer);
        } else if (!answer) {
            complain("The collector's answer isn't JSON (%s); is %s its API?", json_error.text,
                     client->url);
            status = CTL_FAILED;
        }
        if (status == CTL_OK && out) {
            *out = answer;
        } else {
            json_decref(answer);
        }
    }
    hf_buf_wipe_free(&body);
    return status;
}

int client_get(struct ctl_client *client, const struct ctl_url *url, json_t **out)
{
    curl_easy_setopt(client->curl, CURLOPT_HTTPGET, 1L);
    return exchange_json(client, url, out);
}

int client_post(struct ctl_client *client, const struct ctl_url *url, json_t *body, json_t **out)
{
    char *text = body ? json_dumps(body, JSON_COMPACT) : strdup("{}");
    json_decref(body);
    if (!text) {
        complain("Out of memory");
        return CTL_FAILED;
    }
    curl_easy_setopt(client->curl, CURLOPT_POST, 1L);
    curl_easy_setopt(client->curl, CURLOPT_POSTFIELDSIZE, (long)strlen(text));
    curl_easy_setopt(client->curl, CURLOPT_POSTFIELDS, text);
    int status = exchange_json(client, url, out);
    curl_easy_setopt(client->curl, CURLOPT_HTTPGET, 1L);
    free(text);
    return status;
}

struct download {
    struct ctl_client *client;
    FILE *out;
    struct hf_buf refusal; /* the body, when the status says that it is an error */
    uint64_t bytes, about_bytes;
    int write_errno;
    void (*progress)(void *context, uint64_t bytes, uint64_t about_bytes);
    void *context;
};

/* How long the collector says that the answer will be; 0 when it doesn't. */
static uint64_t about_bytes(CURL *curl)
{
    struct curl_header *header = NULL;
    return curl_easy_header(curl, "holdfast-about-bytes", 0, CURLH_HEADER, -1, &header) == CURLHE_OK
               ? strtoull(header->value, NULL, 10)
               : 0;
}

static size_t save(char *data, size_t size, size_t count, void *context)
{
    struct download *download = context;
    long http_status = 0;
    curl_easy_getinfo(download->client->curl, CURLINFO_RESPONSE_CODE, &http_status);
    if (http_status != 200) {
        return gather(data, size, count, &download->refusal);
    }
    if (download->bytes == 0) {
        download->about_bytes = about_bytes(download->client->curl);
    }
    size_t written = fwrite(data, 1, size * count, download->out);
    download->write_errno = written < size * count ? errno : 0;
    download->bytes += written;
    if (download->progress) {
        download->progress(download->context, download->bytes, download->about_bytes);
    }
    return written;
}

int client_download(struct ctl_client *client, const struct ctl_url *url, FILE *out,
                    void (*progress)(void *context, uint64_t bytes, uint64_t about_bytes),
                    void *context)
{
    struct download download = {
        .client = client, .out = out, .progress = progress, .context = context};
    long http_status = 0;
    curl_easy_setopt(client->curl, CURLOPT_HTTPGET, 1L);
    int status = perform(client, url, save, &download, &http_status);
    if (download.write_errno) {
        complain("Writing the download failed: %s", strerror(download.write_errno));
        status = CTL_FAILED;
    } else if (status == CTL_OK && http_status != 200) {
        json_t *answer =
            json_loadb((const char *)download.refusal.data, download.refusal.size, 0, NULL);
        complain_of_answer(http_status, answer);
        json_decref(answer);
        status = status_of(http_status);
        status = status == CTL_OK ? CTL_FAILED : status;
    }
    if (status == CTL_OK && fflush(out) != 0) {
        complain("Writing the download failed: %s", strerror(errno));
        status = CTL_FAILED;
    }
    hf_buf_free(&download.refusal);
    return status;
}

int client_list(struct ctl *ctl, const struct ctl_url *url, const char *member, size_t at_most,
                void (*each)(void *context, const json_t *row), void *context)
{
    json_t *all = ctl->json ? json_array() : NULL;
    char *after = NULL;
    size_t seen = 0;
    int status = CTL_OK;
    do {
        struct ctl_url page_url = {.text = strdup(url->text), .has_query = url->has_query};
        json_t *page = NULL;
        url_param(&page_url, "after", after);
        if (at_most > 0) {
            url_param_number(&page_url, "limit", at_most - seen < 500 ? at_most - seen : 500);
        }
        status = client_get(ctl->client, &page_url, &page);
        url_free(&page_url);
        const json_t *rows = json_object_get(page, member);
        size_t count = json_array_size(rows);
        for (size_t i = 0; i < count && (at_most == 0 || seen < at_most); i++, seen++) {
            json_t *row = json_array_get(rows, i);
            if (all) {
                json_array_append(all, row);
            } else {
                each(context, row);
            }
        }
        /* A page may be empty and others follow: what is between was deleted. */
        const char *next = json_string_value(json_object_get(page, "next"));
        bool goes_on = next && (!after || strcmp(next, after) != 0);
        char *from = goes_on && (at_most == 0 || seen < at_most) ? strdup(next) : NULL;
        free(after);
        after = from;
        json_decref(page);
    } while (status == CTL_OK && after);
    free(after);
    if (all && status == CTL_OK) {
        json_t *document = json_pack("{s:o}", member, all);
        show_json(document);
        json_decref(document);
    } else {
        json_decref(all);
    }
    return status;
}
