#include <string.h>

#include "collector/ctl/ctl.h"

int target_parse(const char *text, enum ctl_target_need need, struct ctl_target *out)
{
    size_t host = strcspn(text, ":/");
    const char *source = text[host] == ':' ? text + host + 1 : "";
    size_t source_length = strcspn(source, "/");
    const char *path = source[source_length] == '/' ? source + source_length : "";
    while (*path == '/') {
        path++;
    }
    if (host == 0 || host >= sizeof out->host || text[host] == '/' ||
        source_length >= sizeof out->source || (need >= CTL_TARGET_SOURCE && source_length == 0) ||
        (need == CTL_TARGET_PATH && !*path)) {
        static const char *const wanted[] = {"HOST", "HOST:SOURCE", "HOST:SOURCE/PATH"};
        complain("'%s' isn't of the form %s, for example %s", text, wanted[need],
                 need == CTL_TARGET_HOST ? "robot-07" : "robot-07:config/etc/casare-rpa/.env");
        return CTL_USAGE;
    }
    memcpy(out->host, text, host);
    out->host[host] = '\0';
    memcpy(out->source, source, source_length);
    out->source[source_length] = '\0';
    out->path = path;
    return CTL_OK;
}
