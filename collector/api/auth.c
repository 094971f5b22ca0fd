/* Who asks: bearer tokens, and patience with addresses that guess. */
#include <string.h>

#include "collector/api/call.h"
#include "common/bytes.h"
#include "common/clock.h"
#include "common/hash.h"
#include "common/rate_limit.h"

#define SECRET_BYTES_MAX 128

/* "Bearer hfa.ID.SECRET" into id and the secret's hash. */
static bool parse_bearer(const char *header, char id[64], uint8_t secret_hash[HF_HASH_BYTES])
{
    if (strncmp(header, "Bearer hfa.", 11) != 0) {
        return false;
    }
    const char *start = header + 11;
    const char *dot = strchr(start, '.');
    if (!dot || dot == start || dot - start >= 64) {
        return false;
    }
    memcpy(id, start, (size_t)(dot - start));
    id[dot - start] = '\0';
    struct hf_buf secret = {0};
    size_t length = strlen(dot + 1);
    bool good = length > 0 && length <= SECRET_BYTES_MAX &&
                hf_base64url_decode(&secret, dot + 1, length) == HF_OK && secret.size >= 16;
    if (good) {
        hf_sha256(secret.data, secret.size, secret_hash);
    }
    hf_buf_wipe_free(&secret);
    return good;
}

static bool valid(const struct hf_token_row *token, const uint8_t secret_hash[HF_HASH_BYTES])
{
    bool secret_fits = hf_equal_secret(token->secret_hash, secret_hash, HF_HASH_BYTES);
    bool alive = token->kind == HF_TOKEN_API && token->revoked_ns == 0 &&
                 (token->expires_ns == 0 || hf_clock_now_ns() < token->expires_ns);
    return secret_fits && alive;
}

bool auth_check(struct api_call *call, enum hf_role needed)
{
    struct hf_token_row token = {0};
    char id[64];
    uint8_t secret_hash[HF_HASH_BYTES];
    const char *peer = call->request->peer;
    uint32_t wait = hf_rate_limit_wait(call->api->failures, peer);
    if (wait > 0) {
        call_refuse(call, 429, "too-many-failures", "Wait, then use a token that is valid",
                    "Too many requests from %s had a wrong token", peer);
        call->response->retry_after_s = wait;
        return false;
    }
    if (!parse_bearer(call->request->authorization, id, secret_hash) ||
        catalog_token_by_id(call->catalog, id, &call->memory, &token, &call->error) != HF_OK ||
        !valid(&token, secret_hash)) {
        hf_rate_limit_take(call->api->failures, peer);
        call_refuse(call, 401, "unauthenticated",
                    "An administrator makes one with 'holdfast token create --role ROLE'",
                    "The API token is missing, unknown, expired or revoked");
        return false;
    }
    snprintf(call->actor, sizeof call->actor, "token %s (%s)", token.token_id, token.name);
    call->role = token.role;
    if (token.role < needed) {
        call_refuse(call, 403, "denied", NULL, "This needs the role %s; the token has %s",
                    event_role_name(needed), event_role_name(token.role));
        return false;
    }
    return true;
}
