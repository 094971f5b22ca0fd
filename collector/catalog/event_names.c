#include "collector/catalog/event_codec.h"

static const char *const roles[] = {"none", "viewer", "operator", "admin"};
static const char *const job_states[] = {"unknown", "waiting",   "running", "succeeded",
                                         "failed",  "cancelled", "expired"};
static const char *const outcomes[] = {"unknown", "ok", "refused", "failed"};
static const char *const reasons[] = {"unknown", "manual", "pre-restore"};
static const char *const token_kinds[] = {"unknown", "enrol", "api"};
static const char *const source_states[] = {"unknown", "watching", "scanning", "degraded",
                                            "failing", "waiting",  "retired"};
static const char *const changes[] = {"unknown", "added", "removed", "modified", "metadata"};

#define NAME_OF(names, value) name_of((names), sizeof(names) / sizeof((names)[0]), (int)(value))

static const char *name_of(const char *const *names, size_t count, int value)
{
    return value >= 0 && (size_t)value < count ? names[value] : names[0];
}

const char *event_type_name(enum hf_event_type type)
{
    const struct event_kind *kind = event_kind_find(type);
    return kind ? kind->name : "unknown";
}

const char *event_role_name(enum hf_role role)
{
    return NAME_OF(roles, role);
}

enum hf_role event_role_parse(const char *name)
{
    for (int role = HF_ROLE_VIEWER; role <= HF_ROLE_ADMIN; role++) {
        if (strcmp(name, roles[role]) == 0) {
            return (enum hf_role)role;
        }
    }
    return HF_ROLE_NONE;
}

const char *event_job_state_name(enum hf_job_state state)
{
    return NAME_OF(job_states, state);
}

bool event_job_is_final(enum hf_job_state state)
{
    return state > HF_JOB_STATE_RUNNING;
}

const char *event_audit_outcome_name(enum hf_audit_outcome outcome)
{
    return NAME_OF(outcomes, outcome);
}

const char *event_snapshot_reason_name(enum hf_snapshot_reason reason)
{
    return NAME_OF(reasons, reason);
}

const char *event_token_kind_name(enum hf_token_kind kind)
{
    return NAME_OF(token_kinds, kind);
}

const char *event_source_state_name(int state)
{
    return NAME_OF(source_states, state);
}

const char *catalog_change_name(enum hf_change change)
{
    return NAME_OF(changes, change);
}
