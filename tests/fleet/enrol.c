#include "tests/fleet/enrol.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <jansson.h>
#include <openssl/ssl.h>

#include "common/bytes.h"
#include "common/fs.h"
#include "common/pki.h"

#define THREADS_MAX    32u
#define ANSWER_MAX     65536u
#define ANSWER_LIMIT_S 60
#define FIRST_SOURCE   0x7f010001u /* 127.1.0.1 */

struct work {
    const struct enrol_options *options;
    SSL_CTX *tls;
    _Atomic uint32_t next;
    _Atomic bool failed;
    pthread_mutex_t lock; /* protects error */
    struct hf_error *error;
};

uint32_t enrol_source_address(uint32_t host)
{
    return FIRST_SOURCE + host;
}

void enrol_path(const char *directory, uint32_t host, char *out, size_t size)
{
    snprintf(out, size, "%s/%05u.pem", directory, host);
}

static int dial(const struct work *work, uint32_t host, SSL **out, struct hf_error *error)
{
    struct sockaddr_in source = {.sin_family = AF_INET,
                                 .sin_addr.s_addr = htonl(enrol_source_address(host))};
    const struct timeval limit = {.tv_sec = ANSWER_LIMIT_S};
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return hf_error_set(error, HF_ERR_IO, errno, "No socket to enrol with");
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&source, sizeof source) != 0 ||
        connect(fd, (const struct sockaddr *)&work->options->address,
                sizeof work->options->address) != 0) {
        int saved = errno;
        close(fd);
        return hf_error_set(error, HF_ERR_IO, saved, "Can't reach the enrolment listener");
    }
    SSL *ssl = SSL_new(work->tls);
    if (!ssl || SSL_set_fd(ssl, fd) != 1 || SSL_set1_host(ssl, work->options->server_name) != 1 ||
        SSL_connect(ssl) != 1) {
        SSL_free(ssl);
        close(fd);
        return hf_error_set(error, HF_ERR_CLOSED, 0, "The enrolment listener ends the handshake");
    }
    *out = ssl;
    return HF_OK;
}

static void hang_up(SSL *ssl)
{
    int fd = SSL_get_fd(ssl);
    SSL_free(ssl);
    close(fd);
}

static int ask(SSL *ssl, const char *name, const struct hf_buf *body, struct hf_buf *answer,
               struct hf_error *error)
{
    struct hf_buf request = {0};
    uint8_t *to = NULL;
    int rc = hf_buf_append_format(&request,
                                  "POST /v1/enrol HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n"
                                  "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                                  name, body->size);
    rc = rc == HF_OK ? hf_buf_append(&request, body->data, body->size) : rc;
    if (rc == HF_OK && SSL_write(ssl, request.data, (int)request.size) != (int)request.size) {
        rc = HF_ERR_CLOSED;
    }
    hf_buf_free(&request);
    while (rc == HF_OK && answer->size < ANSWER_MAX &&
           (rc = hf_buf_extend(answer, 4096, &to)) == HF_OK) {
        int got = SSL_read(ssl, to, 4096);
        answer->size -= 4096 - (size_t)(got > 0 ? got : 0);
        if (got <= 0) {
            break;
        }
    }
    rc = rc == HF_OK ? hf_buf_terminate(answer) : rc;
    if (rc != HF_OK) {
        hf_error_set(error, rc, 0, "The enrolment request was not taken");
    }
    return rc;
}

static int keep(const struct work *work, uint32_t host, const struct hf_buf *key,
                const char *answer, struct hf_error *error)
{
    char path[4096];
    const char *body = strstr(answer, "\r\n\r\n");
    json_t *json = body ? json_loads(body + 4, 0, NULL) : NULL;
    const char *chain = json_string_value(json_object_get(json, "chain"));
    struct hf_buf pem = {0};
    int rc = HF_OK;
    if (!chain) {
        rc = hf_error_set(error, HF_ERR_DENIED, 0, "Host %u is not enrolled: %.300s", host, answer);
    } else if (hf_buf_append(&pem, key->data, key->size) != HF_OK ||
               hf_buf_append_str(&pem, chain) != HF_OK) {
        rc = hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory");
    } else {
        enrol_path(work->options->directory, host, path, sizeof path);
        rc = hf_write_file_atomic(path, pem.data, pem.size, 0600, error);
    }
    hf_buf_wipe_free(&pem);
    json_decref(json);
    return rc;
}

static int make_request(const struct work *work, uint32_t host, struct hf_buf *key,
                        struct hf_buf *body, struct hf_error *error)
{
    char name[32];
    struct hf_buf der = {0};
    struct hf_buf text = {0};
    snprintf(name, sizeof name, "load-%05u", host);
    int rc = hf_pki_key_new(key, error);
    rc = rc == HF_OK ? hf_pki_request_new((const char *)key->data, name, &der, error) : rc;
    rc = rc == HF_OK ? hf_base64url_encode(&text, der.data, der.size) : rc;
    rc = rc == HF_OK
             ? hf_buf_append_format(body, "{\"token\":\"%s\",\"csr\":\"%.*s\",\"hostname\":\"%s\"}",
                                    work->options->token, (int)text.size, (const char *)text.data,
                                    name)
             : rc;
    hf_buf_free(&der);
    hf_buf_free(&text);
    return rc;
}

static int enrol_one(const struct work *work, uint32_t host, struct hf_error *error)
{
    char path[4096];
    struct hf_buf key = {0};
    struct hf_buf body = {0};
    struct hf_buf answer = {0};
    SSL *ssl = NULL;
    enrol_path(work->options->directory, host, path, sizeof path);
    if (access(path, R_OK) == 0) {
        return HF_OK;
    }
    int rc = make_request(work, host, &key, &body, error);
    rc = rc == HF_OK ? dial(work, host, &ssl, error) : rc;
    if (rc == HF_OK) {
        rc = ask(ssl, work->options->server_name, &body, &answer, error);
        rc = rc == HF_OK ? keep(work, host, &key, (const char *)answer.data, error) : rc;
        hang_up(ssl);
    }
    hf_buf_wipe_free(&key);
    hf_buf_free(&body);
    hf_buf_free(&answer);
    return rc;
}

static void *enrol_some(void *arg)
{
    struct work *work = arg;
    while (!atomic_load(&work->failed)) {
        uint32_t host = atomic_fetch_add(&work->next, 1);
        struct hf_error error = {0};
        if (host >= work->options->hosts) {
            break;
        }
        if (enrol_one(work, host, &error) != HF_OK) {
            pthread_mutex_lock(&work->lock);
            if (!atomic_exchange(&work->failed, true)) {
                *work->error = error;
            }
            pthread_mutex_unlock(&work->lock);
        }
    }
    return NULL;
}

int enrol_all(const struct enrol_options *options, struct hf_error *error)
{
    struct work work = {.options = options, .error = error};
    pthread_t threads[THREADS_MAX];
    unsigned count = options->threads < THREADS_MAX ? options->threads : THREADS_MAX;
    unsigned started = 0;
    work.tls = SSL_CTX_new(TLS_client_method());
    if (!work.tls || SSL_CTX_load_verify_locations(work.tls, options->root_path, NULL) != 1) {
        SSL_CTX_free(work.tls);
        return hf_error_set(error, HF_ERR_INVALID, 0, "The root certificate %s can't be used",
                            options->root_path);
    }
    SSL_CTX_set_verify(work.tls, SSL_VERIFY_PEER, NULL);
    pthread_mutex_init(&work.lock, NULL);
    while (started < count && pthread_create(&threads[started], NULL, enrol_some, &work) == 0) {
        started++;
    }
    if (started == 0) {
        atomic_store(&work.failed, true);
        hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No thread to enrol with");
    }
    for (unsigned i = 0; i < started; i++) {
        pthread_join(threads[i], NULL);
    }
    pthread_mutex_destroy(&work.lock);
    SSL_CTX_free(work.tls);
    return atomic_load(&work.failed) ? (int)error->code : HF_OK;
}
