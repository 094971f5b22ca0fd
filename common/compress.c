#include "common/compress.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <zstd.h>

#include "common/bytes.h"

#define PROBE_BYTES    4096u
#define PROBE_FROM     65536u /* below this a probe costs more than it saves */
#define WINDOW_LOG_MAX 23     /* 8 MiB: far above any chunk, far below a bomb */

struct hf_compressor {
    ZSTD_CCtx *context;
};

struct hf_decompressor {
    ZSTD_DCtx *context;
};

struct hf_compressor *hf_compressor_new(int level)
{
    struct hf_compressor *compressor = calloc(1, sizeof *compressor);
    if (!compressor) {
        return NULL;
    }
    compressor->context = ZSTD_createCCtx();
    if (!compressor->context ||
        ZSTD_isError(ZSTD_CCtx_setParameter(compressor->context, ZSTD_c_compressionLevel, level)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(compressor->context, ZSTD_c_contentSizeFlag, 1))) {
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

static bool probe_says_no(struct hf_compressor *compressor, const uint8_t *data, size_t size)
{
    uint8_t scratch[PROBE_BYTES];
    if (size < PROBE_FROM) {
        return false;
    }
    /* From the middle: headers of incompressible formats often shrink. */
    const uint8_t *sample = data + size / 2 - PROBE_BYTES / 2;
    size_t got =
        ZSTD_compress2(compressor->context, scratch, worthwhile(PROBE_BYTES), sample, PROBE_BYTES);
    return ZSTD_isError(got) != 0;
}

int hf_compress(struct hf_compressor *compressor, const uint8_t *data, size_t size,
                struct hf_buf *out, enum hf_codec *codec)
{
    if (size == 0 || probe_says_no(compressor, data, size)) {
        return append_raw(data, size, out, codec);
    }
    int rc = hf_buf_reserve(out, size);
    if (rc != HF_OK) {
        return rc;
    }
    /* The room given is what makes it worthwhile: zstd stops when that isn't enough. */
    size_t got =
        ZSTD_compress2(compressor->context, out->data + out->size, worthwhile(size), data, size);
    if (ZSTD_isError(got)) {
        return append_raw(data, size, out, codec);
    }
    out->size += got;
    *codec = HF_CODEC_ZSTD;
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

void hf_decompressor_free(struct hf_decompressor *decompressor)
{
    if (decompressor) {
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

int hf_decompress(struct hf_decompressor *decompressor, enum hf_codec codec, const uint8_t *data,
                  size_t size, uint8_t *out, size_t plain_size)
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
    if (codec != HF_CODEC_ZSTD) {
        return HF_ERR_CORRUPT;
    }
    if (size < 4 || hf_get_le32(data) != ZSTD_MAGICNUMBER) {
        return HF_ERR_CORRUPT; /* a skippable frame would pass for empty content */
    }
    unsigned long long declared = ZSTD_getFrameContentSize(data, size);
    if (declared != plain_size || window_too_large(data, size) ||
        ZSTD_findFrameCompressedSize(data, size) != size) {
        return HF_ERR_CORRUPT; /* ERROR and UNKNOWN are numbers that no plain_size has */
    }
    size_t got = ZSTD_decompressDCtx(decompressor->context, out, plain_size, data, size);
    return ZSTD_isError(got) || got != plain_size ? HF_ERR_CORRUPT : HF_OK;
}
