#include "collector/session/hub.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/clock.h"
#include "common/hash.h"

#define BUCKETS           4096
#define AUDIT_INTERVAL_NS (60 * HF_NS_PER_SECOND)

/* Of a host that has, or in this run had, a session. */
struct entry {
    struct entry *next;
    char host_id[64];
    struct hf_session *session; /* loop thread only; NULL when offline */
    struct hf_hub_state state;
    unsigned connections; /* with or without a session */
    int64_t audited_ns;   /* monotonic; 0: never */
    uint64_t suppressed;
};

struct hf_hub {
    pthread_mutex_t lock; /* protects the entries but for `session` */
    struct entry *buckets[BUCKETS];
    uint64_t online;
    uint64_t refusals[HF_HUB_REASONS];
};

struct hf_hub *hub_new(void)
{
    struct hf_hub *hub = calloc(1, sizeof *hub);
    if (hub) {
        pthread_mutex_init(&hub->lock, NULL);
    }
    return hub;
}

void hub_free(struct hf_hub *hub)
{
    if (!hub) {
        return;
    }
    for (size_t i = 0; i < BUCKETS; i++) {
        while (hub->buckets[i]) {
            struct entry *entry = hub->buckets[i];
            hub->buckets[i] = entry->next;
            free(entry);
        }
    }
    pthread_mutex_destroy(&hub->lock);
    free(hub);
}

static size_t bucket_of(const char *host_id)
{
    uint8_t hash[HF_HASH_BYTES];
    hf_sha256(host_id, strlen(host_id), hash);
    return hf_get_le32(hash) % BUCKETS;
}

static struct entry *find(struct hf_hub *hub, const char *host_id)
{
    struct entry *entry = hub->buckets[bucket_of(host_id)];
    while (entry && strcmp(entry->host_id, host_id) != 0) {
        entry = entry->next;
    }
    return entry;
}

static struct entry *find_or_add(struct hf_hub *hub, const char *host_id)
{
    struct entry *entry = find(hub, host_id);
    if (!entry && (entry = calloc(1, sizeof *entry))) {
        size_t bucket = bucket_of(host_id);
        strncpy(entry->host_id, host_id, sizeof entry->host_id - 1);
        entry->next = hub->buckets[bucket];
        hub->buckets[bucket] = entry;
    }
    return entry;
}

void hub_state(struct hf_hub *hub, const char *host_id, struct hf_hub_state *out)
{
    pthread_mutex_lock(&hub->lock);
    const struct entry *entry = find(hub, host_id);
    *out = entry ? entry->state : (struct hf_hub_state){0};
    pthread_mutex_unlock(&hub->lock);
}

uint64_t hub_count(struct hf_hub *hub)
{
    pthread_mutex_lock(&hub->lock);
    uint64_t online = hub->online;
    pthread_mutex_unlock(&hub->lock);
    return online;
}

void hub_count_refusal(struct hf_hub *hub, unsigned reason)
{
    pthread_mutex_lock(&hub->lock);
    hub->refusals[reason < HF_HUB_REASONS ? reason : 0]++;
    pthread_mutex_unlock(&hub->lock);
}

bool hub_may_audit(struct hf_hub *hub, const char *host_id, uint64_t *suppressed)
{
    int64_t now_ns = hf_clock_monotonic_ns();
    pthread_mutex_lock(&hub->lock);
    struct entry *entry = find_or_add(hub, host_id);
    bool may = entry && (entry->audited_ns == 0 || now_ns - entry->audited_ns >= AUDIT_INTERVAL_NS);
    if (may) {
        *suppressed = entry->suppressed;
        entry->suppressed = 0;
        entry->audited_ns = now_ns;
    } else if (entry) {
        entry->suppressed++;
    }
    pthread_mutex_unlock(&hub->lock);
    return may;
}

void hub_refusals(struct hf_hub *hub, uint64_t out[HF_HUB_REASONS])
{
    pthread_mutex_lock(&hub->lock);
    memcpy(out, hub->refusals, sizeof hub->refusals);
    pthread_mutex_unlock(&hub->lock);
}

struct hf_session *hub_register(struct hf_hub *hub, const char *host_id, struct hf_session *session,
                                const char *address)
{
    pthread_mutex_lock(&hub->lock);
    struct entry *entry = find_or_add(hub, host_id);
    struct hf_session *other = entry ? entry->session : NULL;
    if (entry && !other) {
        entry->session = session;
        entry->state.online = true;
        entry->state.since_ns = hf_clock_now_ns();
        strncpy(entry->state.address, address, sizeof entry->state.address - 1);
        hub->online++;
    }
    pthread_mutex_unlock(&hub->lock);
    return other;
}

void hub_remove(struct hf_hub *hub, const char *host_id, const struct hf_session *session)
{
    pthread_mutex_lock(&hub->lock);
    struct entry *entry = find(hub, host_id);
    if (entry && entry->session == session) {
        entry->session = NULL;
        entry->state.online = false;
        entry->state.since_ns = 0;
        entry->state.address[0] = '\0';
        hub->online--;
    }
    pthread_mutex_unlock(&hub->lock);
}

void hub_connect(struct hf_hub *hub, const char *host_id, int change)
{
    pthread_mutex_lock(&hub->lock);
    struct entry *entry = find_or_add(hub, host_id);
    if (entry) {
        entry->connections += (unsigned)change;
    }
    pthread_mutex_unlock(&hub->lock);
}

unsigned hub_connections(struct hf_hub *hub, const char *host_id)
{
    pthread_mutex_lock(&hub->lock);
    const struct entry *entry = find(hub, host_id);
    unsigned connections = entry ? entry->connections : 0;
    pthread_mutex_unlock(&hub->lock);
    return connections;
}

void hub_note_duplicate(struct hf_hub *hub, const char *host_id)
{
    pthread_mutex_lock(&hub->lock);
    struct entry *entry = find_or_add(hub, host_id);
    if (entry) {
        entry->state.duplicates_refused++;
    }
    pthread_mutex_unlock(&hub->lock);
}

struct hf_session *hub_find(struct hf_hub *hub, const char *host_id)
{
    pthread_mutex_lock(&hub->lock);
    const struct entry *entry = find(hub, host_id);
    struct hf_session *session = entry ? entry->session : NULL;
    pthread_mutex_unlock(&hub->lock);
    return session;
}

void hub_each(struct hf_hub *hub, void (*fn)(struct hf_session *session, void *context),
              void *context)
{
    for (size_t i = 0; i < BUCKETS; i++) {
        /* Entries are never removed, and only this thread changes `session`. */
        for (struct entry *entry = hub->buckets[i]; entry; entry = entry->next) {
            if (entry->session) {
                fn(entry->session, context);
            }
        }
    }
}
