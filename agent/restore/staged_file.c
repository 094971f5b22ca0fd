#include "agent/restore/staged_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fs.h"

void staged_file_remove(int dir_fd, const char *path)
{
    const char *name;
    int parent_fd;
    if (hf_open_parent_beneath(dir_fd, path, &parent_fd, &name, NULL))
        return;
    unlinkat(parent_fd, name, 0);
    close(parent_fd);
}

static bool may_be_kept(int dir_fd, const char *path)
{
    const char *name;
    int parent_fd;
    struct stat status;
    if (hf_open_parent_beneath(dir_fd, path, &parent_fd, &name, NULL))
        return false;
    bool kept = !fstatat(parent_fd, name, &status, AT_SYMLINK_NOFOLLOW) &&
                S_ISREG(status.st_mode) && status.st_nlink == 1;
    close(parent_fd);
    return kept;
}

int staged_file_open(int dir_fd, const char *path, mode_t mode, bool keep, int *out_fd,
                     struct hf_error *error)
{
    struct hf_error why = {0};
    if (keep && may_be_kept(dir_fd, path))
        return hf_open_beneath(dir_fd, path, O_RDWR, 0, out_fd, error);
    const int flags = O_RDWR | O_CREAT | O_EXCL;
    int result = hf_open_beneath(dir_fd, path, flags, mode, out_fd, &why);
    if (!result || why.sys_errno != EEXIST) {
        if (result)
            *error = why;
        return result;
    }
    staged_file_remove(dir_fd, path);
    return hf_open_beneath(dir_fd, path, flags, mode, out_fd, error);
}
