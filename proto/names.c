#include "proto/frame.h"

#include <string.h>

bool proto_has_capability(const struct hf_bytes *capabilities, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (capabilities[i].size == strlen(name) &&
            memcmp(capabilities[i].data, name, capabilities[i].size) == 0) {
            return true;
        }
    }
    return false;
}

const char *proto_code_name(enum hf_wire_code code)
{
    static const char *const names[] = {
        [HF_WIRE_MALFORMED] = "malformed",
        [HF_WIRE_UNKNOWN_TYPE] = "unknown-type",
        [HF_WIRE_TOO_LARGE] = "too-large",
        [HF_WIRE_VERSION] = "version",
        [HF_WIRE_STATE] = "state",
        [HF_WIRE_CREDIT] = "credit",
        [HF_WIRE_HASH] = "hash",
        [HF_WIRE_MISSING_CHUNKS] = "missing-chunks",
        [HF_WIRE_GAP] = "gap",
        [HF_WIRE_DENIED] = "denied",
        [HF_WIRE_DUPLICATE] = "duplicate",
        [HF_WIRE_REVOKED] = "revoked",
        [HF_WIRE_OVERLOADED] = "overloaded",
        [HF_WIRE_SHUTDOWN] = "shutdown",
        [HF_WIRE_STORAGE] = "storage",
        [HF_WIRE_NOT_FOUND] = "not-found",
        [HF_WIRE_INTERNAL] = "internal",
        [HF_WIRE_PATH] = "path",
        [HF_WIRE_IDLE] = "idle",
        [HF_WIRE_EXPIRED] = "expired",
    };
    size_t index = (size_t)code;
    return index < sizeof names / sizeof names[0] && names[index] ? names[index] : "unknown";
}

const char *proto_status_name(enum hf_restore_status status)
{
    static const char *const names[] = {
        [HF_RESTORE_RESTORED] = "restored", [HF_RESTORE_IDENTICAL] = "identical",
        [HF_RESTORE_SKIPPED] = "skipped",   [HF_RESTORE_RENAMED] = "renamed",
        [HF_RESTORE_FAILED] = "failed",     [HF_RESTORE_WOULD] = "would-restore",
    };
    size_t index = (size_t)status;
    return index < sizeof names / sizeof names[0] && names[index] ? names[index] : "unknown";
}
