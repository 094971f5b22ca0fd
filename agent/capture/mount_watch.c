#include "agent/capture/mount_watch.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct seen {
    uint64_t mounts; /* a hash over those that matter */
    bool changed;
};

struct hf_mount_watch {
    const struct hf_config *config;
    FILE *file;
    bool read;         /* once at least */
    struct seen *seen; /* one a source */
};

struct hf_mount_watch *mount_watch_new(const struct hf_config *config)
{
    struct hf_mount_watch *mounts = calloc(1, sizeof *mounts);
    if (!mounts || !(mounts->seen = calloc(config->source_count + 1, sizeof *mounts->seen))) {
        free(mounts);
        return NULL;
    }
    mounts->config = config;
    mounts->file = fopen("/proc/self/mountinfo", "re");
    mount_watch_read(mounts);
    return mounts;
}

void mount_watch_free(struct hf_mount_watch *mounts)
{
    if (mounts) {
        if (mounts->file) {
            fclose(mounts->file);
        }
        free(mounts->seen);
        free(mounts);
    }
}

int mount_watch_fd(const struct hf_mount_watch *mounts)
{
    return mounts->file ? fileno(mounts->file) : -1;
}

/* Blanks and such come as \040. */
static void unescape(char *text)
{
    char *to = text;
    for (const char *from = text; *from; to++) {
        bool octal = from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] >= '0' &&
                     from[2] <= '7' && from[3] >= '0' && from[3] <= '7';
        unsigned code = octal ? (unsigned)(from[1] - '0') * 64 + (unsigned)(from[2] - '0') * 8 +
                                    (unsigned)(from[3] - '0')
                              : (unsigned char)*from;
        *(unsigned char *)to = (unsigned char)code;
        from += octal ? 4 : 1;
    }
    *to = '\0';
}

static bool is_beneath(const char *path, const char *above)
{
    size_t length = strlen(above);
    while (length > 0 && above[length - 1] == '/') {
        length--;
    }
    return strncmp(path, above, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

static bool matters_to(const struct hf_config_source *source, const char *point)
{
    for (size_t i = 0; i < source->path_count; i++) {
        if (is_beneath(source->paths[i], point) || is_beneath(point, source->paths[i])) {
            return true;
        }
    }
    return false;
}

static uint64_t add_to(uint64_t hash, const char *text)
{
    for (const char *p = text; *p; p++) {
        hash = (hash ^ (uint8_t)*p) * 1099511628211u; /* FNV-1a */
    }
    return (hash ^ 0xff) * 1099511628211u;
}

/* "36 35 98:0 /root /mnt/point rw,noatime master:1 - ext3 /dev/root rw,errors=continue": proc(5).
 * Which mount it is, of which device and which directory there, and where; not how. */
static void take_line(struct hf_mount_watch *mounts, char *line, uint64_t *hashes)
{
    char *words[5];
    char *rest = line;
    for (size_t i = 0; i < 5; i++) {
        words[i] = strsep(&rest, " \n");
        if (!words[i]) {
            return;
        }
    }
    unescape(words[4]);
    for (size_t i = 0; i < mounts->config->source_count; i++) {
        if (matters_to(&mounts->config->sources[i], words[4])) {
            for (size_t j = 0; j < 5; j++) {
                hashes[i] = j == 1 ? hashes[i] : add_to(hashes[i], words[j]);
            }
        }
    }
}

void mount_watch_read(struct hf_mount_watch *mounts)
{
    size_t count = mounts->config->source_count;
    uint64_t *hashes = mounts->file ? calloc(count + 1, sizeof *hashes) : NULL;
    char *line = NULL;
    size_t size = 0;
    if (!hashes) {
        return;
    }
    rewind(mounts->file);
    while (getline(&line, &size, mounts->file) > 0) {
        take_line(mounts, line, hashes);
    }
    for (size_t i = 0; i < count; i++) {
        struct seen *seen = &mounts->seen[i];
        seen->changed = seen->changed || (mounts->read && seen->mounts != hashes[i]);
        seen->mounts = hashes[i];
    }
    mounts->read = true;
    free(line);
    free(hashes);
}

bool mount_watch_changed(struct hf_mount_watch *mounts, size_t source)
{
    bool changed = mounts->seen[source].changed;
    mounts->seen[source].changed = false;
    return changed;
}
