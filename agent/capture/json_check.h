/* Is a text JSON (RFC 8259, in UTF-8, one value of any type)? It comes in pieces; the memory that
 * the answer takes is bounded, whatever the text. */
#ifndef HF_AGENT_CAPTURE_JSON_CHECK_H
#define HF_AGENT_CAPTURE_JSON_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hf_json_check;

/* NULL: no memory. */
struct hf_json_check *json_check_new(void);
void json_check_free(struct hf_json_check *check); /* NULL is fine */

/* The next piece of the text. */
void json_check_feed(struct hf_json_check *check, const uint8_t *data, size_t size);
/* After the last piece. A text that can't be judged within the memory (a string of megabytes,
 * thousands of open brackets) gets the benefit of the doubt: true. */
bool json_check_end(struct hf_json_check *check);

#endif
