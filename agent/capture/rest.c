/* How much of the host capture takes while it has nothing to do, and while somebody waits for it.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "agent/capture/capture_private.h"
#include "common/memory.h"

/* Its whole pages. */
static void give_back(uint8_t *buffer)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t skip = (page - (uintptr_t)buffer % page) % page;
    madvise(buffer + skip, (CAPTURE_BUFFER_BYTES - skip) / page * page, MADV_DONTNEED);
}

/* Most of the time there is nothing to do, and the memory for doing it is better used by the host.
 */
void give_memory_back(struct hf_capture *capture)
{
    capture->rested = true;
    state_rest(capture->state);
    outbox_rest(capture->outbox);
    give_back(capture->buffer);
    give_back(capture->spare);
    hf_give_memory_back();
    hf_give_code_back();
}

/* A restore can't begin before what is on the host is captured. */
void hurry_if_pressed(struct hf_capture *capture)
{
    bool hurries = capture->flushes != NULL;
    hf_priority_hurry(&capture->priority, hurries);
    __atomic_store_n(&capture->hurries, hurries, __ATOMIC_RELEASE);
}

bool capture_hurries(struct hf_capture *capture)
{
    return __atomic_load_n(&capture->hurries, __ATOMIC_ACQUIRE);
}
