/* What a repository that is damaged, torn or full still gives, and how it says so. */
#include "tests/unit/collector/store/repository.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* A crash leaves any beginning of what was written after the last sync, or something else in its
 * place. */
static void a_torn_tail_costs_nothing_that_was_synced(void **state)
{
    struct repository repository;
    size_t found;
    (void)state;
    repository_new(&repository);
    open_again(&repository);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(append(&repository, 50, i == 1), HF_OK);
    }
    sync_all(&repository);
    struct hf_buf synced = slurp(pack_path(&repository, 1));
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(append(&repository, 70, i == 1), HF_OK);
    }
    sync_all(&repository);
    struct hf_buf all = slurp(pack_path(&repository, 1));
    store_close(repository.store);
    size_t second = (size_t)repository.records[5].location.offset;
    for (size_t cut = synced.size; cut <= all.size; cut++) {
        for (int garbage = 0; garbage < 2; garbage++) {
            struct hf_buf torn = {0};
            assert_int_equal(hf_buf_append(&torn, all.data, cut), HF_OK);
            /* The first byte is not the one that was there: a record that lacks its last byte would
             * be whole with it. */
            uint8_t other = cut < all.size ? (uint8_t)~all.data[cut] : 0;
            for (size_t i = 0; garbage && i < 90; i++) {
                assert_int_equal(hf_buf_append_byte(&torn, (uint8_t)(other + i * 37)), HF_OK);
            }
            spill(pack_path(&repository, 1), torn.data, torn.size);
            hf_buf_free(&torn);
            open_again(&repository);
            assert_int_equal(replay(&repository, &found), HF_OK);
            assert_int_equal(found, cut == all.size ? 6 : cut >= second ? 5 : 4);
            store_close(repository.store);
            repository.store = NULL;
        }
    }
    hf_buf_free(&synced);
    hf_buf_free(&all);
    repository_free(&repository);
}

/* Three groups of two records, unsealed as a crash leaves them. */
static struct hf_buf three_groups(struct repository *repository)
{
    repository_new(repository);
    open_again(repository);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(append(repository, 60, i % 3 == 1), HF_OK);
        if (i % 2 == 1) {
            sync_all(repository);
        }
    }
    struct hf_buf bytes = slurp(pack_path(repository, 1));
    store_close(repository->store);
    repository->store = NULL;
    return bytes;
}

static size_t record_at(const struct repository *repository, uint64_t offset)
{
    size_t i = repository->count - 1;
    while (repository->records[i].location.offset > offset) {
        i--;
    }
    return i;
}

static void expect_all_but(struct repository *repository, size_t lost)
{
    for (size_t i = 0; i < repository->count; i++) {
        if (!repository->records[i].journal) {
            assert_int_equal(read_record(repository, &repository->records[i]),
                             i == lost ? HF_ERR_CORRUPT : HF_OK);
        }
    }
}

static void damage_where_it_was_durable_costs_what_is_damaged_and_nothing_else(void **state)
{
    struct repository repository;
    struct hf_error error = {0};
    (void)state;
    struct hf_buf bytes = three_groups(&repository);
    uint64_t last_group = repository.records[4].location.offset;
    for (uint64_t at = repository.records[0].location.offset; at < bytes.size; at += 3) {
        /* The last group's durability is nobody's word but the caller's. */
        repository.durable =
            at >= last_group ? repository.records[5].location : (struct hf_location){0};
        bytes.data[at] ^= 0x10;
        spill(pack_path(&repository, 1), bytes.data, bytes.size);
        open_again(&repository);
        expect_all_but(&repository, record_at(&repository, at));
        assert_int_equal(store_verify_pack(repository.store, 1, &error), HF_ERR_CORRUPT);
        store_close(repository.store);
        struct hf_buf after = slurp(pack_path(&repository, 1));
        assert_int_equal(after.size, bytes.size);
        assert_memory_equal(after.data, bytes.data, bytes.size);
        hf_buf_free(&after);
        bytes.data[at] ^= 0x10;
    }
    /* What comes later goes into another pack, and the torn tail of a damaged one is cut. */
    bytes.data[repository.records[0].location.offset + 20] ^= 1;
    spill(pack_path(&repository, 1), bytes.data, bytes.size - 3);
    repository.durable = (struct hf_location){0};
    open_again(&repository);
    assert_int_equal(append(&repository, 60, false), HF_OK);
    sync_all(&repository);
    assert_int_equal(repository.records[6].location.pack, 2);
    struct hf_buf after = slurp(pack_path(&repository, 1));
    assert_int_equal(after.size, repository.records[5].location.offset);
    hf_buf_free(&after);
    hf_buf_free(&bytes);
    repository_free(&repository);
}

static void a_group_that_reached_the_disk_in_the_wrong_order_is_gone(void **state)
{
    struct repository repository;
    size_t found;
    (void)state;
    struct hf_buf bytes = three_groups(&repository);
    uint64_t hole = repository.records[4].location.offset;
    memset(bytes.data + hole, 0, repository.records[5].location.offset - hole);
    spill(pack_path(&repository, 1), bytes.data, bytes.size);
    hf_buf_free(&bytes);
    open_again(&repository);
    assert_int_equal(replay(&repository, &found), HF_OK);
    assert_int_equal(found, 4);
    repository_free(&repository);
}

static int nothing_block(void *context, const struct hf_location *location,
                         const struct hf_stored_block *stored)
{
    (void)context, (void)location, (void)stored;
    return 0;
}

static int nothing_journal(void *context, const struct hf_location *location, const uint8_t *data,
                           size_t size)
{
    (void)context, (void)location, (void)data, (void)size;
    return 0;
}

static void a_repository_that_lacks_what_is_known_is_not_taken_for_whole(void **state)
{
    struct repository repository;
    struct hf_error error = {0};
    struct hf_store_replay replay = {.block = nothing_block, .journal = nothing_journal};
    (void)state;
    struct hf_buf bytes = three_groups(&repository);
    hf_buf_free(&bytes);
    open_again(&repository);
    struct hf_location from = repository.records[5].location;
    assert_int_equal(store_replay(repository.store, &from, &replay, &error), HF_OK);
    from.offset += from.size;
    assert_int_equal(store_replay(repository.store, &from, &replay, &error), HF_ERR_CORRUPT);
    assert_non_null(strstr(error.message, "Restore it from a replica"));
    from = (struct hf_location){.pack = 2, .offset = PACK_HEADER_BYTES};
    assert_int_equal(store_replay(repository.store, &from, &replay, &error), HF_ERR_CORRUPT);
    repository_free(&repository);
}

static void no_flipped_bit_is_ever_served_and_every_one_is_found(void **state)
{
    struct repository repository;
    struct hf_error error = {0};
    (void)state;
    repository_new(&repository);
    open_again(&repository);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(append(&repository, 40, i == 2), HF_OK);
    }
    sync_all(&repository);
    store_close(repository.store);
    open_again(&repository);
    assert_int_equal(store_verify_pack(repository.store, 1, &error), HF_OK);
    struct hf_buf pack = slurp(pack_path(&repository, 1));
    for (size_t i = 0; i < pack.size; i++) {
        pack.data[i] ^= (uint8_t)(1u << i % 8);
        spill(pack_path(&repository, 1), pack.data, pack.size);
        pack.data[i] ^= (uint8_t)(1u << i % 8);
        error = (struct hf_error){0};
        assert_int_not_equal(store_verify_pack(repository.store, 1, &error), HF_OK);
        assert_true(error.message[0] != '\0');
        for (size_t j = 0; j < 5; j++) {
            if (!repository.records[j].journal) {
                read_record(&repository, &repository.records[j]); /* the truth, or a refusal */
            }
        }
    }
    hf_buf_free(&pack);
    repository_free(&repository);
}

static void limit_files_to(rlim_t bytes)
{
    struct rlimit limit = {.rlim_cur = bytes, .rlim_max = RLIM_INFINITY};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* A write that fails in the middle, as on a full disk. */
static void a_group_that_does_not_fit_is_gone_and_all_before_it_stands(void **state)
{
    struct repository repository;
    struct hf_error error = {0};
    size_t found;
    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    repository_new(&repository);
    open_again(&repository);
    assert_int_equal(append(&repository, 300, false), HF_OK);
    assert_int_equal(append(&repository, 300, true), HF_OK);
    sync_all(&repository);
    size_t whole = repository.count;
    limit_files_to(1200);
    int rc = HF_OK;
    for (size_t i = 0; i < 5 && rc == HF_OK; i++) {
        rc = append(&repository, 500, false);
    }
    rc = rc == HF_OK ? store_sync(repository.store, &error) : rc;
    assert_int_not_equal(rc, HF_OK);
    assert_true(error.message[0] != '\0');
    repository.count = whole; /* the group is gone */
    assert_int_equal(read_record(&repository, &repository.records[0]), HF_OK);
    limit_files_to(RLIM_INFINITY);
    assert_int_equal(append(&repository, 500, false), HF_OK);
    sync_all(&repository);
    store_close(repository.store);
    open_again(&repository);
    assert_int_equal(replay(&repository, &found), HF_OK);
    assert_int_equal(found, whole + 1);
    assert_int_equal(read_record(&repository, &repository.records[whole]), HF_OK);
    repository_free(&repository);
}

/* From here on pread64 at that offset fails with EIO; it can't be undone, so only in a child. */
static void fail_reads_at(uint32_t offset)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_pread64, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[3])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, offset, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EIO),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof code[0], code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
        _exit(77);
    }
}

/* Open in a child that can't read at an offset; the child's store_open result, negated. */
static int open_without(struct repository *repository, uint64_t offset)
{
    int status = 0;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct hf_error error = {0};
        fail_reads_at((uint32_t)offset);
        int rc = try_open(repository, 0, &error);
        if (rc == HF_OK) {
            store_close(repository->store);
        }
        _exit(-rc);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) {
        skip();
    }
    return WEXITSTATUS(status);
}

static void a_read_error_at_any_record_changes_no_byte(void **state)
{
    struct repository repository;
    (void)state;
    struct hf_buf bytes = three_groups(&repository);
    for (size_t i = 0; i < 6; i++) {
        for (size_t part = 0; part <= RECORD_HEADER_BYTES; part += RECORD_HEADER_BYTES) {
            spill(pack_path(&repository, 1), bytes.data, bytes.size);
            assert_int_equal(
                open_without(&repository, repository.records[i].location.offset + part),
                -HF_ERR_IO);
            struct hf_buf after = slurp(pack_path(&repository, 1));
            assert_int_equal(after.size, bytes.size);
            assert_memory_equal(after.data, bytes.data, bytes.size);
            hf_buf_free(&after);
        }
    }
    open_again(&repository);
    expect_all_but(&repository, SIZE_MAX);
    hf_buf_free(&bytes);
    repository_free(&repository);
}

/* All before an index was good once, whether the trailer behind it can be read or not. */
static void a_pack_that_was_sealed_loses_nothing_when_its_trailer_is_bad_too(void **state)
{
    struct repository repository;
    (void)state;
    struct hf_buf bytes = three_groups(&repository);
    hf_buf_free(&bytes);
    bytes = slurp(pack_path(&repository, 1)); /* with its seal */
    size_t trailer = bytes.size - PACK_TRAILER_BYTES;
    for (size_t damaged = 0; damaged < 6; damaged++) {
        uint8_t *record = bytes.data + repository.records[damaged].location.offset;
        record[RECORD_HEADER_BYTES] ^= 1;
        for (int unreadable = 0; unreadable < 2; unreadable++) {
            bytes.data[trailer] ^= unreadable ? 0 : 1;
            spill(pack_path(&repository, 1), bytes.data, bytes.size);
            if (unreadable) {
                assert_int_equal(open_without(&repository, trailer), -HF_ERR_IO);
            }
            open_again(&repository);
            expect_all_but(&repository, damaged);
            store_close(repository.store);
            repository.store = NULL;
            struct hf_buf after = slurp(pack_path(&repository, 1));
            assert_int_equal(after.size, bytes.size);
            assert_memory_equal(after.data, bytes.data, bytes.size);
            hf_buf_free(&after);
            bytes.data[trailer] ^= unreadable ? 0 : 1;
        }
        record[RECORD_HEADER_BYTES] ^= 1;
    }
    hf_buf_free(&bytes);
    repository_free(&repository);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_torn_tail_costs_nothing_that_was_synced),
        cmocka_unit_test(damage_where_it_was_durable_costs_what_is_damaged_and_nothing_else),
        cmocka_unit_test(a_group_that_reached_the_disk_in_the_wrong_order_is_gone),
        cmocka_unit_test(a_repository_that_lacks_what_is_known_is_not_taken_for_whole),
        cmocka_unit_test(no_flipped_bit_is_ever_served_and_every_one_is_found),
        cmocka_unit_test(a_group_that_does_not_fit_is_gone_and_all_before_it_stands),
        cmocka_unit_test(a_read_error_at_any_record_changes_no_byte),
        cmocka_unit_test(a_pack_that_was_sealed_loses_nothing_when_its_trailer_is_bad_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
