#include "tests/fleet/connection.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include "proto/frame.h"

#define READ_BYTES        16384
#define HEAD_MAX_BYTES    4096u
#define MESSAGE_MAX_BYTES (2u * HF_FRAME_MAX_BYTES)
#define FINAL             0x80u
#define MASKED            0x80u

enum opcode { CONTINUATION = 0, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };

int connection_tls_new(const char *root_path, SSL_CTX **out, struct hf_error *error)
{
    SSL_CTX *tls = SSL_CTX_new(TLS_client_method());
    if (!tls || SSL_CTX_load_verify_locations(tls, root_path, NULL) != 1) {
        SSL_CTX_free(tls);
        return hf_error_set(error, HF_ERR_INVALID, 0, "The root certificate %s can't be used",
                            root_path);
    }
    SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION);
    SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_read_ahead(tls, 1);
    SSL_CTX_set_mode(tls, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_ENABLE_PARTIAL_WRITE);
    *out = tls;
    return HF_OK;
}

int identity_load(const char *path, struct identity *out, X509 **issuing, struct hf_error *error)
{
    FILE *file = fopen(path, "r");
    *out = (struct identity){NULL, NULL};
    if (!file) {
        return hf_error_set(error, HF_ERR_NOT_FOUND, errno, "Can't open %s", path);
    }
    out->key = PEM_read_PrivateKey(file, NULL, NULL, NULL);
    out->certificate = PEM_read_X509(file, NULL, NULL, NULL);
    X509 *second = PEM_read_X509(file, NULL, NULL, NULL);
    fclose(file);
    if (!out->key || !out->certificate || !second) {
        identity_free(out);
        X509_free(second);
        return hf_error_set(error, HF_ERR_INVALID, 0,
                            "%s does not hold a key, its certificate and the issuer's", path);
    }
    if (issuing) {
        *issuing = second;
    } else {
        X509_free(second);
    }
    return HF_OK;
}

void identity_free(struct identity *identity)
{
    X509_free(identity->certificate);
    EVP_PKEY_free(identity->key);
    *identity = (struct identity){NULL, NULL};
}

int connection_start(struct connection *connection, const struct connection_target *target,
                     const struct identity *identity, uint32_t source_address)
{
    struct sockaddr_in source = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(source_address)};
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return HF_ERR_IO;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    /* The port is chosen with the peer known, so that each address has all ports to itself. */
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    SSL *ssl = SSL_new(target->tls);
    bool made = ssl && SSL_use_certificate(ssl, identity->certificate) == 1 &&
                SSL_use_PrivateKey(ssl, identity->key) == 1 && SSL_set_fd(ssl, fd) == 1 &&
                SSL_set1_host(ssl, target->name) == 1 &&
                bind(fd, (struct sockaddr *)&source, sizeof source) == 0;
    if (made &&
        connect(fd, (const struct sockaddr *)&target->address, sizeof target->address) != 0 &&
        errno != EINPROGRESS) {
        int refused = errno;
        SSL_free(ssl);
        close(fd);
        return refused == ECONNREFUSED ? HF_ERR_CLOSED : HF_ERR_IO;
    }
    if (!made) {
        SSL_free(ssl);
        close(fd);
        return HF_ERR_IO;
    }
    SSL_set_connect_state(ssl);
    *connection = (struct connection){
        .fd = fd, .ssl = ssl, .state = CONNECTION_CONNECTING, .wants_write = true};
    return HF_OK;
}

void connection_close(struct connection *connection)
{
    if (connection->state == CONNECTION_CLOSED) {
        return;
    }
    SSL_free(connection->ssl);
    close(connection->fd);
    hf_buf_free(&connection->in);
    hf_buf_free(&connection->out);
    *connection = (struct connection){.fd = -1};
}

/* --- writing --- */

static int append_message(struct hf_buf *out, enum opcode opcode, const uint8_t *data, size_t size)
{
    static uint64_t state = UINT64_C(0x9e3779b97f4a7c15);
    uint8_t head[14];
    size_t length = 2;
    uint8_t *to = NULL;
    head[0] = (uint8_t)(FINAL | opcode);
    if (size < 126) {
        head[1] = (uint8_t)(MASKED | size);
    } else if (size < 65536) {
        head[1] = MASKED | 126;
        head[2] = (uint8_t)(size >> 8);
        head[3] = (uint8_t)size;
        length = 4;
    } else {
        head[1] = MASKED | 127;
        for (size_t i = 0; i < 8; i++) {
            head[2 + i] = (uint8_t)((uint64_t)size >> (56 - 8 * i));
        }
        length = 10;
    }
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    uint32_t mask = (uint32_t)(state >> 32) | 1;
    memcpy(head + length, &mask, 4);
    int rc = hf_buf_append(out, head, length + 4);
    rc = rc == HF_OK ? hf_buf_extend(out, size, &to) : rc;
    if (rc != HF_OK) {
        return rc;
    }
    uint64_t wide = (uint64_t)mask << 32 | mask;
    size_t at = 0;
    for (; at + 8 <= size; at += 8) {
        uint64_t word;
        memcpy(&word, data + at, 8);
        word ^= wide;
        memcpy(to + at, &word, 8);
    }
    for (; at < size; at++) {
        to[at] = data[at] ^ head[length + (at & 3)];
    }
    return HF_OK;
}

int connection_queue(struct connection *connection, const uint8_t *data, size_t size)
{
    return append_message(&connection->out, BINARY, data, size);
}

bool connection_flush(struct connection *connection)
{
    struct hf_buf *out = &connection->out;
    while (out->size > 0) {
        size_t size = connection->retry ? connection->retry : out->size;
        int written = SSL_write(connection->ssl, out->data, (int)size);
        if (written <= 0) {
            int why = SSL_get_error(connection->ssl, written);
            ERR_clear_error();
            connection->retry = size;
            connection->wants_write = why == SSL_ERROR_WANT_WRITE;
            return why == SSL_ERROR_WANT_WRITE || why == SSL_ERROR_WANT_READ;
        }
        connection->retry = 0;
        hf_buf_consume(out, (size_t)written);
    }
    connection->wants_write = false;
    hf_buf_free(out);
    return true;
}

/* --- reading --- */

static bool begin_upgrade(struct connection *connection, const struct connection_target *target)
{
    /* The key is a nonce for proxies' sake; there are none here. */
    if (hf_buf_append_format(
            &connection->out,
            "GET " HF_PROTO_PATH " HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            "Sec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Protocol: " HF_PROTO_SUBPROTOCOL "\r\n\r\n",
            target->name) != HF_OK) {
        return false;
    }
    connection->state = CONNECTION_UPGRADING;
    return connection_flush(connection);
}

static bool shake(struct connection *connection, const struct connection_target *target)
{
    int done = SSL_do_handshake(connection->ssl);
    if (done == 1) {
        return begin_upgrade(connection, target);
    }
    int why = SSL_get_error(connection->ssl, done);
    ERR_clear_error();
    connection->wants_write = why == SSL_ERROR_WANT_WRITE;
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE;
}

static bool read_head(struct connection *connection)
{
    static const char upgraded[] = "HTTP/1.1 101";
    uint8_t *end = memmem(connection->in.data, connection->in.size, "\r\n\r\n", 4);
    if (!end) {
        return connection->in.size < HEAD_MAX_BYTES;
    }
    if (connection->in.size < sizeof upgraded ||
        memcmp(connection->in.data, upgraded, sizeof upgraded - 1) != 0) {
        return false;
    }
    hf_buf_consume(&connection->in, (size_t)(end - connection->in.data) + 4);
    connection->state = CONNECTION_OPEN;
    return true;
}

/* One message off the front of data; *used 0 when it is not whole. */
static bool take_message(struct connection *connection, const uint8_t *data, size_t size,
                         size_t *used,
                         void (*on_message)(void *context, const uint8_t *data, size_t size),
                         void *context)
{
    *used = 0;
    if (size < 2) {
        return true;
    }
    size_t head = 2;
    uint64_t length = data[1] & 0x7f;
    if (length >= 126) {
        size_t wide = length == 126 ? 2 : 8;
        if (size < 2 + wide) {
            return true;
        }
        length = 0;
        for (size_t i = 0; i < wide; i++) {
            length = length << 8 | data[2 + i];
        }
        head += wide;
    }
    if (length > MESSAGE_MAX_BYTES || (data[1] & MASKED) || !(data[0] & FINAL)) {
        return false; /* this collector never sends messages in fragments */
    }
    if (size - head < length) {
        return true;
    }
    *used = head + (size_t)length;
    switch (data[0] & 0x0f) {
    case BINARY:
        on_message(context, data + head, (size_t)length);
        return connection->state == CONNECTION_OPEN;
    case PING:
        return append_message(&connection->out, PONG, data + head, (size_t)length) == HF_OK &&
               connection_flush(connection);
    case PONG:
        return true;
    default:
        return false;
    }
}

static bool take_messages(struct connection *connection,
                          void (*on_message)(void *context, const uint8_t *data, size_t size),
                          void *context)
{
    struct hf_buf taken = connection->in;
    size_t at = 0;
    size_t used = 0;
    bool lives = true;
    connection->in = (struct hf_buf){0}; /* on_message may close the connection */
    do {
        lives =
            take_message(connection, taken.data + at, taken.size - at, &used, on_message, context);
        at += used;
    } while (lives && used > 0 && at < taken.size);
    if (lives && at < taken.size) {
        lives = hf_buf_append(&connection->in, taken.data + at, taken.size - at) == HF_OK;
    }
    hf_buf_free(&taken);
    return lives;
}

bool connection_go_on(struct connection *connection, const struct connection_target *target,
                      void (*on_message)(void *context, const uint8_t *data, size_t size),
                      void *context)
{
    uint8_t bytes[READ_BYTES];
    if (connection->state == CONNECTION_CONNECTING) {
        int failure = 0;
        socklen_t size = sizeof failure;
        if (getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &failure, &size) != 0 || failure) {
            return false;
        }
        connection->state = CONNECTION_SHAKING;
        connection->wants_write = false;
    }
    if (connection->state == CONNECTION_SHAKING && !shake(connection, target)) {
        return false;
    }
    if (connection->state < CONNECTION_UPGRADING) {
        return true;
    }
    if (connection->wants_write && !connection_flush(connection)) {
        return false;
    }
    do {
        int got = SSL_read(connection->ssl, bytes, sizeof bytes);
        if (got <= 0) {
            int why = SSL_get_error(connection->ssl, got);
            ERR_clear_error();
            return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE;
        }
        if (hf_buf_append(&connection->in, bytes, (size_t)got) != HF_OK) {
            return false;
        }
        if (connection->state == CONNECTION_UPGRADING && !read_head(connection)) {
            return false;
        }
        if (connection->state == CONNECTION_OPEN && connection->in.size > 0 &&
            !take_messages(connection, on_message, context)) {
            return false;
        }
    } while (connection->state != CONNECTION_CLOSED && SSL_has_pending(connection->ssl));
    return connection->state != CONNECTION_CLOSED;
}
