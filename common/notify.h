/* What a service tells systemd: the sd_notify(3) protocol, spoken by hand because it is one
 * datagram to the socket that $NOTIFY_SOCKET names. Without that variable every call does
 * nothing, so that the same program runs from a shell. Safe from any thread. */
#ifndef HF_COMMON_NOTIFY_H
#define HF_COMMON_NOTIFY_H

#include <stdint.h>

#include "common/error.h"

/* Send state, "READY=1" or several assignments one a line, to the service manager. 0 also when
 * there is none; HF_ERR_INVALID for a $NOTIFY_SOCKET that is no socket's name, HF_ERR_IO with
 * the reason when it can't be reached. Doesn't block. */
int hf_notify(const char *state, struct hf_error *error);

/* How often the manager expects "WATCHDOG=1" of this process, in nanoseconds; 0 for never.
 * Send it at half that time. From $WATCHDOG_USEC, valid only if $WATCHDOG_PID names us. */
int64_t hf_notify_watchdog_ns(void);

#endif
