/* Quiet hours: when the host wants to be left in peace. Plain data.
 *
 * They go by the clock on the host's wall: it is quiet while that reads what lies in a span. In the
 * night in which it is set forward, what it never reads is left out; when it is set back, what it
 * reads twice is quiet twice. */
#ifndef HF_AGENT_CONFIG_QUIET_H
#define HF_AGENT_CONFIG_QUIET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

struct hf_quiet_span {
    uint8_t days;              /* on which it begins: bit 0 Sunday ... bit 6 Saturday, as tm_wday */
    uint16_t from_min, to_min; /* of the day, 0 to 1440; to <= from: of the next day */
};

struct hf_quiet {
    struct hf_quiet_span *spans;
    size_t count;
};

/* "09:00-17:30", "mon-fri 09:00-17:30", "sat,sun 00:00-24:00", "fri 22:00-06:00" (until Saturday
 * morning). HF_ERR_INVALID with what was expected. */
int quiet_parse(const char *text, struct hf_quiet_span *out, struct hf_error *error);
#define HF_QUIET_TEXT_BYTES 64
/* As it is parsed. */
void quiet_text(const struct hf_quiet_span *span, char out[HF_QUIET_TEXT_BYTES]);
/* Whether no minute of the week is left. */
bool quiet_is_always(const struct hf_quiet *quiet);
/* Whether it is quiet at that moment, in the zone of this process. *change_ns: the first moment at
 * which it will not be so any more; INT64_MAX when it never changes. Looks ahead minute by minute,
 * which takes some milliseconds: ask again only then, or when the clock was set. */
bool quiet_at(const struct hf_quiet *quiet, int64_t now_ns, int64_t *change_ns);
/* "17:30", or "Mon 09:00" when that is not the day of now. */
void quiet_end_text(int64_t now_ns, int64_t end_ns, char out[HF_QUIET_TEXT_BYTES]);

#endif
