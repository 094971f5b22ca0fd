/* What a thread takes of the CPU and of the disk while others want them too. On Linux both belong
 * to the thread. All functions are about the calling thread. */
#ifndef HF_COMMON_PRIORITY_H
#define HF_COMMON_PRIORITY_H

#include <stdbool.h>

/* As ioprio_set(2) numbers them. */
enum hf_io_class {
    HF_IO_UNSET = 0, /* goes by nice */
    HF_IO_REALTIME = 1,
    HF_IO_BEST_EFFORT = 2,
    HF_IO_IDLE = 3 /* only when nobody else wants the disk, which may be never */
};
#define HF_IO_PRIORITY_MAX 7 /* 0 goes first */

struct hf_priority {
    int nice;
    enum hf_io_class io_class;
    int io_priority;
};

/* A thread that steps back, and forward again when somebody waits for it. */
struct hf_priority_switch {
    struct hf_priority low, full;
    bool is_low;
};

/* Step back to low, and remember what was before as full; a nice that is higher already stays.
 * A kernel that knows no I/O priorities leaves those alone. */
void hf_priority_begin(struct hf_priority_switch *priority, const struct hf_priority *low);
/* Be at full priority, or not. Where the system doesn't let a thread's nice be lowered again
 * (RLIMIT_NICE, CAP_SYS_NICE), it stays and the I/O priority alone changes. Cheap if nothing does.
 */
void hf_priority_hurry(struct hf_priority_switch *priority, bool hurry);
struct hf_priority hf_priority_now(void);

#endif
