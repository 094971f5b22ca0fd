#include "agent/session/effort.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"

/* Long enough to tell a link from a burst, short enough to follow what a host does. */
#define STRETCH_NS (HF_NS_PER_SECOND / 4)
/* After as long as that nothing is known any more. */
#define FORGET_NS (2 * HF_NS_PER_SECOND)

static void begin(struct hf_effort *effort, int64_t now_ns, int64_t idle_ns)
{
    effort->begun_ns = effort->noted_ns = now_ns;
    effort->waited_ns = 0;
    effort->idle_ns = idle_ns;
}

void effort_init(struct hf_effort *effort, int64_t (*read_idle)(void), int64_t now_ns)
{
    *effort = (struct hf_effort){.level = HF_EFFORT_MIN, .read_idle = read_idle};
    begin(effort, now_ns, -1);
}

/* Up while it has waited for the link half of the time and half a core was free; down when the link
 * hardly made it wait, or no core was free. */
static void adapt(struct hf_effort *effort, int64_t now_ns)
{
    int64_t elapsed_ns = now_ns - effort->begun_ns;
    bool waited = effort->waited_ns >= elapsed_ns / 2;
    bool hardly = effort->waited_ns < elapsed_ns / 10;
    int64_t idle_ns = waited || effort->level > HF_EFFORT_MIN ? effort->read_idle() : -1;
    bool known = idle_ns >= 0 && effort->idle_ns >= 0;
    bool is_free = known && idle_ns - effort->idle_ns >= elapsed_ns / 2;
    if (waited && is_free && effort->level < HF_EFFORT_MAX) {
        effort->level++;
    } else if ((hardly || (known && !is_free)) && effort->level > HF_EFFORT_MIN) {
        effort->level--;
    }
    begin(effort, now_ns, idle_ns);
}

void effort_note(struct hf_effort *effort, bool link_is_full, int64_t now_ns)
{
    if (now_ns - effort->noted_ns >= FORGET_NS && !effort->waiting) {
        effort->level = HF_EFFORT_MIN;
        begin(effort, now_ns, -1);
    }
    effort->waited_ns += effort->waiting ? now_ns - effort->noted_ns : 0;
    effort->noted_ns = now_ns;
    effort->waiting = link_is_full;
    if (now_ns - effort->begun_ns >= STRETCH_NS) {
        adapt(effort, now_ns);
    }
}

int effort_level(const struct hf_effort *effort)
{
    return effort->level;
}

int64_t effort_read_idle(void)
{
    char text[256];
    int fd = open("/proc/stat", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -1;
    }
    ssize_t got = read(fd, text, sizeof(text) - 1);
    close(fd);
    long ticks = sysconf(_SC_CLK_TCK);
    if (got <= 0 || ticks <= 0) {
        return -1;
    }
    text[got] = '\0';
    /* "cpu", then user, nice, system, idle and iowait in ticks. */
    uint64_t values[5];
    char *rest = text + strcspn(text, " \n");
    for (size_t i = 0; i < 5; i++) {
        char *end;
        values[i] = strtoull(rest, &end, 10);
        if (end == rest) {
            return -1;
        }
        rest = end;
    }
    return (int64_t)(values[3] + values[4]) * (HF_NS_PER_SECOND / ticks);
}
