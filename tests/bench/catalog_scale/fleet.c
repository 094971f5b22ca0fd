#include "fleet.h"

#include <stdio.h>
#include <string.h>

#include "common/clock.h"

#define HOST_SHARE     10000u /* versions to a robot host */
#define SHARED_PART    10u    /* one version in so many is a shared file */
#define START_NS       INT64_C(1790000000000000000)
#define SPAN_NS        (INT64_C(30) * 86400 * HF_NS_PER_SECOND)
#define SHARED_PROJECT 20u /* directories of a project */

uint64_t fleet_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

void fleet_plan(struct fleet *fleet, uint64_t versions, uint64_t chunks, uint64_t hosts)
{
    fleet->versions = versions;
    fleet->chunks = chunks;
    fleet->hosts = hosts ? hosts : versions / HOST_SHARE ? versions / HOST_SHARE : 1;
    fleet->shared_files = versions / SHARED_PART;
}

uint64_t fleet_file_count(const struct fleet *fleet)
{
    return fleet->hosts * FLEET_FILES + fleet->shared_files;
}

const char *fleet_source_name(enum fleet_source source)
{
    static const char *const names[] = {"checkpoints", "config", "workflows", "credentials",
                                        "logs"};
    return names[source];
}

static size_t shared_path(uint64_t number, char out[FLEET_PATH_BYTES])
{
    uint64_t directory = number / FLEET_SHARED_DIR;
    return (size_t)snprintf(out, FLEET_PATH_BYTES,
                            "srv/share/projects/project-%04u/attachments-%02u/document-%08u.json",
                            (unsigned)(directory / SHARED_PROJECT),
                            (unsigned)(directory % SHARED_PROJECT), (unsigned)number);
}

static size_t robot_path(uint64_t host, unsigned index, enum fleet_source source,
                         char out[FLEET_PATH_BYTES])
{
    /* Workflows are the same on every robot. */
    uint64_t state = (source == FLEET_WORKFLOWS ? 0 : host) * FLEET_FILES + index;
    uint64_t a = fleet_random(&state);
    uint64_t b = fleet_random(&state);
    char uuid[40];
    snprintf(uuid, sizeof uuid, "%08x-%04x-%04x-%04x-%012llx", (unsigned)(a & 0xffffffff),
             (unsigned)(a >> 32 & 0xffff), (unsigned)(a >> 48), (unsigned)(b & 0xffff),
             (unsigned long long)(b >> 16));
    switch (source) {
    case FLEET_CHECKPOINT:
        return (size_t)snprintf(out, FLEET_PATH_BYTES,
                                "home/robot/.casare_rpa/checkpoints/agent_%s.json", uuid);
    case FLEET_CONFIG:
        return (size_t)snprintf(out, FLEET_PATH_BYTES,
                                "home/robot/.casare_rpa/robot_config_%u.yaml", index);
    case FLEET_WORKFLOWS:
        return (size_t)snprintf(out, FLEET_PATH_BYTES, "srv/casare/workflows/%s.json", uuid);
    case FLEET_CREDENTIALS:
        return (size_t)snprintf(out, FLEET_PATH_BYTES,
                                "home/robot/.local/share/CasareRPA/credentials/store-%u.enc",
                                index);
    default:
        return (size_t)snprintf(out, FLEET_PATH_BYTES,
                                "home/robot/.casare_rpa/logs/audit/audit_2026-11-%02u.jsonl",
                                index % 31);
    }
}

static enum fleet_source source_of(unsigned index)
{
    if (index < FLEET_CHECKPOINTS) {
        return FLEET_CHECKPOINT;
    }
    return index < 15   ? FLEET_CONFIG
           : index < 75 ? FLEET_WORKFLOWS
           : index < 79 ? FLEET_CREDENTIALS
                        : FLEET_LOGS;
}

void fleet_file(const struct fleet *fleet, uint64_t number, struct fleet_file *out)
{
    uint64_t host = number / FLEET_FILES;
    if (host >= fleet->hosts) {
        out->host_row = fleet->hosts + 1;
        out->source_row = fleet->hosts * FLEET_SOURCES + 1;
        out->source = FLEET_WORKFLOWS;
        out->path_size = shared_path(number - fleet->hosts * FLEET_FILES, out->path);
        return;
    }
    unsigned index = (unsigned)(number % FLEET_FILES);
    out->source = source_of(index);
    out->host_row = host + 1;
    out->source_row = host * FLEET_SOURCES + out->source + 1;
    out->path_size = robot_path(host, index, out->source, out->path);
}

size_t fleet_directory(const struct fleet_file *file)
{
    const char *end = memrchr(file->path, '/', file->path_size);
    return end ? (size_t)(end - file->path) : 0;
}

int64_t fleet_moment(const struct fleet *fleet, uint64_t version)
{
    uint64_t state = version;
    int64_t step = SPAN_NS / (int64_t)(fleet->versions + 1) + 1;
    return START_NS + (int64_t)version * step + (int64_t)(fleet_random(&state) % (uint64_t)step);
}

void fleet_chunk_id(uint64_t number, uint8_t out[HF_HASH_BYTES])
{
    uint64_t state = ~number * 4;
    for (size_t i = 0; i < HF_HASH_BYTES; i += sizeof(uint64_t)) {
        uint64_t part = fleet_random(&state);
        memcpy(out + i, &part, sizeof part);
    }
}
