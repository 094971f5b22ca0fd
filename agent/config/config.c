#include <stdlib.h>
#include <string.h>

#include "agent/config/private.h"
#include "agent/identity/identity.h"
#include "common/clock.h"
#include "common/glob.h"
#include "common/join_token.h"

#define UPLOAD_LIMIT_MIN     (UINT64_C(16) << 10)
#define UPLOAD_LIMIT_MAX     (UINT64_C(1) << 40)
#define SOURCES_MAX          1024
#define SPOOL_MIN_BYTES      (UINT64_C(256) * 1024)
#define MARK_INTERVAL_MIN_NS (10 * HF_NS_PER_MS)
#define DEBOUNCE_MIN_NS      (10 * HF_NS_PER_MS)
#define RESCAN_MIN_NS        (100 * HF_NS_PER_MS)
#define INTERVAL_MAX_NS      (365 * 86400 * HF_NS_PER_SECOND)
#define RECONNECT_MIN_NS     (100 * HF_NS_PER_MS)
#define RECONNECT_MAX_NS     (3600 * HF_NS_PER_SECOND)

static const char *const classes[] = {"workflows", "credentials", "logs",     "config",
                                      "metrics",   "checkpoints", "database", NULL};

unsigned config_class_rank(const char *class_name)
{
    if (strcmp(class_name, "config") == 0 || strcmp(class_name, "credentials") == 0) {
        return 0;
    }
    return strcmp(class_name, "checkpoints") == 0 ? 1 : strcmp(class_name, "logs") == 0 ? 3 : 2;
}

bool config_is_sqlite(const struct hf_config_source *source)
{
    return source->kind && strcmp(source->kind, HF_KIND_SQLITE) == 0;
}

int config_add_text(char ***list, size_t *count, const char *text)
{
    char **grown = reallocarray(*list, *count + 1, sizeof *grown);
    if (!grown) {
        return HF_ERR_NO_MEMORY;
    }
    *list = grown;
    grown[*count] = strdup(text);
    if (!grown[*count]) {
        return HF_ERR_NO_MEMORY;
    }
    (*count)++;
    return HF_OK;
}

struct hf_config_source *config_find_source(struct hf_config *config, const char *name)
{
    for (size_t i = 0; i < config->source_count; i++) {
        if (strcmp(config->sources[i].name, name) == 0) {
            return &config->sources[i];
        }
    }
    return NULL;
}

struct hf_config_source *config_add_source(struct hf_config *config, const char *name,
                                           const char *class_name)
{
    struct hf_config_source *grown =
        reallocarray(config->sources, config->source_count + 1, sizeof *grown);
    if (!grown) {
        return NULL;
    }
    config->sources = grown;
    struct hf_config_source *source = &grown[config->source_count++];
    *source = (struct hf_config_source){
        .name = strdup(name),
        .kind = strdup(HF_KIND_FILES),
        .class_name = strdup(class_name),
        .debounce_ns = 200 * HF_NS_PER_MS,
        .rescan_ns = 60 * HF_NS_PER_SECOND,
        .verify_ns = 6 * 3600 * HF_NS_PER_SECOND,
    };
    return source->name && source->kind && source->class_name ? source : NULL;
}

static void free_texts(char **list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(list[i]);
    }
    free(list);
}

static void free_argv(const char **argv)
{
    if (argv) {
        for (size_t i = 0; argv[i]; i++) {
            free((char *)argv[i]);
        }
        free(argv);
    }
}

void config_free(struct hf_config *config)
{
    if (!config) {
        return;
    }
    for (size_t i = 0; i < config->source_count; i++) {
        struct hf_config_source *source = &config->sources[i];
        free(source->name);
        free(source->kind);
        free(source->class_name);
        free_texts(source->paths, source->path_count);
        free_texts(source->includes, source->include_count);
        free_texts(source->excludes, source->exclude_count);
        free_texts(source->restore_roots, source->restore_root_count);
        free_texts(source->restore_from, source->restore_from_count);
        free(source->quiet.spans);
        free_argv(source->before_restore);
        free_argv(source->after_restore);
    }
    free(config->quiet.spans);
    free(config->sources);
    free(config->file);
    free(config->state);
    free(config->identity_directory);
    free(config->collector_host);
    free(config);
}

/* --- one [source] --- */

static bool good_name(const char *name)
{
    size_t length = strlen(name);
    for (size_t i = 0; i < length; i++) {
        bool word = (name[i] >= 'a' && name[i] <= 'z') || (name[i] >= '0' && name[i] <= '9');
        if (!word && (i == 0 || !strchr("._-", name[i]))) {
            return false;
        }
    }
    return length > 0 && length <= 64;
}

/* Every value of a repeatable key that has to be an absolute path. */
static int read_paths(struct hf_ini *ini, const char *section, const char *key, char ***list,
                      size_t *count, struct hf_error *error)
{
    const struct hf_ini_entry *entry;
    for (size_t n = 0; (entry = hf_ini_get(ini, section, key, n)); n++) {
        char path[CONFIG_PATH_BYTES];
        int rc = config_path(ini, entry, path, error);
        if (rc != HF_OK) {
            return rc;
        }
        if (config_add_text(list, count, path) != HF_OK) {
            return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory for the configuration");
        }
    }
    return HF_OK;
}

static int read_globs(struct hf_ini *ini, const char *section, const char *key, char ***list,
                      size_t *count, struct hf_error *error)
{
    const struct hf_ini_entry *entry;
    for (size_t n = 0; (entry = hf_ini_get(ini, section, key, n)); n++) {
        struct hf_error reason = {0};
        if (hf_glob_check(entry->value, &reason) != HF_OK) {
            return hf_ini_complain(ini, entry, error, "%s", reason.message);
        }
        if (config_add_text(list, count, entry->value) != HF_OK) {
            return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory for the configuration");
        }
    }
    return HF_OK;
}

static int read_hosts(struct hf_ini *ini, const char *section, struct hf_config_source *source,
                      struct hf_error *error)
{
    const struct hf_ini_entry *entry;
    for (size_t n = 0; (entry = hf_ini_get(ini, section, "restore_from", n)); n++) {
        if (strcmp(entry->value, "*") != 0 && strncmp(entry->value, "h-", 2) != 0) {
            return hf_ini_complain(
                ini, entry, error,
                "'%s' is neither a host's id (h-..., see 'holdfast hosts') nor *", entry->value);
        }
        if (config_add_text(&source->restore_from, &source->restore_from_count, entry->value) !=
            HF_OK) {
            return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory for the configuration");
        }
    }
    return HF_OK;
}

/* A hook's words, split at blanks: there is no shell that could read more into them. */
static int read_hook(struct hf_ini *ini, const char *section, const char *key, const char ***out,
                     struct hf_error *error)
{
    const struct hf_ini_entry *entry = hf_ini_get(ini, section, key, 0);
    if (!entry) {
        return HF_OK;
    }
    if (entry->value[0] != '/') {
        return hf_ini_complain(ini, entry, error,
                               "a hook is an absolute path and its arguments, not '%s'",
                               entry->value);
    }
    char **words = NULL;
    size_t count = 0;
    char *copy = strdup(entry->value);
    char *rest = copy;
    for (char *word; rest && (word = strsep(&rest, " \t"));) {
        if (*word && config_add_text(&words, &count, word) != HF_OK) {
            break;
        }
    }
    free(copy);
    char **grown = reallocarray(words, count + 1, sizeof *grown);
    if (!grown || count == 0) {
        free_texts(grown ? grown : words, count);
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory for the configuration");
    }
    grown[count] = NULL;
    *out = (const char **)grown;
    return HF_OK;
}

static int read_choices(struct hf_ini *ini, const char *section, struct hf_config_source *source,
                        struct hf_error *error)
{
    const char *kind = NULL;
    const char *validate = NULL;
    const char *class_name = NULL;
    int rc = hf_ini_get_string(ini, section, "kind", source->kind, &kind, error);
    rc = rc == HF_OK ? hf_ini_get_string(ini, section, "validate", "", &validate, error) : rc;
    rc = rc == HF_OK
             ? hf_ini_get_string(ini, section, "class", source->class_name, &class_name, error)
             : rc;
    if (rc == HF_OK && strcmp(kind, HF_KIND_FILES) != 0 && strcmp(kind, HF_KIND_SQLITE) != 0) {
        return hf_ini_complain(ini, hf_ini_last(ini, section, "kind"), error,
                               "'%s' is not a kind of source; there are: files, sqlite", kind);
    }
    if (rc == HF_OK && *validate && strcmp(validate, "json") != 0) {
        return hf_ini_complain(ini, hf_ini_last(ini, section, "validate"), error,
                               "'%s' is not a format to check; there is: json", validate);
    }
    if (rc == HF_OK && *validate && strcmp(kind, HF_KIND_FILES) != 0) {
        return hf_ini_complain(ini, hf_ini_last(ini, section, "validate"), error,
                               "a source of kind %s is not checked to be %s; remove the line", kind,
                               validate);
    }
    bool known = false;
    for (size_t i = 0; rc == HF_OK && classes[i]; i++) {
        known = known || strcmp(classes[i], class_name) == 0;
    }
    if (rc == HF_OK && !known) {
        const struct hf_ini_entry *entry = hf_ini_last(ini, section, "class");
        static const char list[] =
            "workflows, credentials, logs, config, metrics, checkpoints, database";
        return entry
                   ? hf_ini_complain(ini, entry, error, "'%s' is not one of: %s", class_name, list)
                   : hf_ini_complain_of_section(ini, section, 0, error,
                                                "it has no class; one of: %s", list);
    }
    if (rc == HF_OK && *validate) {
        source->validate = HF_VALIDATE_JSON;
    }
    if (rc == HF_OK && strcmp(kind, source->kind) != 0) {
        free(source->kind);
        source->kind = strdup(kind);
        rc = source->kind ? HF_OK
                          : hf_error_set(error, HF_ERR_NO_MEMORY, 0, "%s",
                                         "No memory for the configuration");
    }
    if (rc == HF_OK && strcmp(class_name, source->class_name) != 0) {
        free(source->class_name);
        source->class_name = strdup(class_name);
    }
    return rc;
}

/* *given: there are some, or none on purpose. */
static int read_quiet(struct hf_ini *ini, const char *section, struct hf_quiet *quiet, bool *given,
                      struct hf_error *error)
{
    const struct hf_ini_entry *entry;
    bool none = false;
    for (size_t n = 0; (entry = hf_ini_get(ini, section, "quiet_hours", n)); n++) {
        struct hf_error reason = {0};
        struct hf_quiet_span span;
        *given = true;
        none = none || strcmp(entry->value, "none") == 0;
        if (none && (n > 0 || strcmp(entry->value, "none") != 0)) {
            return hf_ini_complain(ini, entry, error,
                                   "'none' has to stand alone; remove the others");
        }
        if (none) {
            continue;
        }
        if (quiet_parse(entry->value, &span, &reason) != HF_OK) {
            return hf_ini_complain(ini, entry, error, "%s", reason.message);
        }
        struct hf_quiet_span *grown =
            reallocarray(quiet->spans, quiet->count + 1, sizeof *quiet->spans);
        if (!grown) {
            return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory for the configuration");
        }
        quiet->spans = grown;
        quiet->spans[quiet->count++] = span;
    }
    if (quiet->count > 0 && quiet_is_always(quiet)) {
        return hf_ini_complain(ini, hf_ini_last(ini, section, "quiet_hours"), error,
                               "leaves no time of the week in which anything could be captured");
    }
    return HF_OK;
}

/* Shorter than its least, a pause becomes a loop that takes a core. */
static int read_pause(struct hf_ini *ini, const char *section, const char *key, int64_t least_ns,
                      const char *usual, int64_t *pause_ns, struct hf_error *error)
{
    int rc = hf_ini_get_duration(ini, section, key, *pause_ns, pause_ns, error);
    if (rc == HF_OK && (*pause_ns < least_ns || *pause_ns > INTERVAL_MAX_NS)) {
        bool shorter = *pause_ns < least_ns;
        char limit[HF_TIME_TEXT_BYTES];
        hf_duration_text(shorter ? least_ns : INTERVAL_MAX_NS, limit);
        rc = hf_ini_complain(ini, hf_ini_last(ini, section, key), error,
                             "is %s than %s; %s is usual", shorter ? "shorter" : "longer", limit,
                             usual);
    }
    return rc;
}

static int read_source(struct hf_config *config, struct hf_ini *ini, const char *section,
                       const char *name, struct hf_error *error)
{
    if (!good_name(name)) {
        return hf_ini_complain_of_section(ini, section, 0, error,
                                          "a source's name is lower-case letters, digits, '.', '_' "
                                          "and '-', at most 64");
    }
    /* Of a preset: these keys refine it. */
    struct hf_config_source *source = config_find_source(config, name);
    if (!source && !(source = config_add_source(config, name, ""))) {
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory for the configuration");
    }
    int rc = read_choices(ini, section, source, error);
    rc = rc == HF_OK ? read_paths(ini, section, "path", &source->paths, &source->path_count, error)
                     : rc;
    rc = rc == HF_OK
             ? read_globs(ini, section, "include", &source->includes, &source->include_count, error)
             : rc;
    rc = rc == HF_OK
             ? read_globs(ini, section, "exclude", &source->excludes, &source->exclude_count, error)
             : rc;
    rc = rc == HF_OK ? read_pause(ini, section, "debounce", DEBOUNCE_MIN_NS, "200ms",
                                  &source->debounce_ns, error)
                     : rc;
    rc = rc == HF_OK
             ? read_pause(ini, section, "rescan", RESCAN_MIN_NS, "60s", &source->rescan_ns, error)
             : rc;
    rc = rc == HF_OK
             ? read_pause(ini, section, "verify", RESCAN_MIN_NS, "6h", &source->verify_ns, error)
             : rc;
    rc = rc == HF_OK ? read_quiet(ini, section, &source->quiet, &source->quiet_given, error) : rc;
    rc = rc == HF_OK ? hf_ini_get_bool(ini, section, "one_file_system", source->one_file_system,
                                       &source->one_file_system, error)
                     : rc;
    rc = rc == HF_OK ? read_paths(ini, section, "restore_root", &source->restore_roots,
                                  &source->restore_root_count, error)
                     : rc;
    rc = rc == HF_OK ? read_hosts(ini, section, source, error) : rc;
    rc = rc == HF_OK
             ? hf_ini_get_bool(ini, section, "restore_privileged", source->restore_privileged,
                               &source->restore_privileged, error)
             : rc;
    rc = rc == HF_OK ? read_hook(ini, section, "before_restore", &source->before_restore, error)
                     : rc;
    rc = rc == HF_OK ? read_hook(ini, section, "after_restore", &source->after_restore, error) : rc;
    if (rc == HF_OK && source->path_count == 0) {
        rc = hf_ini_complain_of_section(ini, section, 0, error,
                                        "it protects nothing: it needs at least one path = /...");
    }
    return rc;
}

/* Files are restored where they were unless the administrator says more. */
static int complete_roots(struct hf_config_source *source)
{
    for (size_t i = 0; i < source->path_count; i++) {
        bool there = false;
        for (size_t j = 0; j < source->restore_root_count; j++) {
            there = there || strcmp(source->restore_roots[j], source->paths[i]) == 0;
        }
        if (!there && config_add_text(&source->restore_roots, &source->restore_root_count,
                                      source->paths[i]) != HF_OK) {
            return HF_ERR_NO_MEMORY;
        }
    }
    return HF_OK;
}

/* The agent's quiet hours are for what is neither small nor precious and says nothing else. */
static int complete_quiet(const struct hf_config *config, struct hf_config_source *source)
{
    size_t bytes = config->quiet.count * sizeof *config->quiet.spans;
    if (source->quiet_given || bytes == 0 ||
        config_class_rank(source->class_name) <= HF_URGENT_RANK) {
        return HF_OK;
    }
    source->quiet.spans = malloc(bytes);
    if (!source->quiet.spans) {
        return HF_ERR_NO_MEMORY;
    }
    memcpy(source->quiet.spans, config->quiet.spans, bytes);
    source->quiet.count = config->quiet.count;
    return HF_OK;
}

static int read_sections(struct hf_config *config, struct hf_ini *ini, struct hf_error *error)
{
    const char *section;
    int rc = HF_OK;
    for (int presets = 1; presets >= 0; presets--) {
        for (size_t i = 0; rc == HF_OK && (section = hf_ini_section(ini, i)); i++) {
            if (presets && strncmp(section, "preset ", 7) == 0) {
                rc = preset_expand(config, ini, section, section + 7, error);
            } else if (!presets && strncmp(section, "source ", 7) == 0) {
                rc = read_source(config, ini, section, section + 7, error);
            }
        }
    }
    if (rc == HF_OK && config->source_count > SOURCES_MAX) {
        rc = hf_error_set(error, HF_ERR_LIMIT, 0, "%s has more than %d sources", config->file,
                          SOURCES_MAX);
    }
    for (size_t i = 0; rc == HF_OK && i < config->source_count; i++) {
        rc = complete_roots(&config->sources[i]);
        rc = rc == HF_OK ? complete_quiet(config, &config->sources[i]) : rc;
    }
    return rc;
}

static int read_collector(struct hf_config *config, struct hf_ini *ini, struct hf_error *error)
{
    char host[256];
    struct hf_error reason = {0};
    const struct hf_ini_entry *entry = hf_ini_last(ini, "collector", "address");
    if (!entry) {
        return HF_OK;
    }
    if (join_address_split(entry->value, host, &config->collector_port, &reason) != HF_OK) {
        return hf_ini_complain(ini, entry, error, "%s", reason.message);
    }
    config->collector_host = strdup(host);
    return config->collector_host
               ? HF_OK
               : hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory for the configuration");
}

static int read_priority(struct hf_config *config, struct hf_ini *ini, struct hf_error *error)
{
    const char *io_class = NULL;
    uint64_t nice = 0;
    uint64_t io_priority = 0;
    const struct hf_ini_entry *given = hf_ini_last(ini, "agent", "io_priority");
    int rc = hf_ini_get_u64(ini, "agent", "nice", 10, 0, 19, &nice, error);
    rc = rc == HF_OK ? hf_ini_get_string(ini, "agent", "io_class", "best-effort", &io_class, error)
                     : rc;
    rc = rc == HF_OK ? hf_ini_get_u64(ini, "agent", "io_priority", HF_IO_PRIORITY_MAX, 0,
                                      HF_IO_PRIORITY_MAX, &io_priority, error)
                     : rc;
    bool idle = rc == HF_OK && strcmp(io_class, "idle") == 0;
    if (rc == HF_OK && !idle && strcmp(io_class, "best-effort") != 0) {
        return hf_ini_complain(ini, hf_ini_last(ini, "agent", "io_class"), error,
                               "'%s' is neither best-effort nor idle", io_class);
    }
    if (idle && given) {
        return hf_ini_complain(ini, given, error,
                               "means nothing with io_class = idle; remove one of the two");
    }
    config->priority =
        (struct hf_priority){.nice = (int)nice,
                             .io_class = idle ? HF_IO_IDLE : HF_IO_BEST_EFFORT,
                             .io_priority = idle ? HF_IO_PRIORITY_MAX : (int)io_priority};
    return rc;
}

int config_load(const char *path, struct hf_config **out, struct hf_error *error)
{
    struct hf_ini *ini = NULL;
    struct hf_config *config = calloc(1, sizeof *config);
    if (!config || !(config->file = strdup(path))) {
        free(config);
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory for the configuration");
    }
    int rc = hf_ini_load(path, &ini, error);
    rc = rc == HF_OK ? config_directory(ini, "agent", "state", "/var/lib/holdfast-agent",
                                        &config->state, error)
                     : rc;
    rc = rc == HF_OK ? config_directory(ini, "identity", "directory", HF_IDENTITY_DIRECTORY,
                                        &config->identity_directory, error)
                     : rc;
    rc = rc == HF_OK ? read_collector(config, ini, error) : rc;
    rc = rc == HF_OK ? hf_ini_get_size(ini, "agent", "spool_max", UINT64_C(1) << 30,
                                       &config->spool_max_bytes, error)
                     : rc;
    if (rc == HF_OK && config->spool_max_bytes < SPOOL_MIN_BYTES) {
        rc = hf_ini_complain(ini, hf_ini_last(ini, "agent", "spool_max"), error,
                             "is less than 256KiB; 1GiB is usual");
    }
    config->mark_interval_ns = 15 * HF_NS_PER_SECOND;
    rc = rc == HF_OK ? read_pause(ini, "agent", "mark_interval", MARK_INTERVAL_MIN_NS, "15s",
                                  &config->mark_interval_ns, error)
                     : rc;
    rc = rc == HF_OK ? hf_ini_get_duration(ini, "agent", "reconnect_max", 30 * HF_NS_PER_SECOND,
                                           &config->reconnect_max_ns, error)
                     : rc;
    rc = rc == HF_OK ? read_priority(config, ini, error) : rc;
    rc = rc == HF_OK
             ? hf_ini_get_size(ini, "agent", "upload_limit", 0, &config->upload_limit, error)
             : rc;
    if (rc == HF_OK && config->upload_limit > 0 &&
        (config->upload_limit < UPLOAD_LIMIT_MIN || config->upload_limit > UPLOAD_LIMIT_MAX)) {
        rc = hf_ini_complain(ini, hf_ini_last(ini, "agent", "upload_limit"), error,
                             "has to be from 16KiB to 1TiB, for each second; 0 is no limit");
    }
    if (rc == HF_OK && (config->reconnect_max_ns < RECONNECT_MIN_NS ||
                        config->reconnect_max_ns > RECONNECT_MAX_NS)) {
        rc = hf_ini_complain(ini, hf_ini_last(ini, "agent", "reconnect_max"), error,
                             "has to be from 100ms to 1h; 30s is usual");
    }
    bool given = false;
    rc = rc == HF_OK ? read_quiet(ini, "agent", &config->quiet, &given, error) : rc;
    rc = rc == HF_OK ? read_sections(config, ini, error) : rc;
    rc = rc == HF_OK ? hf_ini_check_keys(ini, config_keys, error) : rc;
    /* After that: a section with a typo protects nothing either, and is what should be named. */
    if (rc == HF_OK && config->source_count == 0) {
        rc =
            hf_error_set(error, HF_ERR_INVALID, 0,
                         "%s protects nothing: it needs a [preset casare-robot] or a [source NAME]",
                         config->file);
    }
    hf_ini_free(ini);
    if (rc != HF_OK) {
        config_free(config);
        return rc;
    }
    *out = config;
    return HF_OK;
}
