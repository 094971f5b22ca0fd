/* Who doesn't get in: counted, told in the log, and where the name can be believed audited. */
#include <stdio.h>

#include "collector/session/connection.h"
#include "common/log.h"

void refused_audit(struct hf_sessions *sessions, const char *host_id, const char *action,
                   const char *detail)
{
    char actor[160];
    char text[480];
    uint64_t suppressed = 0;
    if (!hub_may_audit(sessions->options.hub, host_id, &suppressed)) {
        return;
    }
    snprintf(actor, sizeof actor, "host %s", host_id);
    int length = snprintf(text, sizeof text, "%s", detail);
    if (suppressed > 0 && length >= 0 && (size_t)length < sizeof text) {
        snprintf(text + length, sizeof text - (size_t)length, " (%llu more since the last entry)",
                 (unsigned long long)suppressed);
    }
    struct hf_event event = {
        .type = HF_EVENT_AUDIT,
        .actor = event_text(actor),
        .audit = {.action = event_text(action),
                  .object = event_text(host_id),
                  .detail = event_text(text),
                  .outcome = HF_AUDIT_REFUSED},
    };
    ingest_commit_async(sessions->options.ingest, &event, NULL, NULL);
}

void refused_certificate(struct hf_sessions *sessions, const char *address,
                         const struct tls_refusal *refusal)
{
    char detail[320];
    hub_count_refusal(sessions->options.hub, 0);
    if (*refusal->common_name) {
        snprintf(detail, sizeof detail, "certificate from %s: %s", address, refusal->reason);
        refused_audit(sessions, refusal->common_name, "session.refused", detail);
    }
    if (hf_rate_limit_take(sessions->refusals, address) > 0) {
        return;
    }
    if (*refusal->common_name) {
        hf_log_warning("A connection from %s with the certificate of host %s is refused: %s. When "
                       "the host's clock and this machine's are right, enrol it again with a token "
                       "('holdfast token create')",
                       address, refusal->common_name, refusal->reason);
    } else {
        hf_log_warning("A connection from %s is refused: %s", address, refusal->reason);
    }
}
