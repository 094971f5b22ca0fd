/* Presets: what a CasareRPA host keeps, in the paths of its code and those of its guide. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/config/private.h"

/* "~" stands for the home directory, "$W" for the workflows'. Both spellings of the data directory
 * are named; what does not exist is waited for. SQLite databases in use can't be copied as files
 * and are left to a kind of their own; what the product rebuilds by itself is left out. */
struct preset_source {
    const char *name, *class_name;
    bool json, system; /* system: outside the home directory */
    const char *paths[8];
    const char *excludes[10];
};

#define REBUILT "*.db", "*.db-wal", "*.db-shm", "*.pid", "*_status.json", "*.tmp"

static const struct preset_source robot[] = {
    {"checkpoints",
     "checkpoints",
     true,
     false,
     {"~/.casare_rpa/checkpoints", "~/.casare-rpa/checkpoints"},
     {"*.tmp"}},
    {"config",
     "config",
     false,
     false,
     {"~/.casare_rpa/robot_config.yaml", "~/.casare_rpa/.env", "~/.casare-rpa/config",
      "~/.casare-rpa/.env", "~/CasareRPA/robot_identity.json"},
     {REBUILT}},
    {"projects", "workflows", false, false, {"~/CasareRPA/projects"}, {REBUILT}},
    {"workflows", "workflows", true, false, {"$W"}, {REBUILT}},
    {"logs", "logs", false, false, {"~/.casare_rpa/logs", "~/.casare-rpa/logs"}, {"*.tmp"}},
    {"credentials",
     "credentials",
     false,
     false,
     {"~/.local/share/CasareRPA/credentials"},
     {"*.tmp"}},
    {"system-config", "config", false, true, {"/etc/casare-rpa"}, {"*.log", "*.tmp"}},
    {"system-logs", "logs", false, true, {"/var/log/casare-rpa"}, {"*.tmp"}},
    {.name = NULL},
};

static const struct preset_source orchestrator[] = {
    {"store",
     "workflows",
     true,
     false,
     {"~/.casare_rpa/orchestrator", "~/.casare-rpa/orchestrator"},
     {REBUILT}},
    {"config",
     "config",
     false,
     false,
     {"~/.casare_rpa/.env", "~/.casare-rpa/config", "~/.casare-rpa/.env"},
     {REBUILT}},
    {"workflows", "workflows", true, false, {"$W"}, {REBUILT}},
    {"logs", "logs", false, false, {"~/.casare_rpa/logs", "~/.casare-rpa/logs"}, {"*.tmp"}},
    {"credentials",
     "credentials",
     false,
     false,
     {"~/.local/share/CasareRPA/credentials"},
     {"*.tmp"}},
    {"system-config", "config", false, true, {"/etc/casare-rpa"}, {"*.log", "*.tmp"}},
    {"system-logs", "logs", false, true, {"/var/log/casare-rpa"}, {"*.tmp"}},
    {.name = NULL},
};

static int add(struct hf_config *config, const struct preset_source *preset, const char *home,
               const char *workflows)
{
    struct hf_config_source *source = config_add_source(config, preset->name, preset->class_name);
    int rc = source ? HF_OK : HF_ERR_NO_MEMORY;
    for (size_t i = 0; rc == HF_OK && preset->paths[i]; i++) {
        char path[4200];
        const char *text = preset->paths[i];
        if (text[0] == '~') {
            snprintf(path, sizeof path, "%s%s", home, text + 1);
        } else {
            snprintf(path, sizeof path, "%s", strcmp(text, "$W") == 0 ? workflows : text);
        }
        rc = config_add_text(&source->paths, &source->path_count, path);
    }
    for (size_t i = 0; rc == HF_OK && preset->excludes[i]; i++) {
        rc = config_add_text(&source->excludes, &source->exclude_count, preset->excludes[i]);
    }
    if (rc == HF_OK && preset->json) {
        source->validate = HF_VALIDATE_JSON;
    }
    return rc;
}

int preset_expand(struct hf_config *config, struct hf_ini *ini, const char *section,
                  const char *preset, struct hf_error *error)
{
    const struct preset_source *list = strcmp(preset, "casare-robot") == 0          ? robot
                                       : strcmp(preset, "casare-orchestrator") == 0 ? orchestrator
                                                                                    : NULL;
    const struct hf_ini_entry *home = hf_ini_get(ini, section, "home", 0);
    const char *workflows = NULL;
    char fallback[4200];
    bool system = true;
    if (!list) {
        return hf_error_set(error, HF_ERR_INVALID, 0,
                            "%s: [%s]: there is no preset '%s'; there are: casare-robot, "
                            "casare-orchestrator",
                            config->file, section, preset);
    }
    if (!home || home->value[0] != '/') {
        return hf_error_set(error, HF_ERR_INVALID, 0,
                            "%s: [%s] needs home = /..., the home directory of the user that "
                            "CasareRPA runs as",
                            config->file, section);
    }
    snprintf(fallback, sizeof fallback, "%s/workflows", home->value);
    int rc = hf_ini_get_string(ini, section, "workflows_dir", fallback, &workflows, error);
    rc = rc == HF_OK ? hf_ini_get_bool(ini, section, "system", true, &system, error) : rc;
    for (; rc == HF_OK && list->name; list++) {
        if (system || !list->system) {
            rc = add(config, list, home->value, workflows);
        }
    }
    return rc;
}
