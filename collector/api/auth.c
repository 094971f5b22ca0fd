/* Who asks: bearer tokens, and patience with addresses that guess. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "collector/api/call.h"
#include "common/bytes.h"
#include "common/clock.h"
#include "common/hash.h"

#define FAILURES_MAX   10
#define WINDOW_NS      (60 * HF_NS_PER_SECOND)
#define ADDRESSES_MAX  4096 /* direct-mapped: what collides takes the older one's place */
#define SECRET_BYTES_MAX 128

struct failures {
    char peer[64];
    int64_t since_ns;
    unsigned count;
};

struct api_limiter {
    pthread_mutex_t lock; /* protects slots */
    struct failures slots[ADDRESSES_MAX];
};

struct api_limiter *limiter_new(void)
{
    struct api_limiter *limiter = calloc(1, sizeof *limiter);
    if (limiter) {
        pthread_mutex_init(&limiter->lock, NULL);
    }
    return limiter;
}

void limiter_free(struct api_limiter *limiter)
{
    if (limiter) {
        pthread_mutex_destroy(&limiter->lock);
        free(limiter);
    }
}

static struct failures *slot_of(struct api_limiter *limiter, const char *peer)
{
    uint8_t hash[HF_HASH_BYTES];
    hf_sha256(peer, strlen(peer), hash);
    return &limiter->slots[hf_get_le32(hash) % ADDRESSES_MAX];
}

/* Seconds the address has to wait, 0 for none. */
static uint32_t limiter_wait(struct api_limiter *limiter, const char *peer)
{
    int64_t now = hf_clock_monotonic_ns();
    uint32_t wait = 0;
    pthread_mutex_lock(&limiter->lock);
    const struct failures *slot = slot_of(limiter, peer);
    if (strcmp(slot->peer, peer) == 0 && slot->count >= FAILURES_MAX &&
        now - slot->since_ns < WINDOW_NS) {
        wait = (uint32_t)((WINDOW_NS - (now - slot->since_ns)) / HF_NS_PER_SECOND) + 1;
    }
    pthread_mutex_unlock(&limiter->lock);
    return wait;
}

static void limiter_count_failure(struct api_limiter *limiter, const char *peer)
{
    int64_t now = hf_clock_monotonic_ns();
    pthread_mutex_lock(&limiter->lock);
    struct failures *slot = slot_of(limiter, peer);
    if (strcmp(slot->peer, peer) != 0 || now - slot->since_ns >= WINDOW_NS) {
        *slot = (struct failures){.since_ns = now};
        strncpy(slot->peer, peer, sizeof slot->peer - 1);
    }
    slot->count++;
    pthread_mutex_unlock(&limiter->lock);
}

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
    uint32_t wait = limiter_wait(call->api->limiter, peer);
    if (wait > 0) {
        call_refuse(call, 429, "too-many-failures", "Wait, then use a token that is valid",
                    "Too many requests from %s had a wrong token", peer);
        call->response->retry_after_s = wait;
        return false;
    }
    if (!parse_bearer(call->request->authorization, id, secret_hash) ||
        catalog_token_by_id(call->catalog, id, &call->memory, &token, &call->error) != HF_OK ||
        !valid(&token, secret_hash)) {
        limiter_count_failure(call->api->limiter, peer);
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
