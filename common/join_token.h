/* Enrolment tokens: one string with everything that a host needs to join.
 *
 *     hf1.<where>.<id>.<secret>
 *
 * where: base64url of "ENROL\nAGENTS\n" and the 32 bytes of the root certificate's SHA-256
 * fingerprint, ENROL and AGENTS being "host:port" of the enrolment and the agents' listener; id: 16
 * hexadecimal digits; secret: base64url of 32 random bytes. The collector stores only the secret's
 * SHA-256. */
#ifndef HF_COMMON_JOIN_TOKEN_H
#define HF_COMMON_JOIN_TOKEN_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/error.h"
#include "common/hash.h"

#define HF_JOIN_SECRET_BYTES 32

struct hf_join_token {
    char enrol_address[280]; /* "host:port", "[::1]:port" */
    char agents_address[280];
    uint8_t ca_fingerprint[HF_HASH_BYTES];
    char id[32];
    uint8_t secret[HF_JOIN_SECRET_BYTES];
};

/* Append the string, NUL-terminated. */
int join_token_format(const struct hf_join_token *token, struct hf_buf *out);
/* White space around it is ignored. HF_ERR_INVALID for anything else. Wipe *out after use. */
int join_token_parse(const char *text, struct hf_join_token *out, struct hf_error *error);
/* Split "host:port" or "[address]:port". */
int join_address_split(const char *address, char host[256], uint16_t *port, struct hf_error *error);

#endif
