#include "common/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int hf_notify(const char *state, struct hf_error *error)
{
    const char *name = getenv("NOTIFY_SOCKET");
    if (!name || !*name)
        return 0;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(name);
    if ((name[0] != '/' && name[0] != '@') || length < 2 || length >= sizeof(address.sun_path))
        return hf_error_set(error, HF_ERR_INVALID, 0,
                            "$NOTIFY_SOCKET is neither an absolute path nor an abstract name of "
                            "less than %zu bytes",
                            sizeof(address.sun_path));
    memcpy(address.sun_path, name, length);
    if (name[0] == '@')
        address.sun_path[0] = '\0'; /* Linux's abstract names begin with NUL */

    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return hf_error_set(error, HF_ERR_IO, errno, "can't make a socket to notify systemd");
    socklen_t address_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    size_t size = strlen(state);
    ssize_t sent =
        sendto(fd, state, size, MSG_NOSIGNAL, (const struct sockaddr *)&address, address_size);
    int result = 0;
    if (sent < 0 || (size_t)sent != size)
        result = hf_error_set(error, HF_ERR_IO, errno, "can't notify systemd at %s", name);
    close(fd);
    return result;
}

int64_t hf_notify_watchdog_ns(void)
{
    const char *interval = getenv("WATCHDOG_USEC");
    if (!interval || !*interval)
        return 0;
    const char *pid = getenv("WATCHDOG_PID");
    if (pid && *pid && strtoll(pid, NULL, 10) != (long long)getpid())
        return 0;
    char *end = NULL;
    errno = 0;
    long long microseconds = strtoll(interval, &end, 10);
    if (errno || *end || microseconds <= 0 || microseconds > INT64_MAX / 1000)
        return 0;
    return (int64_t)microseconds * 1000;
}
