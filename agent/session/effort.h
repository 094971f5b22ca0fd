/* How hard to compress: as hard as the link and the CPU leave time for. While bulk has to wait for
 * the link and cores are idle, a higher level makes the link's work less; when the link has room,
 * or the host needs its cores itself, the lowest is best. One thread. */
#ifndef HF_AGENT_SESSION_EFFORT_H
#define HF_AGENT_SESSION_EFFORT_H

#include <stdbool.h>
#include <stdint.h>

/* zstd's levels. Above 6 blocks of this size cost half as much again for 3 % less
 * (agent/session/README.md has the figures). */
#define HF_EFFORT_MIN 1
#define HF_EFFORT_MAX 6

struct hf_effort {
    int level;
    bool waiting;     /* since noted_ns the link has had no room */
    int64_t begun_ns; /* of the stretch that is being watched; monotonic */
    int64_t noted_ns;
    int64_t waited_ns; /* in that stretch */
    int64_t idle_ns;   /* of all cores together when it began; -1 not known */
    int64_t (*read_idle)(void);
};

/* read_idle: how long the host's cores have been idle altogether, in nanoseconds since any moment,
 * -1 when that can't be read; effort_read_idle but in tests. */
void effort_init(struct hf_effort *effort, int64_t (*read_idle)(void), int64_t now_ns);
/* To be called whenever something may be sent, with whether the link has no room for bulk. */
void effort_note(struct hf_effort *effort, bool link_is_full, int64_t now_ns);
/* HF_EFFORT_MIN to HF_EFFORT_MAX. */
int effort_level(const struct hf_effort *effort);

/* By the first line of /proc/stat (proc(5)): what waits for a disk counts as idle. */
int64_t effort_read_idle(void);

#endif
