#include "agent/session/renewal.h"

#include "common/clock.h"

#define STEP_MAX_NS  (60 * HF_NS_PER_SECOND)
#define PAUSE_MAX_NS (3600 * HF_NS_PER_SECOND)

static int64_t step_ns(const struct hf_renewal *renewal)
{
    int64_t step = renewal->life_ns / 64;
    step = step > HF_NS_PER_SECOND ? step : HF_NS_PER_SECOND;
    return step < STEP_MAX_NS ? step : STEP_MAX_NS;
}

void renewal_begin(struct hf_renewal *renewal, int64_t life_ns)
{
    *renewal = (struct hf_renewal){.life_ns = life_ns};
}

enum hf_renewal_step renewal_next(const struct hf_renewal *renewal, bool due, bool answered,
                                  int64_t monotonic_ns)
{
    if (renewal->asked_at_ns || monotonic_ns < renewal->again_at_ns)
        return HF_RENEWAL_NOTHING;
    if (answered)
        return HF_RENEWAL_INSTALL;
    return due ? HF_RENEWAL_ASK : HF_RENEWAL_NOTHING;
}

void renewal_asked(struct hf_renewal *renewal, int64_t monotonic_ns)
{
    renewal->asked_at_ns = monotonic_ns;
}

bool renewal_overdue(const struct hf_renewal *renewal, int64_t monotonic_ns)
{
    return renewal->asked_at_ns && monotonic_ns - renewal->asked_at_ns >= 2 * step_ns(renewal);
}

int64_t renewal_failed(struct hf_renewal *renewal, int64_t monotonic_ns)
{
    int64_t pause_ns = step_ns(renewal);
    for (unsigned i = 0; i < renewal->failures && pause_ns < PAUSE_MAX_NS; i++)
        pause_ns *= 2;
    if (pause_ns > PAUSE_MAX_NS)
        pause_ns = PAUSE_MAX_NS;
    if (renewal->failures < UINT32_MAX)
        renewal->failures++;
    renewal->asked_at_ns = 0;
    renewal->again_at_ns = monotonic_ns + pause_ns;
    return pause_ns;
}
