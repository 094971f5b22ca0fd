#include "common/device.h"

#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

void hf_device_format(dev_t device, char out[HF_DEVICE_TEXT_BYTES])
{
    snprintf(out, HF_DEVICE_TEXT_BYTES, "%u:%u", major(device), minor(device));
}

/* At most 8 digits of it are read, which can't overflow. */
static unsigned read_number(const struct hf_bytes *text, size_t *at)
{
    unsigned number = 0;
    for (size_t i = 0; i < 8 && *at < text->size; i++) {
        uint8_t c = text->data[*at];
        if (c < '0' || c > '9') {
            break;
        }
        number = number * 10 + (c - '0');
        (*at)++;
    }
    return number;
}

bool hf_device_parse(struct hf_bytes text, dev_t *out)
{
    char again[HF_DEVICE_TEXT_BYTES];
    size_t at = 0;
    unsigned first = read_number(&text, &at);
    if (at == text.size || text.data[at] != ':') {
        return false;
    }
    at++;
    unsigned second = read_number(&text, &at);
    if (first > HF_DEVICE_MAJOR_MAX || second > HF_DEVICE_MINOR_MAX) {
        return false;
    }
    dev_t device = makedev(first, second);
    hf_device_format(device, again);
    if (text.size != strlen(again) || memcmp(text.data, again, text.size) != 0) {
        return false;
    }
    *out = device;
    return true;
}

bool hf_device_is(const struct stat *status, mode_t kind, struct hf_bytes numbers)
{
    dev_t device;
    return (status->st_mode & S_IFMT) == kind && hf_device_parse(numbers, &device) &&
           status->st_rdev == device;
}
