/* A host's capture at work, and a collector that takes all it gets: two sources, data and other. */
#ifndef HF_TESTS_CAPTURE_SCENE_H
#define HF_TESTS_CAPTURE_SCENE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/capture/capture.h"
#include "common/clock.h"

#define PATIENCE_NS (60 * HF_NS_PER_SECOND)
#define MTIME_NS    (INT64_C(1700000000) * HF_NS_PER_SECOND) /* of restored files */

enum { DATA, OTHER, SOURCES };

struct scene {
    char directory[64], state[80], roots[SOURCES][80];
    char *paths[SOURCES];
    struct hf_config_source sources[SOURCES];
    struct hf_config config;
    struct hf_outbox *outbox;
    struct hf_capture *capture;
    /* What left the outbox: versions, of those of directories, and of those deletions; versions of
     * a source's file "f". */
    unsigned versions[SOURCES], directories[SOURCES], gone[SOURCES], unparsable[SOURCES];
    unsigned seen[SOURCES], deletions[SOURCES];
    uint32_t flags[SOURCES];
    uint64_t job[SOURCES];
    struct hf_unit *newest[SOURCES]; /* the last of them, alone */
    uint64_t acked[SOURCES];
};

static const uint8_t scene_chunking[HF_CHUNK_SEED_BYTES] = "what the scene's collector says";

/* On a connection: what is said first, then the sources. */
static inline void scene_connect(struct scene *scene)
{
    capture_set_chunking(scene->capture, scene_chunking);
    for (size_t i = 0; i < SOURCES; i++) {
        assert_int_equal(outbox_online(scene->outbox, i, scene->acked[i], 0), HF_OUTBOX_RESUME);
    }
}

static inline int setup_of_kind(void **state, char *kind)
{
    struct scene *scene = calloc(1, sizeof *scene);
    struct hf_error error = {0};
    static char *const names[] = {"data", "other"};
    strcpy(scene->directory, "/tmp/holdfast-order-XXXXXX");
    assert_non_null(mkdtemp(scene->directory));
    snprintf(scene->state, sizeof scene->state, "%s/state", scene->directory);
    assert_int_equal(mkdir(scene->state, 0700), 0);
    for (size_t i = 0; i < SOURCES; i++) {
        snprintf(scene->roots[i], sizeof scene->roots[i], "%s/%s", scene->directory, names[i]);
        assert_int_equal(mkdir(scene->roots[i], 0700), 0);
        scene->paths[i] = scene->roots[i];
        scene->sources[i] = (struct hf_config_source){.name = names[i],
                                                      .kind = kind,
                                                      .class_name = "config",
                                                      .paths = &scene->paths[i],
                                                      .path_count = 1,
                                                      .debounce_ns = HF_NS_PER_MS,
                                                      .rescan_ns = 3600 * HF_NS_PER_SECOND,
                                                      .verify_ns = 3600 * HF_NS_PER_SECOND};
    }
    scene->config = (struct hf_config){.state = scene->state,
                                       .spool_max_bytes = 1 << 20,
                                       .mark_interval_ns = 100 * HF_NS_PER_MS,
                                       .sources = scene->sources,
                                       .source_count = SOURCES};
    assert_int_equal(outbox_open(&scene->config, &scene->outbox, &error), HF_OK);
    assert_int_equal(capture_start(&scene->config, scene->outbox, &scene->capture, &error), HF_OK);
    *state = scene;
    return 0;
}

static inline int setup_unconnected(void **state)
{
    return setup_of_kind(state, HF_KIND_FILES);
}

static inline int setup_kind(void **state, char *kind)
{
    int failed = setup_of_kind(state, kind);
    scene_connect(*state);
    return failed;
}

static inline int setup(void **state)
{
    return setup_kind(state, HF_KIND_FILES);
}

static inline int remove_one(const char *path, const struct stat *status, int kind,
                             struct FTW *where)
{
    (void)status;
    (void)kind;
    (void)where;
    return remove(path);
}

static inline int teardown(void **state)
{
    struct scene *scene = *state;
    capture_free(scene->capture);
    outbox_free(scene->outbox);
    unit_free(scene->newest[DATA]);
    unit_free(scene->newest[OTHER]);
    assert_int_equal(nftw(scene->directory, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
    free(scene);
    return 0;
}

/* As a collector that stores and acknowledges everything. */
static inline void pump(struct scene *scene)
{
    const struct hf_unit *unit;
    while ((unit = outbox_take(scene->outbox))) {
        size_t source = unit->source;
        uint64_t last = 0;
        for (size_t i = 0; i < unit->version_count; i++) {
            const struct hf_version *version = &unit->versions[i];
            last = version->seq;
            scene->versions[source]++;
            scene->unparsable[source] += (version->flags & HF_VERSION_UNPARSABLE) != 0;
            scene->directories[source] += version->type == HF_FILE_DIRECTORY;
            scene->gone[source] += version->type == HF_FILE_ABSENT;
            if (version->path.size > 2 &&
                memcmp(version->path.data + version->path.size - 2, "/f", 2) == 0) {
                scene->seen[source]++;
                scene->deletions[source] += version->type == HF_FILE_ABSENT;
                scene->flags[source] = version->flags;
                scene->job[source] = version->job;
                unit_free(scene->newest[source]);
                scene->newest[source] = unit_new(source);
                assert_int_equal(unit_add_version(scene->newest[source], version), HF_OK);
            }
        }
        outbox_sent(scene->outbox, unit);
        if (last > 0) {
            outbox_acked(scene->outbox, source, last);
            scene->acked[source] = last;
        }
    }
}

static inline void wait_for(struct scene *scene, size_t source, unsigned count)
{
    int64_t end_ns = hf_clock_monotonic_ns() + PATIENCE_NS;
    while (scene->seen[source] < count) {
        assert_true(hf_clock_monotonic_ns() < end_ns);
        pump(scene);
        usleep(500);
    }
}

static inline void mark_done(void *context)
{
    atomic_store((atomic_bool *)context, true);
}

/* As a restore that writes there does before it begins. */
static inline void flush_for(struct scene *scene, const struct hf_capture_area *area)
{
    atomic_bool done = false;
    int64_t end_ns = hf_clock_monotonic_ns() + PATIENCE_NS;
    capture_flush(scene->capture, area, mark_done, &done);
    while (!atomic_load(&done)) {
        assert_true(hf_clock_monotonic_ns() < end_ns);
        pump(scene);
        usleep(500);
    }
}

static inline void flush(struct scene *scene)
{
    flush_for(scene, NULL);
}

/* At once: nobody sees it half written. */
static inline void write_file(struct scene *scene, size_t source, const char *content,
                              int64_t mtime_ns)
{
    char path[120], new_path[120];
    snprintf(path, sizeof path, "%s/f", scene->roots[source]);
    snprintf(new_path, sizeof new_path, "%s/new", scene->directory);
    int fd = open(new_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, strlen(content)), (ssize_t)strlen(content));
    if (mtime_ns > 0) {
        struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
                                    {.tv_sec = mtime_ns / HF_NS_PER_SECOND}};
        assert_int_equal(futimens(fd, times), 0);
    }
    close(fd);
    assert_int_equal(rename(new_path, path), 0);
}

/* All of a source. */
#define AREA(scene, source)                                                                        \
    &(struct hf_capture_area)                                                                      \
    {                                                                                              \
        .roots = (const char *const *)&(scene)->paths[source], .root_count = 1                     \
    }

#endif
