#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "collector/store/store_private.h"
#include "common/bytes.h"
#include "common/fs.h"
#include "common/ini.h"

#define FORMAT_VERSION 2u
#define JOURNAL_LEVEL  3 /* of zstd: entries are small, and their text repeats */

#define CHUNKING_INFO "holdfast chunking v1"

/* Tells a wrong key from damage: HMAC of the repository's id under the key. */
static void key_check(const uint8_t key[HF_STORE_KEY_BYTES], const uint8_t id[PACK_ID_BYTES],
                      char out[2 * HF_HASH_BYTES + 1])
{
    uint8_t mac[HF_HASH_BYTES];
    hf_hmac_sha256(key, HF_STORE_KEY_BYTES, id, PACK_ID_BYTES, mac);
    hf_hex_encode(mac, sizeof mac, out);
}

int store_create(const char *directory, const uint8_t key[HF_STORE_KEY_BYTES],
                 struct hf_error *error)
{
    char path[4096];
    char id_text[2 * PACK_ID_BYTES + 1];
    char check_text[2 * HF_HASH_BYTES + 1];
    uint8_t id[PACK_ID_BYTES];
    struct hf_buf text = {0};
    struct stat status;
    snprintf(path, sizeof path, "%s/config", directory);
    if (lstat(path, &status) == 0) {
        return hf_error_set(error, HF_ERR_EXISTS, 0, "%s holds a repository already", directory);
    }
    snprintf(path, sizeof path, "%s/packs", directory);
    int rc = hf_mkdirs(path, 0700, error);
    if (rc != HF_OK) {
        return rc;
    }
    hf_random(id, sizeof id);
    hf_hex_encode(id, sizeof id, id_text);
    key_check(key, id, check_text);
    rc = hf_buf_append_format(&text,
                              "# A Holdfast repository; collector/store/FORMAT.md describes it.\n"
                              "[repository]\nformat = %u\nid = %s\nkey_check = %s\n",
                              FORMAT_VERSION, id_text, check_text);
    snprintf(path, sizeof path, "%s/config", directory);
    rc = rc == HF_OK ? hf_write_file_atomic(path, text.data, text.size, 0600, error) : rc;
    hf_buf_free(&text);
    return rc;
}

static int read_config(struct hf_store *store, struct hf_error *error)
{
    char path[4096];
    char check_text[2 * HF_HASH_BYTES + 1];
    struct hf_ini *ini = NULL;
    const char *id = NULL;
    const char *check = NULL;
    uint64_t format = 0;
    snprintf(path, sizeof path, "%s/config", store->directory);
    int rc = hf_ini_load(path, &ini, error);
    if (rc != HF_OK) {
        return hf_error_prefix(error, "No repository at %s", store->directory);
    }
    rc = hf_ini_get_u64(ini, "repository", "format", 0, 1, UINT32_MAX, &format, error);
    rc = rc == HF_OK ? hf_ini_get_string(ini, "repository", "id", "", &id, error) : rc;
    rc = rc == HF_OK ? hf_ini_get_string(ini, "repository", "key_check", "", &check, error) : rc;
    if (rc == HF_OK && format > FORMAT_VERSION) {
        rc = hf_error_set(error, HF_ERR_UNSUPPORTED, 0,
                          "The repository %s has format %llu, made by a newer collector; this one "
                          "knows %u. Install the newer version",
                          store->directory, (unsigned long long)format, FORMAT_VERSION);
    }
    if (rc == HF_OK && format < FORMAT_VERSION) {
        rc = hf_error_set(error, HF_ERR_UNSUPPORTED, 0,
                          "The repository %s has format %llu, of before the first release, which "
                          "this collector can't read. Make a new one, and keep the old with the "
                          "program that made it",
                          store->directory, (unsigned long long)format);
    }
    if (rc == HF_OK && hf_hex_decode(id, store->repository, PACK_ID_BYTES) != HF_OK) {
        rc = hf_error_set(error, HF_ERR_CORRUPT, 0, "%s: 'id' is not 32 hexadecimal digits", path);
    }
    if (rc == HF_OK) {
        key_check(store->key, store->repository, check_text);
        if (strlen(check) != strlen(check_text) ||
            !hf_equal_secret(check, check_text, strlen(check_text))) {
            rc = hf_error_set(error, HF_ERR_DENIED, 0,
                              "The repository %s was made with another key. Put back the "
                              "repository.key that belongs to it",
                              store->directory);
        }
    }
    hf_ini_free(ini);
    return rc;
}

static int compare_numbers(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

static int list_packs(struct hf_store *store, struct hf_error *error)
{
    int fd = openat(store->directory_fd, "packs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        int saved = errno;
        if (fd >= 0) {
            close(fd);
        }
        return hf_error_set(error, HF_ERR_IO, saved, "Can't list %s/packs", store->directory);
    }
    int rc = HF_OK;
    size_t capacity = 0;
    for (struct dirent *entry; rc == HF_OK && (entry = readdir(dir));) {
        char *end = NULL;
        uint64_t number = strtoull(entry->d_name, &end, 16);
        struct stat status;
        if (end != entry->d_name + 16 || strcmp(end, ".pack") != 0 || number == 0) {
            continue;
        }
        if (store->number_count == capacity) {
            capacity = capacity ? capacity * 2 : 64;
            uint64_t *grown = reallocarray(store->numbers, capacity, sizeof *grown);
            if (!grown) {
                rc = hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory to list the packs");
                break;
            }
            store->numbers = grown;
        }
        store->numbers[store->number_count++] = number;
        if (fstatat(fd, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0) {
            atomic_fetch_add(&store->stat_bytes, (uint64_t)status.st_size);
        }
    }
    closedir(dir);
    if (store->number_count > 0) {
        qsort(store->numbers, store->number_count, sizeof *store->numbers, compare_numbers);
        store->last_number = store->numbers[store->number_count - 1];
    }
    atomic_store(&store->stat_packs, store->number_count);
    return rc;
}

/* Seal every pack that has no seal: a run that crashed leaves one, a full disk perhaps another. */
static int repair_packs(struct hf_store *store, struct hf_error *error)
{
    size_t kept = 0;
    for (size_t i = 0; i < store->number_count; i++) {
        char name[PACK_NAME_BYTES];
        uint64_t index_offset = 0;
        pack_name(store->numbers[i], name);
        int fd = openat(store->directory_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        int rc = fd >= 0 ? pack_find_seal(fd, &index_offset) : HF_ERR_IO;
        int saved = errno;
        if (fd >= 0) {
            close(fd);
        }
        if (rc == HF_ERR_IO) {
            return hf_error_set(error, rc, saved,
                                "Pack %s can't be read, so it is not known whether it is sealed; "
                                "nothing was changed. See to the disk, or restore the file from a "
                                "replica",
                                name);
        }
        rc = rc == HF_OK ? HF_OK : pack_repair(store, store->numbers[i], error);
        if (rc != HF_OK && rc != HF_ERR_NOT_FOUND) {
            return rc;
        }
        if (rc == HF_OK) {
            store->numbers[kept++] = store->numbers[i];
        }
    }
    store->number_count = kept;
    atomic_store(&store->stat_packs, kept);
    return HF_OK;
}

static int take_lock(struct hf_store *store, struct hf_error *error)
{
    store->lock_fd =
        openat(store->directory_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (store->lock_fd < 0 || flock(store->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        int saved = errno;
        if (saved == EWOULDBLOCK) {
            return hf_error_set(error, HF_ERR_AGAIN, 0,
                                "Another collector has the repository %s open; stop that one first",
                                store->directory);
        }
        return hf_error_set(error, HF_ERR_IO, saved, "Can't lock the repository %s",
                            store->directory);
    }
    return HF_OK;
}

int store_open(const struct hf_store_options *options, struct hf_store **out,
               struct hf_error *error)
{
    struct hf_store *store = calloc(1, sizeof *store);
    if (!store || !(store->directory = strdup(options->directory))) {
        free(store);
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory to open %s", options->directory);
    }
    store->lock_fd = -1;
    store->pack.fd = -1;
    store->read_only = options->read_only;
    store->durable_pack = options->durable_pack;
    store->durable_offset = options->durable_offset;
    store->pack_target_bytes =
        options->pack_target_bytes ? options->pack_target_bytes : HF_STORE_PACK_TARGET_BYTES;
    memcpy(store->key, options->key, sizeof store->key);
    store->directory_fd = open(options->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = HF_OK;
    if (store->directory_fd < 0) {
        rc = hf_error_set(error, HF_ERR_NOT_FOUND, errno, "Can't open the repository %s",
                          options->directory);
    }
    store->compressor = hf_compressor_new(JOURNAL_LEVEL);
    if (rc == HF_OK && !store->compressor) {
        rc = hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory to open %s", options->directory);
    }
    rc = rc == HF_OK ? read_config(store, error) : rc;
    rc = rc == HF_OK && !store->read_only ? take_lock(store, error) : rc;
    rc = rc == HF_OK ? list_packs(store, error) : rc;
    rc = rc == HF_OK && !store->read_only ? repair_packs(store, error) : rc;
    if (rc != HF_OK) {
        store_close(store);
        return rc;
    }
    *out = store;
    return HF_OK;
}

void store_close(struct hf_store *store)
{
    if (!store) {
        return;
    }
    if (store->pack.fd >= 0) {
        struct hf_error ignored = {0};
        store_seal(store, &ignored); /* without it the next start repairs */
    }
    if (store->lock_fd >= 0) {
        close(store->lock_fd);
    }
    if (store->directory_fd >= 0) {
        close(store->directory_fd);
    }
    hf_wipe(store->key, sizeof store->key);
    hf_compressor_free(store->compressor);
    hf_buf_free(&store->entries);
    hf_buf_free(&store->payload);
    free(store->numbers);
    free(store->directory);
    free(store);
}

void store_chunking_seed(const struct hf_store *store, uint8_t out[HF_CHUNK_SEED_BYTES])
{
    /* It fails only without memory, and no seed at all would be one that everybody knows. */
    if (hf_hkdf_sha256(store->key, sizeof store->key, store->repository, sizeof store->repository,
                       CHUNKING_INFO, out, HF_CHUNK_SEED_BYTES) != HF_OK) {
        abort();
    }
}

void store_stats(struct hf_store *store, struct hf_store_stats *out)
{
    out->packs = atomic_load(&store->stat_packs);
    out->bytes = atomic_load(&store->stat_bytes);
}

uint64_t store_free_bytes(const struct hf_store *store)
{
    struct statvfs status;
    uint64_t bytes = 0;
    if (fstatvfs(store->directory_fd, &status) != 0 ||
        __builtin_mul_overflow((uint64_t)status.f_bavail, (uint64_t)status.f_frsize, &bytes)) {
        return UINT64_MAX;
    }
    return bytes;
}
