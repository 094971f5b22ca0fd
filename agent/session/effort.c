#include "agent/session/effort.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
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
    char line[256];
    int64_t idle = 0, waiting = 0;
    int fd = open("/proc/stat", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -1;
    }
    ssize_t got = read(fd, line, sizeof(line) - 1);
    close(fd);
    if (got <= 0) {
        return -1;
    }
    line[got] = '\0';
    long ticks = sysconf(_SC_CLK_TCK);
    if (ticks <= 0 || sscanf(line, "cpu %*u %*u %*u %" SCNd64 " %" SCNd64, &idle, &waiting) != 2) {
        return -1;
    }
    return (idle + waiting) * (HF_NS_PER_SECOND / ticks);
}
