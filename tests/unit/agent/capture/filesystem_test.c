/* Only of a file system that is known to tell everything, "nothing was told" means "nothing
 * changed". */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include <string.h>

#include <linux/magic.h>
#include <sys/vfs.h>

#include "agent/capture/filesystem.h"

static void local_file_systems_tell_of_everything(void **state)
{
    static const uint64_t kinds[] = {EXT4_SUPER_MAGIC,  XFS_SUPER_MAGIC,       BTRFS_SUPER_MAGIC,
                                     TMPFS_MAGIC,       OVERLAYFS_SUPER_MAGIC, F2FS_SUPER_MAGIC,
                                     MSDOS_SUPER_MAGIC, SQUASHFS_MAGIC};
    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        assert_true(filesystem_is_told(kinds[i]));
    }
}

static void what_others_can_change_does_not(void **state)
{
    static const struct {
        uint64_t kind;
        const char *name;
    } kinds[] = {{NFS_SUPER_MAGIC, "nfs"},   {SMB_SUPER_MAGIC, "smb"},
                 {CIFS_SUPER_MAGIC, "cifs"}, {SMB2_SUPER_MAGIC, "smb3"},
                 {FUSE_SUPER_MAGIC, "fuse"}, {V9FS_MAGIC, "9p"},
                 {CEPH_SUPER_MAGIC, "ceph"}, {OCFS2_SUPER_MAGIC, "ocfs2"}};
    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        char name[HF_FILESYSTEM_NAME_BYTES];
        assert_false(filesystem_is_told(kinds[i].kind));
        filesystem_name(kinds[i].kind, name);
        assert_string_equal(name, kinds[i].name);
    }
}

static void what_changes_by_itself_does_not_and_the_kernel_has_the_same_numbers(void **state)
{
    struct statfs status;
    char name[HF_FILESYSTEM_NAME_BYTES];
    (void)state;
    assert_int_equal(statfs("/proc", &status), 0);
    assert_false(filesystem_is_told((uint64_t)status.f_type & UINT32_MAX));
    filesystem_name((uint64_t)status.f_type & UINT32_MAX, name);
    assert_string_equal(name, "proc");
}

static void a_kind_that_is_not_known_is_not_trusted(void **state)
{
    char name[HF_FILESYSTEM_NAME_BYTES];
    (void)state;
    assert_false(filesystem_is_told(0xdeadbeef));
    filesystem_name(0xdeadbeef, name);
    assert_string_equal(name, "kind 0xdeadbeef");
    filesystem_name(UINT64_MAX, name);
    assert_string_equal(name, "kind 0xffffffffffffffff");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(local_file_systems_tell_of_everything),
        cmocka_unit_test(what_others_can_change_does_not),
        cmocka_unit_test(what_changes_by_itself_does_not_and_the_kernel_has_the_same_numbers),
        cmocka_unit_test(a_kind_that_is_not_known_is_not_trusted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
