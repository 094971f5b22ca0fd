#include "agent/restore/special.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/restore/stage.h"
#include "common/device.h"
#include "common/fs.h"

static int fail(const char *what, struct hf_error *error)
{
    bool full = errno == ENOSPC || errno == EDQUOT;
    return full ? hf_error_set(error, HF_ERR_NO_SPACE, errno,
                               "making %s for the restore failed; nothing was changed", what)
                : hf_error_set(error, HF_ERR_IO, errno, "can't make %s", what);
}

static int make_link(const struct hf_staged *staged, const struct hf_version *version,
                     struct hf_error *error)
{
    char points_to[HF_PATH_MAX_BYTES + 1];
    if (version->target.size == 0 || version->target.size > HF_PATH_MAX_BYTES)
        return hf_error_set(error, HF_ERR_INVALID, 0, "the link's target is too long");
    memcpy(points_to, version->target.data, version->target.size);
    points_to[version->target.size] = '\0';
    return symlinkat(points_to, staged->dir_fd, staged->name) ? fail("a symbolic link", error) : 0;
}

static int make_device(const struct hf_staged *staged, const struct hf_version *version,
                       struct hf_error *error)
{
    dev_t numbers;
    if (!hf_device_parse(version->target, &numbers))
        return hf_error_set(error, HF_ERR_INVALID, 0, "the device's numbers are none");
    if (!mknodat(staged->dir_fd, staged->name, hf_file_kind(version->type) | 0600, numbers))
        return 0;
    if (errno == EPERM)
        return hf_error_set(error, HF_ERR_DENIED, EPERM,
                            "the agent may not make devices, or the file system has none; give its "
                            "unit CAP_MKNOD and PrivateDevices=no, and restore again");
    return fail("a device", error);
}

int special_allowed(const struct hf_metadata_rules *rules, const struct hf_version *version,
                    struct hf_error *error)
{
    if (!hf_file_is_device(version->type) || rules->privileged)
        return 0;
    return hf_error_set(error, HF_ERR_DENIED, 0,
                        "it is a device, which this host takes from the collector only with "
                        "restore_privileged = yes in its configuration");
}

int special_stage(struct hf_targets *targets, const struct hf_version *version, uint64_t index,
                  const struct hf_metadata *metadata, const struct hf_target *target, bool in_tree,
                  struct hf_error *shortfall, struct hf_error *error)
{
    struct hf_staged staged;
    bool device = hf_file_is_device(version->type);
    int result = stage_find(targets, target, index, in_tree, &staged, error);
    if (result)
        return result;
    unlinkat(staged.dir_fd, staged.name, 0); /* of an interrupted run */
    result = device ? make_device(&staged, version, error) : make_link(&staged, version, error);
    if (result)
        return result;
    result = device ? metadata_set_device(staged.dir_fd, staged.name, metadata, shortfall, error)
                    : metadata_set_link(staged.dir_fd, staged.name, metadata, shortfall, error);
    if (result)
        unlinkat(staged.dir_fd, staged.name, 0);
    return result;
}
