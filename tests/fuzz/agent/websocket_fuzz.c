/* The WebSocket's reader and the parser of the answer to its opening: no input may crash them, leak
 * or be read past its end, and what comes in means the same wherever it is cut. The first byte says
 * which (odd: the answer) and how far a message may go, the second and third the sizes of pieces.
 */
#include <stdlib.h>
#include <string.h>

#include "agent/session/websocket.h"
#include "common/error.h"

#define HEAD_BYTES 3u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void note(struct hf_buf *story, const void *data, size_t size)
{
    require(hf_buf_append(story, data, size) == 0);
}

/* A copy, so that reading past the piece is reading past what was allocated. */
static int take_piece(struct hf_websocket_reader *reader, const uint8_t *data, size_t size,
                      struct hf_buf *story)
{
    uint8_t *copy = malloc(size);
    require(copy != NULL);
    memcpy(copy, data, size);
    struct hf_bytes in = {copy, size};
    struct hf_error error = {0};
    enum hf_websocket_event event;
    int result;
    while (!(result = websocket_take(reader, &in, &event, &error)) && event) {
        uint8_t kind = (uint8_t)event;
        const struct hf_buf *message = &reader->message;
        bool whole = event == HF_WEBSOCKET_MESSAGE;
        size_t length = whole ? message->size : reader->control_size;
        require(length <= (whole ? reader->limit : HF_WEBSOCKET_CONTROL_BYTES));
        note(story, &kind, 1);
        note(story, &length, sizeof(length));
        note(story, whole ? message->data : reader->control, length);
        if (whole)
            hf_buf_clear(&reader->message);
    }
    require(result ? error.message[0] != '\0' : in.size == 0);
    require(reader->message.size <= reader->limit);
    free(copy);
    return result;
}

static int take(const uint8_t *data, size_t size, const size_t pieces[2], size_t limit,
                struct hf_buf *story)
{
    struct hf_websocket_reader reader = {.limit = limit};
    int result = 0;
    for (size_t at = 0, i = 0; at < size && !result; i++) {
        size_t piece = pieces[i % 2] < size - at ? pieces[i % 2] : size - at;
        result = take_piece(&reader, data + at, piece, story);
        at += piece;
    }
    if (result) /* and it stays */
        require(take_piece(&reader, data, size, story) == HF_ERR_PROTOCOL);
    websocket_reset(&reader);
    return result;
}

static int respond(const uint8_t *data, size_t size, size_t *used)
{
    uint8_t *copy = malloc(size ? size : 1);
    struct hf_error error = {0};
    require(copy != NULL);
    if (size > 0)
        memcpy(copy, data, size);
    *used = 0;
    int result = websocket_response((struct hf_bytes){copy, size},
                                    "dGhlIHNhbXBsZSBub25jZQ==", "holdfast", used, &error);
    require(result == 0 || result == HF_ERR_AGAIN || result == HF_ERR_PROTOCOL);
    require(*used <= size && (*used > 0) == (result == 0));
    require(result != HF_ERR_PROTOCOL || error.message[0] != '\0');
    free(copy);
    return result;
}

/* Piece by piece, until it says something else than that more is needed. */
static void check_response(const uint8_t *data, size_t size, const size_t pieces[2])
{
    size_t used, used_whole, at = 0;
    int whole = respond(data, size, &used_whole), result = HF_ERR_AGAIN;
    for (size_t i = 0; at < size && result == HF_ERR_AGAIN; i++) {
        size_t piece = pieces[i % 2] < size - at ? pieces[i % 2] : size - at;
        at += piece;
        result = respond(data, at, &used);
    }
    if (size > 0)
        require(result == whole && (result || used == used_whole));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < HEAD_BYTES)
        return 0;
    const size_t pieces[2] = {data[1] + 1u, data[2] + 1u};
    size_t limit = (size_t)data[0] * 64;
    bool response = data[0] & 1;
    data += HEAD_BYTES;
    size -= HEAD_BYTES;
    if (response) {
        check_response(data, size, pieces);
        return 0;
    }
    struct hf_buf whole = {0}, parts = {0};
    int result = take(data, size, (const size_t[2]){size, size}, limit, &whole);
    require(take(data, size, pieces, limit, &parts) == result);
    require(whole.size == parts.size &&
            (!whole.size || !memcmp(whole.data, parts.data, whole.size)));
    hf_buf_free(&whole);
    hf_buf_free(&parts);
    return 0;
}
