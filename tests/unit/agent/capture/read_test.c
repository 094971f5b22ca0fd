/* A file's content is captured as it was at one moment, or not at all; what is no file isn't read.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/capture/capture_private.h"
#include "common/bytes.h"
#include "common/chunker.h"
#include "common/clock.h"
#include "common/hash.h"
#include "common/log.h"
#include "common/sparse.h"
#include "tests/unit/common/scratch.h"

#define MIB (1024u * 1024u)

struct scene {
    struct scratch *scratch;
    char root[128], state_directory[128];
    char *paths[1];
    struct hf_config_source source;
    struct hf_config config;
    struct source_work work;
    struct hf_capture capture;
    struct hf_buf chunks; /* the data of all chunks that left, in their order */
    struct hf_buf ids;    /* and their references */
    /* Done once, when the first chunks of a file have left; NULL for nothing. */
    void (*meanwhile)(struct scene *scene);
    int fd;
    struct stat before;
    struct file_content content;
};

/* As a session that sends at once all that it gets. */
static void send_all(struct scene *scene)
{
    const struct hf_unit *unit;
    while ((unit = outbox_take(scene->capture.outbox))) {
        for (size_t i = 0; i < unit->chunk_count; i++) {
            const struct hf_unit_chunk *chunk = &unit->chunks[i];
            uint8_t size[4];
            assert_int_equal(chunk->codec, HF_CODEC_RAW);
            assert_int_equal(chunk->plain_size, chunk->data.size);
            hf_put_le32(size, chunk->plain_size);
            hf_buf_append(&scene->chunks, chunk->data.data, chunk->data.size);
            hf_buf_append(&scene->ids, chunk->id, HF_HASH_BYTES);
            hf_buf_append(&scene->ids, size, 4);
        }
        outbox_sent(scene->capture.outbox, unit);
    }
}

static void on_wake(void *context)
{
    struct scene *scene = context;
    void (*meanwhile)(struct scene *) = scene->meanwhile;
    scene->meanwhile = NULL;
    if (meanwhile) {
        meanwhile(scene);
    }
    send_all(scene);
}

static const uint8_t chunking[HF_CHUNK_SEED_BYTES] = "what this collector says";

static void scene_new(struct scene *scene, void **state)
{
    struct hf_error error = {0};
    *scene = (struct scene){.scratch = *state, .fd = -1};
    snprintf(scene->root, sizeof scene->root, "%s", scratch_at(scene->scratch, "root"));
    snprintf(scene->state_directory, sizeof scene->state_directory, "%s",
             scratch_at(scene->scratch, "state"));
    assert_int_equal(mkdir(scene->root, 0700), 0);
    assert_int_equal(mkdir(scene->state_directory, 0700), 0);
    scene->paths[0] = scene->root;
    scene->source = (struct hf_config_source){.name = "data",
                                              .kind = "files",
                                              .class_name = "data",
                                              .paths = scene->paths,
                                              .path_count = 1};
    scene->config = (struct hf_config){.state = scene->state_directory,
                                       .spool_max_bytes = MIB,
                                       .sources = &scene->source,
                                       .source_count = 1};
    scene->capture.config = &scene->config;
    scene->capture.work = &scene->work;
    scene->capture.busy = NOT_BUSY;
    capture_set_chunking(&scene->capture, chunking);
    scene->capture.in_service = true; /* nothing else is looked at meanwhile */
    scene->capture.buffer = malloc((size_t)2 * HF_CHUNK_MAX_BYTES);
    assert_non_null(scene->capture.buffer);
    assert_int_equal(watch_new(&scene->capture.watch), HF_OK);
    assert_int_equal(state_open(&scene->config, &scene->capture.state, &error), HF_OK);
    assert_int_equal(outbox_open(&scene->config, &scene->capture.outbox, &error), HF_OK);
    outbox_set_wake(scene->capture.outbox, on_wake, scene);
    assert_int_equal(outbox_online(scene->capture.outbox, 0, 0, 0), HF_OUTBOX_RESUME);
    examine_path(&scene->capture, 0, scene->root + 1, EXAMINE_ONE, 0); /* it is on record */
    assert_int_equal(flush_unit(&scene->capture, 0), HF_OK);
    outbox_acked(scene->capture.outbox, 0, scene->work.last_seq);
}

static void close_file(struct scene *scene)
{
    if (scene->fd >= 0) {
        close(scene->fd);
    }
    scene->fd = -1;
}

static void scene_free(struct scene *scene)
{
    close_file(scene);
    content_free(&scene->content);
    hf_buf_free(&scene->chunks);
    hf_buf_free(&scene->ids);
    dirty_clear(&scene->capture);
    unit_free(scene->work.unit);
    outbox_set_wake(scene->capture.outbox, NULL, NULL);
    outbox_free(scene->capture.outbox);
    state_close(scene->capture.state);
    watch_free(scene->capture.watch);
    chunking_free(&scene->capture);
    free(scene->capture.buffer);
}

static const char *at(struct scene *scene, const char *name)
{
    char relative[128];
    snprintf(relative, sizeof relative, "root/%s", name);
    return scratch_at(scene->scratch, relative);
}

static void write_file(struct scene *scene, const char *name, const void *data, size_t size)
{
    /* Long ago, so that every change from now on shows. */
    const struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    int fd = open(at(scene, name), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    for (size_t done = 0; done < size;) {
        ssize_t n = write(fd, (const uint8_t *)data + done, size - done);
        assert_true(n > 0);
        done += (size_t)n;
    }
    assert_int_equal(futimens(fd, times), 0);
    close(fd);
}

/* Go on only when what changes now gets another time than that file has. */
static void let_the_clock_tick(struct scene *scene, const char *name)
{
    struct stat file, probe;
    assert_int_equal(stat(at(scene, name), &file), 0);
    do {
        assert_int_equal(chmod(scene->root, 0700), 0);
        assert_int_equal(stat(scene->root, &probe), 0);
    } while (probe.st_ctim.tv_sec == file.st_ctim.tv_sec &&
             probe.st_ctim.tv_nsec == file.st_ctim.tv_nsec);
}

static void look(struct scene *scene, const char *name)
{
    close_file(scene);
    scene->fd = open(at(scene, name), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(scene->fd >= 0);
    assert_int_equal(fstat(scene->fd, &scene->before), 0);
}

/* Read what was looked at last; its chunks leave. */
static int read_it(struct scene *scene)
{
    struct hf_error error = {0};
    assert_int_equal(flush_unit(&scene->capture, 0), HF_OK); /* what is left of another read */
    send_all(scene);
    content_free(&scene->content);
    hf_buf_clear(&scene->chunks);
    hf_buf_clear(&scene->ids);
    int rc = read_content(&scene->capture, 0, scene->fd, &scene->before, &scene->content, &error);
    assert_int_equal(error.code != HF_OK, error.message[0] != '\0');
    if (rc == HF_OK) {
        assert_int_equal(flush_unit(&scene->capture, 0), HF_OK);
        send_all(scene);
    }
    return rc;
}

static uint8_t *noise(size_t size, uint64_t seed)
{
    uint8_t *data = malloc(size + 8);
    uint64_t x = seed * 2654435761u + 88172645463325252u;
    assert_non_null(data);
    for (size_t i = 0; i < size; i += 8) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        hf_put_le64(data + i, x);
    }
    return data;
}

/* The references of content that is cut at one go. */
static void cut_at_once(const uint8_t *data, size_t size, struct hf_buf *refs)
{
    struct hf_chunker *chunker = hf_chunker_new(chunking);
    assert_non_null(chunker);
    for (size_t at_byte = 0; at_byte < size;) {
        uint8_t ref[HF_CHUNK_REF_BYTES];
        size_t length = size;
        if (size > HF_CHUNK_SINGLE_MAX_BYTES) {
            length = hf_chunker_cut(chunker, hf_chunker_params_of("data", size), data + at_byte,
                                    size - at_byte, 1);
        }
        hf_sha256(data + at_byte, length, ref);
        hf_put_le32(ref + HF_HASH_BYTES, (uint32_t)length);
        assert_int_equal(hf_buf_append(refs, ref, sizeof ref), HF_OK);
        at_byte += length;
    }
    hf_chunker_free(chunker);
}

static void assert_same(const struct hf_buf *a, const struct hf_buf *b)
{
    assert_int_equal(a->size, b->size);
    assert_memory_equal(a->data, b->data, a->size);
}

static void content_of_any_size_leaves_whole_and_is_cut_as_if_at_one_go(void **state)
{
    static const size_t sizes[] = {1,       65535,       65536,   65537,
                                   MIB - 1, MIB,         MIB + 1, MIB + 65536,
                                   2 * MIB, 2 * MIB + 1, 3000000, 5 * MIB + 17};
    struct scene scene;
    scene_new(&scene, state);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct hf_buf refs = {0};
        uint8_t *data = noise(sizes[i], i);
        write_file(&scene, "f", data, sizes[i]);
        look(&scene, "f");
        assert_int_equal(read_it(&scene), HF_OK);
        assert_int_equal(scene.content.depth, 0);
        assert_false(scene.content.unparsable);
        cut_at_once(data, sizes[i], &refs);
        assert_same(&scene.content.refs, &refs);
        assert_same(&scene.ids, &refs);
        assert_int_equal(scene.chunks.size, sizes[i]);
        assert_memory_equal(scene.chunks.data, data, sizes[i]);
        assert_int_equal(scene.capture.busy, NOT_BUSY);
        hf_buf_free(&refs);
        free(data);
    }
    scene_free(&scene);
}

static void a_checkpoint_is_one_chunk_as_long_as_a_chunk_may_be(void **state)
{
    static const size_t sizes[] = {65537, 200000, HF_CHUNK_MAX_BYTES};
    struct scene scene;
    scene_new(&scene, state);
    scene.source.class_name = "checkpoints";
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint8_t *data = noise(sizes[i], i);
        write_file(&scene, "f", data, sizes[i]);
        look(&scene, "f");
        assert_int_equal(read_it(&scene), HF_OK);
        assert_int_equal(scene.content.refs.size, HF_CHUNK_REF_BYTES);
        assert_int_equal(scene.chunks.size, sizes[i]);
        assert_memory_equal(scene.chunks.data, data, sizes[i]);
        free(data);
    }
    uint8_t *data = noise(HF_CHUNK_MAX_BYTES + 1, 9);
    write_file(&scene, "f", data, HF_CHUNK_MAX_BYTES + 1);
    look(&scene, "f");
    assert_int_equal(read_it(&scene), HF_OK);
    assert_in_range(scene.content.refs.size / HF_CHUNK_REF_BYTES, 10, 64);
    free(data);
    scene_free(&scene);
}

static void what_is_longer_than_a_chunk_waits_until_it_is_known_how_it_is_cut(void **state)
{
    struct scene scene;
    scene_new(&scene, state);
    uint8_t *data = noise(65537, 1);
    chunking_free(&scene.capture);
    scene.work.scan_wanted = scene.work.lost = false;
    write_file(&scene, "f", data, 65536);
    look(&scene, "f");
    assert_int_equal(read_it(&scene), HF_OK);
    assert_int_equal(scene.content.refs.size, HF_CHUNK_REF_BYTES);
    assert_false(scene.work.lost);
    write_file(&scene, "f", data, 65537);
    look(&scene, "f");
    assert_int_equal(read_it(&scene), HF_ERR_CLOSED);
    assert_int_equal(scene.content.refs.size, 0);
    assert_true(scene.work.lost && scene.work.scan_wanted);
    capture_set_chunking(&scene.capture, chunking);
    look(&scene, "f");
    assert_int_equal(read_it(&scene), HF_OK);
    assert_in_range(scene.content.refs.size, HF_CHUNK_REF_BYTES, 3 * HF_CHUNK_REF_BYTES);
    free(data);
    scene_free(&scene);
}

static void long_chunks_are_cut_alike_wherever_a_window_ends(void **state)
{
    struct scene scene;
    struct hf_buf refs = {0};
    size_t size = 4 * MIB + 5, start = 300001; /* where the zeros begin, which are cut nowhere */
    uint8_t *data = noise(size, 1);
    scene_new(&scene, state);
    memset(data + start, 0, size - start);
    write_file(&scene, "f", data, size);
    look(&scene, "f");
    assert_int_equal(read_it(&scene), HF_OK);
    cut_at_once(data, size, &refs);
    assert_in_range(hf_get_le32(refs.data + HF_HASH_BYTES), 1, HF_CHUNK_MAX_BYTES / 2);
    assert_true(hf_get_le32(refs.data + refs.size - 2 * HF_CHUNK_REF_BYTES + HF_HASH_BYTES) ==
                HF_CHUNK_MAX_BYTES);
    assert_same(&scene.content.refs, &refs);
    assert_same(&scene.ids, &refs);
    hf_buf_free(&refs);
    free(data);
    scene_free(&scene);
}

/* A file of size bytes with data, noise, in these places; the rest are holes. */
static uint8_t *write_holes(struct scene *scene, size_t size, const size_t (*places)[2],
                            size_t count)
{
    uint8_t *content = calloc(1, size);
    uint8_t *data = noise(size, 7);
    int fd = open(at(scene, "f"), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_non_null(content);
    assert_true(fd >= 0);
    for (size_t i = 0; i < count; i++) {
        size_t from = places[i][0], length = places[i][1];
        memcpy(content + from, data + from, length);
        assert_int_equal(pwrite(fd, data + from, length, (off_t)from), (ssize_t)length);
    }
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    close(fd);
    free(data);
    return content;
}

static uint32_t length_of(const struct hf_buf *refs, size_t i)
{
    return hf_get_le32(refs->data + i * HF_CHUNK_REF_BYTES + HF_HASH_BYTES);
}

/* Whether the references name this content, in order. */
static void assert_names(const struct hf_buf *refs, const uint8_t *content, size_t size)
{
    size_t offset = 0;
    for (size_t i = 0; i < refs->size / HF_CHUNK_REF_BYTES; i++) {
        uint8_t id[HF_HASH_BYTES];
        uint32_t length = length_of(refs, i);
        assert_true(length <= size - offset);
        hf_sha256(content + offset, length, id);
        assert_memory_equal(refs->data + i * HF_CHUNK_REF_BYTES, id, sizeof id);
        offset += length;
    }
    assert_int_equal(offset, size);
}

static void holes_are_chunks_of_zeros_that_are_neither_read_nor_sent_again(void **state)
{
    static const size_t places[][2] = {
        {5 * MIB, 200000}, {5 * MIB + 262144, 4096}, {9 * MIB, 4096}};
    struct scene scene;
    size_t size = 12 * MIB + 1000;
    scene_new(&scene, state);
    uint8_t *content = write_holes(&scene, size, places, 3);
    look(&scene, "f");
    if (hf_sparse_possible(&scene.before)) { /* else this file system has no holes */
        assert_int_equal(read_it(&scene), HF_OK);
        assert_true(scene.content.sparse);
        assert_names(&scene.content.refs, content, size);
        for (size_t i = 0; i < 10; i++) {
            assert_int_equal(length_of(&scene.content.refs, i), HF_CHUNK_MAX_BYTES);
        }
        /* Of each of the three holes one chunk, and what is left at its end. */
        assert_in_range(scene.chunks.size, 204096, 6 * HF_CHUNK_MAX_BYTES + 270336);
    }
    free(content);
    scene_free(&scene);
}

static void a_hole_too_short_to_count_is_read_and_told_of(void **state)
{
    static const size_t places[][2] = {{0, 4096}, {16384, MIB}};
    struct scene scene;
    size_t size = 16384 + MIB;
    scene_new(&scene, state);
    uint8_t *content = write_holes(&scene, size, places, 2);
    look(&scene, "f");
    struct hf_buf refs = {0};
    cut_at_once(content, size, &refs);
    assert_int_equal(read_it(&scene), HF_OK);
    assert_same(&scene.content.refs, &refs);
    assert_int_equal(scene.content.sparse, hf_sparse_possible(&scene.before));
    hf_buf_free(&refs);
    free(content);
    scene_free(&scene);
}

static void a_hole_of_terabytes_takes_no_time_and_no_memory(void **state)
{
    struct scene scene;
    off_t size = (off_t)1 << 40;
    scene_new(&scene, state);
    write_file(&scene, "f", "x", 1);
    assert_int_equal(truncate(at(&scene, "f"), size), 0);
    look(&scene, "f");
    if (hf_sparse_possible(&scene.before)) {
        assert_int_equal(read_it(&scene), HF_OK);
        assert_int_equal(scene.content.depth, 1);
        assert_in_range(scene.content.refs.size, HF_CHUNK_REF_BYTES, 200 * HF_CHUNK_REF_BYTES);
    }
    scene_free(&scene);
}

static void a_file_longer_than_a_version_can_name_is_refused_before_it_is_read(void **state)
{
    struct scene scene;
    struct hf_error error = {0};
    scene_new(&scene, state);
    write_file(&scene, "f", "x", 1);
    look(&scene, "f");
    scene.before.st_size = (off_t)1 << 50;
    assert_int_equal(
        read_content(&scene.capture, 0, scene.fd, &scene.before, &scene.content, &error),
        HF_ERR_LIMIT);
    assert_non_null(strstr(error.message, "too long"));
    scene_free(&scene);
}

/* Of a file's pages from `from` on for size bytes, the share in the page cache, in percent. */
static size_t cached_percent(int fd, size_t from, size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), pages = size / page, count = 0;
    uint8_t *resident = malloc(pages);
    void *map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, (off_t)from);
    assert_non_null(resident);
    assert_true(map != MAP_FAILED);
    assert_int_equal(mincore(map, size, resident), 0);
    for (size_t i = 0; i < pages; i++) {
        count += resident[i] & 1;
    }
    munmap(map, size);
    free(resident);
    return count * 100 / pages;
}

static void reading_a_long_file_leaves_in_the_cache_what_was_there_and_nothing_else(void **state)
{
    struct scene scene;
    size_t size = 12 * MIB, hot = 8 * MIB;
    uint8_t *data = noise(size, 3);
    scene_new(&scene, state);
    write_file(&scene, "f", data, size);
    look(&scene, "f");
    assert_int_equal(fsync(scene.fd), 0);
    assert_int_equal(posix_fadvise(scene.fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    if (cached_percent(scene.fd, 0, size) == 0) { /* else this file system is the cache */
        assert_int_equal(posix_fadvise(scene.fd, 0, 0, POSIX_FADV_RANDOM), 0); /* nothing ahead */
        assert_int_equal(pread(scene.fd, data, MIB, (off_t)hot), (ssize_t)MIB);
        assert_int_equal(read_it(&scene), HF_OK);
        assert_int_equal(cached_percent(scene.fd, hot, MIB), 100);
        assert_in_range(cached_percent(scene.fd, 0, hot), 0, 5);
        assert_in_range(cached_percent(scene.fd, hot + 2 * MIB, 2 * MIB), 0, 5);
    }
    free(data);
    scene_free(&scene);
}

static void reading_a_short_file_leaves_in_the_cache_what_was_there_and_nothing_else(void **state)
{
    static const size_t sizes[] = {5 * 4096, 75 * 4096}; /* of one chunk, and of several */
    struct scene scene;
    uint8_t *data = noise(75 * 4096, 3);
    scene_new(&scene, state);
    for (size_t i = 0; i < 2; i++) {
        for (size_t warm = 0; warm <= sizes[i]; warm += sizes[i] / 5) {
            write_file(&scene, "f", data, sizes[i]);
            look(&scene, "f");
            assert_int_equal(fsync(scene.fd), 0);
            assert_int_equal(posix_fadvise(scene.fd, 0, 0, POSIX_FADV_DONTNEED), 0);
            if (cached_percent(scene.fd, 0, sizes[i]) != 0) {
                continue; /* this file system is the cache */
            }
            assert_int_equal(posix_fadvise(scene.fd, 0, 0, POSIX_FADV_RANDOM), 0);
            assert_int_equal(pread(scene.fd, data, warm, 0), (ssize_t)warm);
            assert_int_equal(read_it(&scene), HF_OK);
            assert_int_equal(scene.chunks.size, sizes[i]);
            assert_memory_equal(scene.chunks.data, data, sizes[i]);
            assert_int_equal(cached_percent(scene.fd, 0, sizes[i]), warm * 100 / sizes[i]);
        }
    }
    free(data);
    scene_free(&scene);
}

static void an_empty_file_has_no_chunks(void **state)
{
    struct scene scene;
    scene_new(&scene, state);
    write_file(&scene, "f", "", 0);
    look(&scene, "f");
    assert_int_equal(read_it(&scene), HF_OK);
    assert_int_equal(scene.content.refs.size, 0);
    assert_int_equal(scene.content.depth, 0);
    assert_int_equal(scene.ids.size, 0);
    scene_free(&scene);
}

/* Content that is cut as often as can be: one short chunk, over and over; the caller frees. */
static uint8_t *many_chunks(size_t count, size_t *size)
{
    size_t length = HF_CHUNK_MAX_BYTES;
    uint8_t *block = NULL;
    struct hf_chunker *chunker = hf_chunker_new(chunking);
    assert_non_null(chunker);
    for (uint64_t seed = 1; length > 40000; seed++) {
        free(block);
        block = noise(131072, seed);
        length = hf_chunker_cut(chunker, hf_chunker_params_of("data", MIB), block, 131072, 1);
    }
    hf_chunker_free(chunker);
    *size = count * length;
    uint8_t *data = malloc(*size);
    assert_non_null(data);
    for (size_t i = 0; i < count; i++) {
        memcpy(data + i * length, block, length);
    }
    free(block);
    return data;
}

static void content_of_more_chunks_than_a_version_names_goes_by_lists(void **state)
{
    struct scene scene;
    struct hf_buf refs = {0};
    size_t size = 0;
    scene_new(&scene, state);
    uint8_t *data = many_chunks(HF_CHUNK_REFS_MAX, &size);
    write_file(&scene, "f", data, size);
    look(&scene, "f");
    assert_int_equal(read_it(&scene), HF_OK);
    assert_int_equal(scene.content.depth, 0);
    assert_int_equal(scene.content.refs.size, HF_CHUNK_REFS_MAX * HF_CHUNK_REF_BYTES);
    free(data);
    data = many_chunks(HF_CHUNK_REFS_MAX + 1, &size);
    cut_at_once(data, size, &refs);
    write_file(&scene, "f", data, size);
    free(data);
    look(&scene, "f");
    assert_int_equal(read_it(&scene), HF_OK);
    assert_int_equal(scene.content.depth, 1);
    assert_int_equal(scene.content.refs.size, HF_CHUNK_REF_BYTES);
    /* The list left behind all the chunks that it names. */
    assert_int_equal(scene.ids.size, refs.size + HF_CHUNK_REF_BYTES);
    assert_memory_equal(scene.ids.data, refs.data, refs.size);
    assert_memory_equal(scene.ids.data + refs.size, scene.content.refs.data, HF_CHUNK_REF_BYTES);
    assert_int_equal(scene.chunks.size, size + refs.size);
    assert_memory_equal(scene.chunks.data + size, refs.data, refs.size);
    hf_buf_free(&refs);
    scene_free(&scene);
}

static void append(struct scene *scene)
{
    int fd = open(at(scene, "f"), O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(write(fd, "x", 1), 1);
    close(fd);
}

static void shorten(struct scene *scene)
{
    assert_int_equal(truncate(at(scene, "f"), 3), 0);
}

static void write_over(struct scene *scene)
{
    int fd = open(at(scene, "f"), O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "x", 1, 1), 1);
    close(fd);
}

static void write_over_and_hide_it(struct scene *scene)
{
    const struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    write_over(scene);
    assert_int_equal(utimensat(AT_FDCWD, at(scene, "f"), times, 0), 0);
}

static void take_away(struct scene *scene)
{
    assert_int_equal(unlink(at(scene, "f")), 0);
}

static void put_another_in_its_place(struct scene *scene)
{
    write_file(scene, "g", "new", 3);
    const char *other = at(scene, "g");
    assert_int_equal(rename(other, at(scene, "f")), 0);
}

static void (*const changes[])(struct scene *scene) = {
    append, shorten, write_over, write_over_and_hide_it, take_away, put_another_in_its_place};
#define CHANGES (sizeof changes / sizeof *changes)

static void what_changed_between_look_and_read_is_thrown_away(void **state)
{
    static const size_t sizes[] = {5, HF_CHUNK_SINGLE_MAX_BYTES, 100000};
    struct scene scene;
    uint8_t *data = noise(100000, 1);
    scene_new(&scene, state);
    for (size_t i = 0; i < 3; i++) {
        for (size_t change = 0; change < CHANGES; change++) {
            write_file(&scene, "f", data, sizes[i]);
            look(&scene, "f");
            let_the_clock_tick(&scene, "f");
            changes[change](&scene);
            assert_int_equal(read_it(&scene), HF_ERR_RACED);
        }
    }
    free(data);
    scene_free(&scene);
}

static void what_changes_while_it_is_read_is_thrown_away(void **state)
{
    struct scene scene;
    uint8_t *data = noise(3 * MIB, 1);
    scene_new(&scene, state);
    for (size_t change = 0; change < CHANGES; change++) {
        write_file(&scene, "f", data, 3 * MIB);
        look(&scene, "f");
        let_the_clock_tick(&scene, "f");
        scene.meanwhile = changes[change];
        assert_int_equal(read_it(&scene), HF_ERR_RACED);
        assert_null(scene.meanwhile); /* it was in the midst of it */
        if (change < 4) {             /* it is there still, and quiet now */
            look(&scene, "f");
            assert_int_equal(read_it(&scene), HF_OK);
            assert_int_equal(scene.chunks.size, scene.before.st_size);
        }
    }
    free(data);
    scene_free(&scene);
}

static void append_and_write_over(struct scene *scene)
{
    append(scene);
    write_over(scene);
}

static void what_only_grows_is_taken_as_it_was_when_that_is_asked_for(void **state)
{
    static const size_t sizes[] = {5, HF_CHUNK_SINGLE_MAX_BYTES, 100000, 3 * MIB};
    static const struct {
        void (*change)(struct scene *scene);
        bool only_grows;
    } cases[] = {{append, true},     {append_and_write_over, false},  {write_over, false},
                 {take_away, false}, {write_over_and_hide_it, false}, {shorten, false}};
    struct scene scene;
    uint8_t *data = noise(3 * MIB, 1);
    scene_new(&scene, state);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
            bool large = sizes[i] == 3 * MIB; /* of that, some was read before the change */
            write_file(&scene, "f", data, sizes[i]);
            look(&scene, "f");
            let_the_clock_tick(&scene, "f");
            scene.content.may_grow = true;
            if (large) {
                scene.meanwhile = cases[k].change;
            } else {
                cases[k].change(&scene);
            }
            int rc = read_it(&scene);
            if (cases[k].change == append_and_write_over && !large) {
                /* All was read after the change: it is what the file begins with. */
                assert_int_equal(rc, HF_OK);
            } else {
                assert_int_equal(rc, cases[k].only_grows ? HF_OK : HF_ERR_RACED);
            }
            assert_int_equal(scene.content.grew, rc == HF_OK);
            if (cases[k].only_grows) {
                struct hf_buf refs = {0};
                cut_at_once(data, sizes[i], &refs);
                assert_same(&scene.content.refs, &refs);
                hf_buf_free(&refs);
            }
        }
    }
    scene.content.may_grow = false;
    free(data);
    scene_free(&scene);
}

/* Where a file system's clock stands still, not every trace need be there. */
static void each_trace_of_a_change_alone_is_enough(void **state)
{
    struct scene scene;
    scene_new(&scene, state);
    write_file(&scene, "f", "123456", 6);
    look(&scene, "f");
    scene.before.st_mtim.tv_nsec++;
    assert_int_equal(read_it(&scene), HF_ERR_RACED);
    look(&scene, "f");
    scene.before.st_ctim.tv_nsec ^= 1;
    assert_int_equal(read_it(&scene), HF_ERR_RACED);
    look(&scene, "f"); /* less was read than there was */
    assert_int_equal(lseek(scene.fd, 1, SEEK_SET), 1);
    assert_int_equal(read_it(&scene), HF_ERR_RACED);
    look(&scene, "f"); /* more is there than was and was read */
    assert_int_equal(lseek(scene.fd, 1, SEEK_SET), 1);
    scene.before.st_size = 5;
    assert_int_equal(read_it(&scene), HF_ERR_RACED);
    look(&scene, "f");
    assert_int_equal(read_it(&scene), HF_OK);
    scene_free(&scene);
}

static void give_up(struct scene *scene)
{
    scene->work.give_ups++;
}

static void what_is_half_given_up_is_read_again(void **state)
{
    struct scene scene;
    uint8_t *data = noise(3 * MIB, 1);
    scene_new(&scene, state);
    write_file(&scene, "f", data, 3 * MIB);
    look(&scene, "f");
    scene.meanwhile = give_up;
    assert_int_equal(read_it(&scene), HF_ERR_RACED);
    free(data);
    scene_free(&scene);
}

static void lose_the_line(struct scene *scene)
{
    outbox_offline(scene->capture.outbox);
}

static void without_a_collector_what_fills_more_than_a_unit_waits_for_one(void **state)
{
    struct scene scene;
    uint8_t *data = noise(3 * MIB, 1);
    scene_new(&scene, state);
    write_file(&scene, "f", data, 3 * MIB);
    look(&scene, "f");
    scene.meanwhile = lose_the_line;
    assert_int_equal(read_it(&scene), HF_ERR_CLOSED);
    assert_true(scene.work.lost);
    assert_true(scene.work.scan_wanted);
    assert_int_equal(scene.capture.busy, NOT_BUSY);
    write_file(&scene, "small", data, 1000); /* fits, and can wait on disk with its version */
    look(&scene, "small");
    struct hf_error error = {0};
    content_free(&scene.content);
    assert_int_equal(
        read_content(&scene.capture, 0, scene.fd, &scene.before, &scene.content, &error), HF_OK);
    assert_int_equal(scene.content.refs.size, HF_CHUNK_REF_BYTES);
    free(data);
    scene_free(&scene);
}

static void what_can_not_be_read_says_why(void **state)
{
    struct scene scene;
    struct hf_error error = {0};
    scene_new(&scene, state);
    look(&scene, ""); /* a directory */
    for (off_t size = 1000; size < 1000000; size *= 500) {
        scene.before.st_size = size;
        content_free(&scene.content);
        assert_int_equal(
            read_content(&scene.capture, 0, scene.fd, &scene.before, &scene.content, &error),
            HF_ERR_IO);
        assert_int_equal(error.sys_errno, EISDIR);
        assert_int_equal(scene.capture.busy, NOT_BUSY);
    }
    scene_free(&scene);
}

static bool parses(struct scene *scene, const char *text)
{
    write_file(scene, "f", text, strlen(text));
    look(scene, "f");
    assert_int_equal(read_it(scene), HF_OK);
    assert_int_equal(scene->chunks.size, strlen(text)); /* it is captured in either case */
    return !scene->content.unparsable;
}

static void json_is_told_from_what_does_not_parse(void **state)
{
    struct scene scene;
    scene_new(&scene, state);
    assert_true(parses(&scene, "{\"a\": ")); /* nobody asked */
    scene.source.validate = HF_VALIDATE_JSON;
    assert_true(parses(&scene, "{\"a\": [1, 2.5e3, null, true, \"\\u20ac\"]}\n"));
    assert_true(parses(&scene, "17"));
    static const char *const broken[] = {"",       " ",    "{\"a\": ", "{\"a\": 1}}", "[1, 2] x",
                                         "{a: 1}", "[1,]", "\"\xff\"", "nul",         "\x01"};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        assert_false(parses(&scene, broken[i]));
    }
    scene_free(&scene);
}

static void json_that_is_read_in_pieces_is_judged_as_a_whole(void **state)
{
    struct scene scene;
    static const size_t sizes[] = {HF_CHUNK_SINGLE_MAX_BYTES, HF_CHUNK_SINGLE_MAX_BYTES + 1,
                                   MIB + 1, 3 * MIB + 5};
    scene_new(&scene, state);
    scene.source.validate = HF_VALIDATE_JSON;
    srand(1);
    for (size_t i = 0; i < 4; i++) {
        size_t size = sizes[i];
        char *text = malloc(size + 1);
        assert_non_null(text);
        memset(text, ' ', size);
        for (size_t j = 1; j + 20 < size; j++) {
            text[j] = "\"        \","[(j - 1) % 11];
            if (text[j] == ' ') { /* in no regular order, or it would be cut in one, too */
                text[j] = "abcdefghijklmnop"[(rand() >> 3) % 16];
            }
        }
        size_t whole = 1 + (size - 21) / 11 * 11;
        memset(text + whole, ' ', size - whole);
        text[0] = '[';
        memcpy(text + size - 3, "17]", 3);
        text[size] = '\0';
        assert_true(parses(&scene, text));
        text[size - 1] = ' '; /* its end is missing */
        assert_false(parses(&scene, text));
        text[size - 1] = ']';
        char was = text[size / 2];
        text[size / 2] = '\n'; /* in the midst of a text, or for what separates two */
        assert_false(parses(&scene, text));
        text[size / 2] = was;
        text[0] = ' '; /* its beginning */
        assert_false(parses(&scene, text));
        free(text);
    }
    scene_free(&scene);
}

static void look_at(struct scene *scene, const char *name)
{
    const char *path = at(scene, name) + 1;
    examine_path(&scene->capture, 0, path, EXAMINE_ONE, 0);
}

/* What was recorded of a path since, NULL for nothing. */
static const struct hf_version *recorded(struct scene *scene, const char *name)
{
    const char *path = at(scene, name) + 1;
    const struct hf_unit *unit = scene->work.unit;
    for (size_t i = 0; unit && i < unit->version_count; i++) {
        const struct hf_version *version = &unit->versions[i];
        if (version->path.size == strlen(path) &&
            memcmp(version->path.data, path, version->path.size) == 0) {
            return version;
        }
    }
    return NULL;
}

static size_t chunks_read(const struct scene *scene)
{
    return scene->work.unit ? scene->work.unit->chunk_count : 0;
}

static void a_link_is_captured_as_what_it_is_and_never_followed(void **state)
{
    struct scene scene;
    scene_new(&scene, state);
    FILE *secret = fopen(scratch_at(scene.scratch, "secret"), "we");
    assert_non_null(secret);
    fputs("nobody's business", secret);
    fclose(secret);
    assert_int_equal(symlink("../secret", at(&scene, "link")), 0);
    assert_int_equal(symlink("/nowhere", at(&scene, "dangling")), 0);
    assert_int_equal(symlink("..", at(&scene, "up")), 0);
    look_at(&scene, "link");
    look_at(&scene, "dangling");
    look_at(&scene, "up/secret");
    const struct hf_version *version = recorded(&scene, "link");
    assert_non_null(version);
    assert_int_equal(version->type, HF_FILE_SYMLINK);
    assert_int_equal(version->target.size, 9);
    assert_memory_equal(version->target.data, "../secret", 9);
    assert_non_null(recorded(&scene, "dangling"));
    assert_null(recorded(&scene, "up/secret"));
    assert_int_equal(chunks_read(&scene), 0);
    scene_free(&scene);
}

/* Major and minor 0: of no driver, and the one device that everybody may make. */
static void a_device_is_captured_as_its_numbers_and_never_opened(void **state)
{
    struct scene scene;
    scene_new(&scene, state);
    if (mknod(at(&scene, "none"), S_IFCHR | 0640, 0)) {
        scene_free(&scene);
        skip();
    }
    assert_int_equal(chmod(at(&scene, "none"), 0640), 0);
    assert_int_equal(link(at(&scene, "none"), at(&scene, "again")), 0);
    look_at(&scene, "none");
    look_at(&scene, "again");
    const struct hf_version *version = recorded(&scene, "none");
    assert_non_null(version);
    assert_int_equal(version->type, HF_FILE_CHAR_DEVICE);
    assert_int_equal(version->mode, 0640);
    assert_int_equal(version->size, 0);
    assert_int_equal(version->target.size, 3);
    assert_memory_equal(version->target.data, "0:0", 3);
    assert_true(version->link > 0);
    assert_int_equal(recorded(&scene, "again")->link, version->link);
    assert_int_equal(scene.work.note[0], '\0');
    assert_int_equal(chunks_read(&scene), 0);
    scene_free(&scene);
}

static void a_pipe_is_left_out_and_keeps_nobody_waiting(void **state)
{
    struct scene scene;
    scene_new(&scene, state);
    assert_int_equal(mkfifo(at(&scene, "pipe"), 0600), 0);
    look_at(&scene, "pipe"); /* without a writer */
    int writer = open(at(&scene, "pipe"), O_RDWR | O_CLOEXEC);
    assert_int_equal(write(writer, "x", 1), 1);
    look_at(&scene, "pipe");
    close(writer);
    assert_null(recorded(&scene, "pipe"));
    assert_int_equal(chunks_read(&scene), 0);
    assert_non_null(strstr(scene.work.note, "pipe"));
    scene_free(&scene);
}

static void a_file_that_became_a_pipe_counts_as_gone(void **state)
{
    struct scene scene;
    scene_new(&scene, state);
    write_file(&scene, "f", "old", 3);
    look_at(&scene, "f");
    assert_non_null(recorded(&scene, "f"));
    assert_int_equal(flush_unit(&scene.capture, 0), HF_OK);
    assert_int_equal(unlink(at(&scene, "f")), 0);
    assert_int_equal(mkfifo(at(&scene, "f"), 0600), 0);
    look_at(&scene, "f");
    const struct hf_version *version = recorded(&scene, "f");
    assert_non_null(version);
    assert_int_equal(version->type, HF_FILE_ABSENT);
    scene_free(&scene);
}

/* When it was last read, in whole seconds. */
static time_t access_time(struct scene *scene, const char *name)
{
    struct stat status;
    assert_int_equal(lstat(at(scene, name), &status), 0);
    return status.st_atim.tv_sec;
}

static bool is_on_record(struct scene *scene, const char *name)
{
    struct state_row row = {0};
    bool known = on_record(&scene->capture, 0, at(scene, name) + 1, &row);
    state_row_free(&row);
    return known;
}

static void never_accessed(struct scene *scene, const char *name)
{
    const struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    assert_int_equal(utimensat(AT_FDCWD, at(scene, name), times, AT_SYMLINK_NOFOLLOW), 0);
}

static void read_as_others_do(struct scene *scene, const char *name)
{
    char byte;
    int fd = open(at(scene, name), O_RDONLY | O_CLOEXEC);
    assert_int_equal(read(fd, &byte, 1), 1);
    close(fd);
}

static void capture_leaves_no_trace_in_the_times_of_access(void **state)
{
    struct scene scene;
    uint8_t *data = noise(3 * MIB, 1);
    scene_new(&scene, state);
    assert_int_equal(mkdir(at(&scene, "d"), 0700), 0);
    write_file(&scene, "d/short", data, 1000);
    write_file(&scene, "d/long", data, 3 * MIB);
    write_file(&scene, "control", data, 1000);
    never_accessed(&scene, "d");
    read_as_others_do(&scene, "control");
    if (access_time(&scene, "control") != 1000) { /* else this file system keeps none */
        examine_path(&scene.capture, 0, at(&scene, "d") + 1, EXAMINE_BENEATH, 0);
        assert_int_equal(access_time(&scene, "d/short"), 1000);
        assert_int_equal(access_time(&scene, "d/long"), 1000);
        assert_int_equal(access_time(&scene, "d"), 1000);
        assert_true(is_on_record(&scene, "d/short"));
        assert_true(is_on_record(&scene, "d/long"));
    }
    free(data);
    scene_free(&scene);
}

/* Look at "f" as the regular file that it was a moment ago. */
static void look_too_late(struct scene *scene, const struct stat *was)
{
    int root = open(scene->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(root >= 0);
    examine_entry(&scene->capture, 0, root, scene->root + 1, "f", was, NULL, 0);
    close(root);
}

static void what_took_a_files_place_meanwhile_is_neither_read_nor_waited_for(void **state)
{
    struct scene scene;
    struct stat was;
    scene_new(&scene, state);
    write_file(&scene, "other", "nobody's business", 17);
    write_file(&scene, "f", "old", 3);
    assert_int_equal(stat(at(&scene, "f"), &was), 0);
    assert_int_equal(unlink(at(&scene, "f")), 0);
    look_too_late(&scene, &was);
    assert_int_equal(scene.work.unreadable, 0); /* gone: that is told by another event */
    assert_int_equal(scene.capture.dirty_count, 0);

    assert_int_equal(symlink("other", at(&scene, "f")), 0);
    look_too_late(&scene, &was);
    assert_int_equal(scene.work.unreadable, 1);
    assert_non_null(strstr(scene.work.note, "/f: "));
    assert_int_equal(unlink(at(&scene, "f")), 0);

    assert_int_equal(mkfifo(at(&scene, "f"), 0600), 0);
    look_too_late(&scene, &was);
    assert_int_equal(scene.capture.dirty_count, 1); /* soon again */
    dirty_clear(&scene.capture);
    assert_int_equal(unlink(at(&scene, "f")), 0);

    assert_int_equal(mkdir(at(&scene, "f"), 0700), 0);
    look_too_late(&scene, &was);
    assert_int_equal(scene.capture.dirty_count, 1);
    assert_null(recorded(&scene, "f"));
    assert_int_equal(chunks_read(&scene), 0);
    scene_free(&scene);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_make, scratch_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(content_of_any_size_leaves_whole_and_is_cut_as_if_at_one_go),
        TEST(a_checkpoint_is_one_chunk_as_long_as_a_chunk_may_be),
        TEST(what_is_longer_than_a_chunk_waits_until_it_is_known_how_it_is_cut),
        TEST(long_chunks_are_cut_alike_wherever_a_window_ends),
        TEST(holes_are_chunks_of_zeros_that_are_neither_read_nor_sent_again),
        TEST(a_hole_too_short_to_count_is_read_and_told_of),
        TEST(reading_a_long_file_leaves_in_the_cache_what_was_there_and_nothing_else),
        TEST(reading_a_short_file_leaves_in_the_cache_what_was_there_and_nothing_else),
        TEST(a_hole_of_terabytes_takes_no_time_and_no_memory),
        TEST(a_file_longer_than_a_version_can_name_is_refused_before_it_is_read),
        TEST(an_empty_file_has_no_chunks),
        TEST(content_of_more_chunks_than_a_version_names_goes_by_lists),
        TEST(what_changed_between_look_and_read_is_thrown_away),
        TEST(what_changes_while_it_is_read_is_thrown_away),
        TEST(what_only_grows_is_taken_as_it_was_when_that_is_asked_for),
        TEST(each_trace_of_a_change_alone_is_enough),
        TEST(what_is_half_given_up_is_read_again),
        TEST(without_a_collector_what_fills_more_than_a_unit_waits_for_one),
        TEST(what_can_not_be_read_says_why),
        TEST(json_is_told_from_what_does_not_parse),
        TEST(json_that_is_read_in_pieces_is_judged_as_a_whole),
        TEST(a_link_is_captured_as_what_it_is_and_never_followed),
        TEST(a_device_is_captured_as_its_numbers_and_never_opened),
        TEST(a_pipe_is_left_out_and_keeps_nobody_waiting),
        TEST(a_file_that_became_a_pipe_counts_as_gone),
        TEST(what_took_a_files_place_meanwhile_is_neither_read_nor_waited_for),
        TEST(capture_leaves_no_trace_in_the_times_of_access),
    };
    hf_log_set_level(HF_LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
