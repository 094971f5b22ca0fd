#include "common/compress.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <zstd.h>

#include "common/bytes.h"
#include "common/dictionary_private.h"

#define PROBE_BYTES    4096u
#define PROBE_FROM     65536u /* below this a probe costs more than it saves */
#define WINDOW_LOG_MIN 10     /* RFC 8878: no window is smaller */
#define WINDOW_LOG_MAX 23     /* 8 MiB: far above any chunk, far below a bomb */

struct hf_compressor {
    ZSTD_CCtx *context;
    int level;
};

#define PREPARED 4 /* dictionaries kept: there is one a class */

/* A dictionary that was used, ready to be used again. */
struct prepared {
    uint64_t used; /* 0: free */
    struct hf_buf bytes;
    ZSTD_DDict *dictionary;
};

struct hf_decompressor {
    ZSTD_DCtx *context;
    struct prepared prepared[PREPARED];
    uint64_t clock;
};

bool hf_codec_is_known(unsigned codec)
{
    return codec <= HF_CODEC_LAST;
}

bool hf_codec_has_aid(enum hf_codec codec)
{
    return codec == HF_CODEC_DICTIONARY || codec == HF_CODEC_DELTA;
}

static ZSTD_CCtx *make_context(int level)
{
    ZSTD_CCtx *context = ZSTD_createCCtx();
    if (context && (ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level)) ||
                    ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 1)))) {
        ZSTD_freeCCtx(context);
        return NULL;
    }
    return context;
}

struct hf_compressor *hf_compressor_new(int level)
{
    struct hf_compressor *compressor = calloc(1, sizeof *compressor);
    if (!compressor) {
        return NULL;
    }
    compressor->level = level;
    compressor->context = make_context(level);
    if (!compressor->context) {
        hf_compressor_free(compressor);
        return NULL;
    }
    return compressor;
}

void hf_compressor_free(struct hf_compressor *compressor)
{
    if (compressor) {
        ZSTD_freeCCtx(compressor->context);
        free(compressor);
    }
}

void hf_compressor_rest(struct hf_compressor *compressor)
{
    ZSTD_CCtx *context = make_context(compressor->level); /* small until it has worked */
    if (context) {
        ZSTD_freeCCtx(compressor->context);
        compressor->context = context;
    }
}

void hf_compressor_set_level(struct hf_compressor *compressor, int level)
{
    compressor->level = level;
    /* Fails for no level: zstd clamps it. */
    ZSTD_CCtx_setParameter(compressor->context, ZSTD_c_compressionLevel, level);
}

/* As ZSTD_compress2; where what comes doesn't fit zstd takes settings only after a reset, and those
 * of one call would go on into the next. */
static size_t compress_fitting(ZSTD_CCtx *context, uint8_t *out, size_t room, const uint8_t *data,
                               size_t size)
{
    size_t got = ZSTD_compress2(context, out, room, data, size);
    if (ZSTD_isError(got)) {
        ZSTD_CCtx_reset(context, ZSTD_reset_session_only);
    }
    return got;
}

/* The most that size bytes may become: 3 % less, or it isn't worth the reader's time. */
static size_t worthwhile(size_t size)
{
    return size - size / 32 - 1;
}

static int append_raw(const uint8_t *data, size_t size, struct hf_buf *out, enum hf_codec *codec)
{
    *codec = HF_CODEC_RAW;
    return hf_buf_append(out, data, size);
}

bool hf_is_incompressible(struct hf_compressor *compressor, const uint8_t *data, size_t size)
{
    static const unsigned eighths[] = {4, 2, 6};
    uint8_t scratch[PROBE_BYTES];
    bool shrinks = size < PROBE_FROM;
    /* From the middle: headers of incompressible formats often shrink. From elsewhere too before it
     * is believed, for a picture may lie within text. */
    for (size_t i = 0; !shrinks && i < sizeof eighths / sizeof eighths[0]; i++) {
        const uint8_t *sample = data + size / 8 * eighths[i] - PROBE_BYTES / 2;
        size_t got = compress_fitting(compressor->context, scratch, worthwhile(PROBE_BYTES), sample,
                                      PROBE_BYTES);
        shrinks = !ZSTD_isError(got);
    }
    return !shrinks;
}

int hf_compress(struct hf_compressor *compressor, const uint8_t *data, size_t size,
                struct hf_buf *out, enum hf_codec *codec)
{
    if (size == 0 || hf_is_incompressible(compressor, data, size)) {
        return append_raw(data, size, out, codec);
    }
    int rc = hf_buf_reserve(out, size);
    if (rc != HF_OK) {
        return rc;
    }
    /* The room given is what makes it worthwhile: zstd stops when that isn't enough. */
    size_t got =
        compress_fitting(compressor->context, out->data + out->size, worthwhile(size), data, size);
    if (ZSTD_isError(got)) {
        return append_raw(data, size, out, codec);
    }
    out->size += got;
    *codec = HF_CODEC_ZSTD;
    return HF_OK;
}

int hf_compress_dictionary(struct hf_compressor *compressor, const struct hf_dictionary *dictionary,
                           const uint8_t *data, size_t size, size_t limit, struct hf_buf *out)
{
    size_t room = limit < size ? limit : size;
    int rc = hf_buf_reserve(out, room);
    if (rc != HF_OK) {
        return rc;
    }
    ZSTD_CCtx *context = compressor->context;
    size_t got = ZSTD_CCtx_refCDict(context, dictionary_of(dictionary));
    if (!ZSTD_isError(got)) {
        /* Which one it was the block says; four bytes more would be a lot of a small one. */
        ZSTD_CCtx_setParameter(context, ZSTD_c_dictIDFlag, 0);
        got = compress_fitting(context, out->data + out->size, room, data, size);
        ZSTD_CCtx_setParameter(context, ZSTD_c_dictIDFlag, 1);
    }
    ZSTD_CCtx_refCDict(context, NULL);
    if (ZSTD_isError(got) || got >= room) {
        return HF_ERR_LIMIT;
    }
    out->size += got;
    return HF_OK;
}

/* Base and content have to be within one window. */
static int window_log(size_t bytes)
{
    int log = WINDOW_LOG_MIN;
    while (log < WINDOW_LOG_MAX && ((size_t)1 << log) < bytes) {
        log++;
    }
    return log;
}

int hf_compress_delta(struct hf_compressor *compressor, struct hf_bytes base, const uint8_t *data,
                      size_t size, size_t limit, struct hf_buf *out)
{
    size_t room = limit < size ? limit : size;
    int rc = hf_buf_reserve(out, room);
    if (rc != HF_OK) {
        return rc;
    }
    ZSTD_CCtx *context = compressor->context;
    size_t got = ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, window_log(base.size + size));
    if (!ZSTD_isError(got)) {
        got = ZSTD_CCtx_refPrefix(context, base.data, base.size);
    }
    if (!ZSTD_isError(got)) {
        got = compress_fitting(context, out->data + out->size, room, data, size);
    }
    ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, 0); /* by the level again */
    ZSTD_CCtx_refPrefix(context, NULL, 0);
    if (ZSTD_isError(got) || got >= room) {
        return HF_ERR_LIMIT;
    }
    out->size += got;
    return HF_OK;
}

struct hf_decompressor *hf_decompressor_new(void)
{
    struct hf_decompressor *decompressor = calloc(1, sizeof *decompressor);
    if (!decompressor) {
        return NULL;
    }
    decompressor->context = ZSTD_createDCtx();
    if (!decompressor->context ||
        ZSTD_isError(
            ZSTD_DCtx_setParameter(decompressor->context, ZSTD_d_windowLogMax, WINDOW_LOG_MAX))) {
        hf_decompressor_free(decompressor);
        return NULL;
    }
    return decompressor;
}

static void forget_prepared(struct prepared *prepared)
{
    ZSTD_freeDDict(prepared->dictionary);
    hf_buf_free(&prepared->bytes);
    *prepared = (struct prepared){0};
}

void hf_decompressor_free(struct hf_decompressor *decompressor)
{
    if (decompressor) {
        for (size_t i = 0; i < PREPARED; i++) {
            forget_prepared(&decompressor->prepared[i]);
        }
        ZSTD_freeDCtx(decompressor->context);
        free(decompressor);
    }
}

/* Whether the frame asks for a window over the limit (RFC 8878, section 3.1.1.1.2: the exponent is
 * the descriptor's upper five bits, plus 10). ZSTD_d_windowLogMax binds only streaming calls. */
static bool window_too_large(const uint8_t *frame, size_t size)
{
    enum { DESCRIPTOR_AT = 4, WINDOW_AT = 5, SINGLE_SEGMENT = 0x20 };
    if (size <= WINDOW_AT || (frame[DESCRIPTOR_AT] & SINGLE_SEGMENT) != 0) {
        return false; /* no window but the content itself */
    }
    unsigned exponent = 10u + (frame[WINDOW_AT] >> 3);
    unsigned mantissa = frame[WINDOW_AT] & 7;
    return exponent > WINDOW_LOG_MAX || (exponent == WINDOW_LOG_MAX && mantissa > 0);
}

/* NULL when the bytes are no dictionary, or there is no memory. */
static const ZSTD_DDict *prepare(struct hf_decompressor *decompressor, struct hf_bytes bytes)
{
    struct prepared *oldest = &decompressor->prepared[0];
    if (!hf_dictionary_is_one(bytes)) {
        return NULL; /* zstd would take any bytes for a prefix */
    }
    for (size_t i = 0; i < PREPARED; i++) {
        struct prepared *prepared = &decompressor->prepared[i];
        if (prepared->used && prepared->bytes.size == bytes.size &&
            memcmp(prepared->bytes.data, bytes.data, bytes.size) == 0) {
            prepared->used = ++decompressor->clock;
            return prepared->dictionary;
        }
        oldest = prepared->used < oldest->used ? prepared : oldest;
    }
    forget_prepared(oldest);
    if (hf_buf_append(&oldest->bytes, bytes.data, bytes.size) != HF_OK) {
        return NULL;
    }
    oldest->dictionary = ZSTD_createDDict(bytes.data, bytes.size);
    oldest->used = oldest->dictionary ? ++decompressor->clock : 0;
    return oldest->dictionary;
}

static int decompress_with_dictionary(struct hf_decompressor *decompressor, struct hf_bytes aid,
                                      const uint8_t *data, size_t size, uint8_t *out,
                                      size_t plain_size)
{
    const ZSTD_DDict *dictionary = prepare(decompressor, aid);
    if (!dictionary) {
        return HF_ERR_CORRUPT;
    }
    size_t got =
        ZSTD_decompress_usingDDict(decompressor->context, out, plain_size, data, size, dictionary);
    return ZSTD_isError(got) || got != plain_size ? HF_ERR_CORRUPT : HF_OK;
}

int hf_decompress(struct hf_decompressor *decompressor, enum hf_codec codec, struct hf_bytes aid,
                  const uint8_t *data, size_t size, uint8_t *out, size_t plain_size)
{
    if (codec == HF_CODEC_RAW) {
        if (size != plain_size) {
            return HF_ERR_CORRUPT;
        }
        if (size > 0) {
            memcpy(out, data, size);
        }
        return HF_OK;
    }
    if (!hf_codec_is_known(codec) || size < 4 || hf_get_le32(data) != ZSTD_MAGICNUMBER) {
        return HF_ERR_CORRUPT; /* a skippable frame would pass for empty content */
    }
    unsigned long long declared = ZSTD_getFrameContentSize(data, size);
    if (declared != plain_size || window_too_large(data, size) ||
        ZSTD_findFrameCompressedSize(data, size) != size) {
        return HF_ERR_CORRUPT; /* ERROR and UNKNOWN are numbers that no plain_size has */
    }
    if (codec == HF_CODEC_DICTIONARY) {
        return decompress_with_dictionary(decompressor, aid, data, size, out, plain_size);
    }
    /* A prefix is for one frame; without one the reference is none. */
    bool delta = codec == HF_CODEC_DELTA;
    if (ZSTD_isError(ZSTD_DCtx_refPrefix(decompressor->context, delta ? aid.data : NULL,
                                         delta ? aid.size : 0))) {
        return HF_ERR_CORRUPT;
    }
    size_t got = ZSTD_decompressDCtx(decompressor->context, out, plain_size, data, size);
    return ZSTD_isError(got) || got != plain_size ? HF_ERR_CORRUPT : HF_OK;
}
