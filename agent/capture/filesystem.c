#include "agent/capture/filesystem.h"

#include <stdio.h>

struct kind {
    uint64_t magic; /* linux/magic.h, statfs(2) */
    const char *name;
    bool told;
};

static const struct kind kinds[] = {
    {0xef53, "ext4", true}, /* ext2 and ext3 too */
    {0x58465342, "xfs", true},       {0x9123683e, "btrfs", true},
    {0x01021994, "tmpfs", true},     {0x858458f6, "ramfs", true},
    {0x794c7630, "overlayfs", true}, {0xf2f52010, "f2fs", true},
    {0x2fc12fc1, "zfs", true},       {0xca451a4e, "bcachefs", true},
    {0x3153464a, "jfs", true},       {0x52654973, "reiserfs", true},
    {0x3434, "nilfs2", true},        {0x24051905, "ubifs", true},
    {0x72b6, "jffs2", true},         {0xf15f, "ecryptfs", true},
    {0x0187, "autofs", true}, /* what it mounts is a file system of its own */
    {0x4d44, "vfat", true},          {0x2011bab0, "exfat", true},
    {0x7366746e, "ntfs3", true},     {0x5346544e, "ntfs", true},
    {0x482b, "hfsplus", true},       {0x15013346, "udf", true},
    {0x9660, "iso9660", true},       {0x73717368, "squashfs", true},
    {0xe0f5e1e2, "erofs", true},     {0x28cd3d45, "cramfs", true},
    {0x6969, "nfs", false},          {0x517b, "smb", false},
    {0xfe534d42, "smb3", false},     {0xff534d42, "cifs", false},
    {0x65735546, "fuse", false}, /* sshfs, s3fs, virtiofs, ... */
    {0x01021997, "9p", false},       {0x00c36400, "ceph", false},
    {0x5346414f, "afs", false},      {0x6b414653, "kafs", false},
    {0x73757245, "coda", false},     {0x01161970, "gfs2", false},
    {0x7461636f, "ocfs2", false},    {0x0bd00bd0, "lustre", false},
    {0x47504653, "gpfs", false},     {0x19830326, "beegfs", false},
    {0x786f4256, "vboxsf", false},   {0xbacbacbc, "vmhgfs", false},
    {0x7c7c6673, "prl_fs", false},   {0x9fa0, "proc", false},
    {0x62656572, "sysfs", false},    {0x64626720, "debugfs", false},
    {0x27e0eb, "cgroup", false},     {0x63677270, "cgroup2", false},
};

static const struct kind *find(uint64_t magic)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (kinds[i].magic == magic) {
            return &kinds[i];
        }
    }
    return NULL;
}

bool filesystem_is_told(uint64_t kind)
{
    const struct kind *known = find(kind);
    return known && known->told;
}

void filesystem_name(uint64_t kind, char out[HF_FILESYSTEM_NAME_BYTES])
{
    const struct kind *known = find(kind);
    if (known) {
        snprintf(out, HF_FILESYSTEM_NAME_BYTES, "%s", known->name);
    } else {
        snprintf(out, HF_FILESYSTEM_NAME_BYTES, "kind 0x%llx", (unsigned long long)kind);
    }
}
