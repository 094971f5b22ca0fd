#include "agent/session/websocket.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/bytes.h"

#define NONCE_BYTES  16u
#define ACCEPT_BYTES 29u /* a SHA-1 in base64, NUL */
#define FINAL        0x80u
#define RESERVED     0x70u
#define OPCODE       0x0fu
#define MASKED       0x80u
#define LENGTH       0x7fu
#define MASK_BYTES   4u

/* --- opening --- */

int websocket_request(const char *host, uint16_t port, const char *path, const char *subprotocol,
                      char key[HF_WEBSOCKET_KEY_BYTES], struct hf_buf *out)
{
    uint8_t nonce[NONCE_BYTES];
    bool bare_v6 = strchr(host, ':') != NULL;
    hf_random(nonce, sizeof(nonce));
    EVP_EncodeBlock((unsigned char *)key, nonce, (int)sizeof(nonce));
    return hf_buf_append_format(out,
                                "GET %s HTTP/1.1\r\n"
                                "Host: %s%s%s:%u\r\n"
                                "Upgrade: websocket\r\n"
                                "Connection: Upgrade\r\n"
                                "Sec-WebSocket-Key: %s\r\n"
                                "Sec-WebSocket-Version: 13\r\n"
                                "Sec-WebSocket-Protocol: %s\r\n\r\n",
                                path, bare_v6 ? "[" : "", host, bare_v6 ? "]" : "", (unsigned)port,
                                key, subprotocol);
}

/* Section 4.2.2, step 5.4. Empty where the checksum can't be made. */
static void accept_of(const char *key, char accept[ACCEPT_BYTES])
{
    static const char salt[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    char text[HF_WEBSOCKET_KEY_BYTES + sizeof(salt)];
    uint8_t sum[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    int length = snprintf(text, sizeof(text), "%s%s", key, salt);
    accept[0] = '\0';
    if (EVP_Digest(text, (size_t)length, sum, &size, EVP_sha1(), NULL) == 1)
        EVP_EncodeBlock((unsigned char *)accept, sum, (int)size);
}

/* Trimmed of blanks. */
static struct hf_bytes trimmed(const uint8_t *begin, const uint8_t *end)
{
    while (begin < end && (*begin == ' ' || *begin == '\t'))
        begin++;
    while (end > begin && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    return (struct hf_bytes){begin, (size_t)(end - begin)};
}

static bool is_accepted(struct hf_bytes said, const char *key)
{
    char accept[ACCEPT_BYTES];
    accept_of(key, accept);
    return said.size > 0 && said.size == strlen(accept) && !memcmp(said.data, accept, said.size);
}

static bool is_word(struct hf_bytes text, const char *word)
{
    return text.size == strlen(word) && !strncasecmp((const char *)text.data, word, text.size);
}

/* Whether the comma-separated list holds word. */
static bool has_word(struct hf_bytes list, const char *word)
{
    const uint8_t *at = list.data, *end = list.size > 0 ? list.data + list.size : list.data;
    while (at < end) {
        const uint8_t *comma = memchr(at, ',', (size_t)(end - at));
        const uint8_t *stop = comma ? comma : end;
        if (is_word(trimmed(at, stop), word))
            return true;
        at = stop + (comma ? 1 : 0);
    }
    return false;
}

struct response {
    struct hf_bytes upgrade, connection, accept, protocol, extensions;
};

static void note_header(struct response *response, const uint8_t *line, const uint8_t *end)
{
    const struct {
        const char *name;
        struct hf_bytes *value;
    } wanted[] = {
        {"Upgrade", &response->upgrade},
        {"Connection", &response->connection},
        {"Sec-WebSocket-Accept", &response->accept},
        {"Sec-WebSocket-Protocol", &response->protocol},
        {"Sec-WebSocket-Extensions", &response->extensions},
    };
    const uint8_t *colon = memchr(line, ':', (size_t)(end - line));
    if (!colon)
        return;
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
        if (is_word((struct hf_bytes){line, (size_t)(colon - line)}, wanted[i].name))
            *wanted[i].value = trimmed(colon + 1, end);
}

/* The end of the line that begins at `line`: its CR LF; NULL when there is none before `end`. */
static const uint8_t *line_end(const uint8_t *line, const uint8_t *end)
{
    return line < end ? memmem(line, (size_t)(end - line), "\r\n", 2) : NULL;
}

static int check_status(struct hf_bytes line, struct hf_error *error)
{
    static const char switching[] = "HTTP/1.1 101";
    size_t size = sizeof(switching) - 1;
    if (line.size >= size && !memcmp(line.data, switching, size) &&
        (line.size == size || line.data[size] == ' '))
        return 0;
    size_t shown = line.size < 64 ? line.size : 64;
    char text[65] = "";
    memcpy(text, line.data, shown);
    for (size_t i = 0; i < shown; i++)
        if (text[i] < ' ' || text[i] > '~')
            text[i] = '?';
    return hf_error_set(error, HF_ERR_PROTOCOL, 0,
                        "it answered \"%s\" instead of opening a session; is this the port for "
                        "agents, and no proxy in between?",
                        text);
}

int websocket_response(struct hf_bytes in, const char key[HF_WEBSOCKET_KEY_BYTES],
                       const char *subprotocol, size_t *used, struct hf_error *error)
{
    struct response response = {0};
    size_t looked = in.size < HF_WEBSOCKET_RESPONSE_BYTES ? in.size : HF_WEBSOCKET_RESPONSE_BYTES;
    const uint8_t *whole = looked ? memmem(in.data, looked, "\r\n\r\n", 4) : NULL;
    if (!whole && in.size < HF_WEBSOCKET_RESPONSE_BYTES)
        return HF_ERR_AGAIN;
    if (!whole)
        return hf_error_set(error, HF_ERR_PROTOCOL, 0,
                            "its answer to the opening of a session has no end within %u bytes",
                            HF_WEBSOCKET_RESPONSE_BYTES);
    const uint8_t *end = whole + 2, *line = in.data, *stop = line_end(line, end);
    int result = check_status((struct hf_bytes){line, (size_t)(stop - line)}, error);
    if (result)
        return result;
    for (line = stop + 2; (stop = line_end(line, end)); line = stop + 2)
        note_header(&response, line, stop);
    if (!is_word(response.upgrade, "websocket") || !has_word(response.connection, "upgrade") ||
        !is_accepted(response.accept, key))
        return hf_error_set(error, HF_ERR_PROTOCOL, 0,
                            "it agreed to another protocol than a WebSocket, or answered somebody "
                            "else's request; is a proxy in between?");
    if (!is_word(response.protocol, subprotocol) || response.extensions.size > 0)
        return hf_error_set(error, HF_ERR_PROTOCOL, 0,
                            "it does not speak %s; update the older of the two", subprotocol);
    *used = (size_t)(whole + 4 - in.data);
    return 0;
}

/* --- sending --- */

static void apply_mask(uint8_t *data, size_t size, const uint8_t mask[MASK_BYTES])
{
    uint64_t wide, word;
    size_t i = 0;
    memcpy(&wide, mask, MASK_BYTES);
    memcpy((uint8_t *)&wide + MASK_BYTES, mask, MASK_BYTES);
    for (; i + sizeof(word) <= size; i += sizeof(word)) {
        memcpy(&word, data + i, sizeof(word));
        word ^= wide;
        memcpy(data + i, &word, sizeof(word));
    }
    for (; i < size; i++)
        data[i] ^= mask[i % MASK_BYTES];
}

size_t websocket_frame(enum hf_websocket_opcode opcode, uint8_t *data, size_t size)
{
    size_t length_bytes = size < 126 ? 0 : size <= UINT16_MAX ? 2 : 8;
    size_t head_size = 2 + length_bytes + MASK_BYTES;
    uint8_t *head = data - head_size;
    head[0] = (uint8_t)(FINAL | opcode);
    head[1] = (uint8_t)(MASKED | (length_bytes == 0 ? size : length_bytes == 2 ? 126 : 127));
    for (size_t i = 0; i < length_bytes; i++)
        head[2 + i] = (uint8_t)((uint64_t)size >> (8 * (length_bytes - 1 - i)));
    hf_random(head + 2 + length_bytes, MASK_BYTES);
    apply_mask(data, size, head + 2 + length_bytes);
    return head_size;
}

/* --- receiving --- */

static enum hf_websocket_opcode opcode_of(const struct hf_websocket_reader *reader)
{
    return reader->head[0] & OPCODE;
}

static bool is_control(const struct hf_websocket_reader *reader)
{
    return (reader->head[0] & 0x08u) != 0;
}

static bool is_final(const struct hf_websocket_reader *reader)
{
    return (reader->head[0] & FINAL) != 0;
}

/* How long the head in hand is, as far as its first two bytes say. */
static size_t head_length(const struct hf_websocket_reader *reader)
{
    if (reader->head_size < 2)
        return 2;
    unsigned length = reader->head[1] & LENGTH;
    return length == 126 ? 4 : length == 127 ? 10 : 2;
}

static uint64_t payload_length(const struct hf_websocket_reader *reader)
{
    size_t size = head_length(reader);
    uint64_t length = 0;
    if (size == 2)
        return reader->head[1] & LENGTH;
    for (size_t i = 2; i < size; i++)
        length = length << 8 | reader->head[i];
    return length;
}

static int refuse(struct hf_error *error, const char *what)
{
    return hf_error_set(error, HF_ERR_PROTOCOL, 0,
                        "it sent %s, which breaks the WebSocket protocol", what);
}

/* The two bytes that every head begins with. */
static int check_head(const struct hf_websocket_reader *reader, struct hf_error *error)
{
    enum hf_websocket_opcode opcode = opcode_of(reader);
    if (reader->head[0] & RESERVED)
        return refuse(error, "a frame of an extension");
    if (reader->head[1] & MASKED)
        return refuse(error, "a masked frame");
    switch (opcode) {
    case HF_WEBSOCKET_CONTINUATION:
        return reader->fragmented ? 0 : refuse(error, "the rest of a message that never began");
    case HF_WEBSOCKET_BINARY:
        return reader->fragmented ? refuse(error, "a message inside another") : 0;
    case HF_WEBSOCKET_TEXT:
        return hf_error_set(error, HF_ERR_PROTOCOL, 0, "it sent a text message");
    case HF_WEBSOCKET_CLOSE:
    case HF_WEBSOCKET_PING:
    case HF_WEBSOCKET_PONG:
        if (!is_final(reader) || (reader->head[1] & LENGTH) > HF_WEBSOCKET_CONTROL_BYTES)
            return refuse(error, "a control frame that is too long or in pieces");
        return 0;
    default:
        return refuse(error, "a frame of an unknown kind");
    }
}

/* The whole head is there: make room for what it announces. */
static int begin_payload(struct hf_websocket_reader *reader, struct hf_error *error)
{
    reader->rest = payload_length(reader);
    reader->in_payload = true;
    if (is_control(reader)) {
        reader->control_size = 0;
        return 0;
    }
    if (reader->rest > reader->limit || reader->message.size > reader->limit - reader->rest)
        return hf_error_set(error, HF_ERR_LIMIT, 0, "it sent a frame over %zu bytes",
                            reader->limit);
    reader->fragmented = !is_final(reader);
    if (hf_buf_reserve(&reader->message, (size_t)reader->rest))
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "out of memory");
    return 0;
}

static int take_head(struct hf_websocket_reader *reader, struct hf_bytes *in,
                     struct hf_error *error)
{
    while (in->size > 0 && reader->head_size < head_length(reader)) {
        reader->head[reader->head_size++] = *in->data++;
        in->size--;
        int result = reader->head_size == 2 ? check_head(reader, error) : 0;
        if (result)
            return result;
    }
    if (reader->head_size < 2 || reader->head_size < head_length(reader))
        return 0;
    return begin_payload(reader, error);
}

static int take_payload(struct hf_websocket_reader *reader, struct hf_bytes *in,
                        struct hf_error *error)
{
    size_t size = in->size < reader->rest ? in->size : (size_t)reader->rest;
    if (is_control(reader)) { /* check_head saw to its length */
        memcpy(reader->control + reader->control_size, in->data, size);
        reader->control_size += size;
    } else if (size > 0 && hf_buf_append(&reader->message, in->data, size)) {
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "out of memory");
    }
    in->data += size;
    in->size -= size;
    reader->rest -= size;
    return 0;
}

static int finish_frame(struct hf_websocket_reader *reader, enum hf_websocket_event *event,
                        struct hf_error *error)
{
    reader->in_payload = false;
    reader->head_size = 0;
    switch (opcode_of(reader)) {
    case HF_WEBSOCKET_PING:
        *event = HF_WEBSOCKET_PINGED;
        return 0;
    case HF_WEBSOCKET_PONG:
        *event = HF_WEBSOCKET_PONGED;
        return 0;
    case HF_WEBSOCKET_CLOSE:
        *event = HF_WEBSOCKET_CLOSED;
        return reader->control_size == 1 ? refuse(error, "half a reason to close") : 0;
    default:
        if (is_final(reader))
            *event = HF_WEBSOCKET_MESSAGE;
        return 0;
    }
}

int websocket_take(struct hf_websocket_reader *reader, struct hf_bytes *in,
                   enum hf_websocket_event *event, struct hf_error *error)
{
    *event = HF_WEBSOCKET_NOTHING;
    if (reader->broken)
        return hf_error_set(error, HF_ERR_PROTOCOL, 0, "the session is broken already");
    while (*event == HF_WEBSOCKET_NOTHING && in->size > 0) {
        int result = 0;
        if (!reader->in_payload)
            result = take_head(reader, in, error);
        if (!result && reader->in_payload)
            result = take_payload(reader, in, error);
        if (!result && reader->in_payload && reader->rest == 0)
            result = finish_frame(reader, event, error);
        if (result) {
            reader->broken = true;
            *event = HF_WEBSOCKET_NOTHING;
            return result;
        }
    }
    return 0;
}

void websocket_reset(struct hf_websocket_reader *reader)
{
    size_t limit = reader->limit;
    hf_buf_free(&reader->message);
    *reader = (struct hf_websocket_reader){.limit = limit};
}
