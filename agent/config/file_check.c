#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/config/config.h"

int config_check_file(const char *path, struct hf_error *error)
{
    struct stat status;
    if (stat(path, &status) != 0) {
        return hf_error_set(error, HF_ERR_NOT_FOUND, errno, "can't read the configuration %s",
                            path);
    }
    if (status.st_uid != 0 && status.st_uid != geteuid()) {
        return hf_error_set(error, HF_ERR_DENIED, 0,
                            "%s belongs to neither root nor the agent's user, so somebody else "
                            "could tell the agent what to do; chown it",
                            path);
    }
    if (status.st_mode & (S_IWGRP | S_IWOTH)) {
        return hf_error_set(error, HF_ERR_DENIED, 0,
                            "%s can be changed by others than its owner; chmod go-w it", path);
    }
    return HF_OK;
}
