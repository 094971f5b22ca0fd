/* The numbers of a device node, as text: "MAJOR:MINOR", both decimal. */
#ifndef HF_COMMON_DEVICE_H
#define HF_COMMON_DEVICE_H

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "common/buf.h"

/* What Linux has room for (include/linux/kdev_t.h): 12 bits and 20. */
#define HF_DEVICE_MAJOR_MAX  0xfffu
#define HF_DEVICE_MINOR_MAX  0xfffffu
#define HF_DEVICE_TEXT_BYTES 24

/* With a terminating NUL. */
void hf_device_format(dev_t device, char out[HF_DEVICE_TEXT_BYTES]);
/* False for everything that hf_device_format doesn't write of a device of Linux; *out stays as it
 * is then. */
bool hf_device_parse(struct hf_bytes text, dev_t *out);
/* Whether it is a device node of this kind (S_IFCHR, S_IFBLK) with these numbers. */
bool hf_device_is(const struct stat *status, mode_t kind, struct hf_bytes numbers);

#endif
