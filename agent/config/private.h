/* Shared by the files that build a configuration. Private to config/. */
#ifndef HF_AGENT_CONFIG_PRIVATE_H
#define HF_AGENT_CONFIG_PRIVATE_H

#include "agent/config/config.h"
#include "common/ini.h"

#define CONFIG_PATH_BYTES 4096

/* NULL when there is none of that name. */
struct hf_config_source *config_find_source(struct hf_config *config, const char *name);
/* A new source with defaults, of a name that none has yet; NULL when out of memory. */
struct hf_config_source *config_add_source(struct hf_config *config, const char *name,
                                           const char *class_name);
int config_add_text(char ***list, size_t *count, const char *text);

/* path.c */
/* An entry's value as every path of a configuration is kept: absolute, without a trailing '/', '.',
 * '..' or '//'. What is not so, but for the trailing '/', is refused. */
int config_path(const struct hf_ini *ini, const struct hf_ini_entry *entry,
                char path[CONFIG_PATH_BYTES], struct hf_error *error);
/* The same of a key that takes one; fallback when it is not given. Allocates *out. */
int config_directory(struct hf_ini *ini, const char *section, const char *key, const char *fallback,
                     char **out, struct hf_error *error);

/* Sources of all [preset NAME] sections of that name: one for each home. Where a source of the
 * name is there already its paths are added to that one. */
int preset_expand(struct hf_config *config, struct hf_ini *ini, const char *section,
                  const char *preset, struct hf_error *error);

#endif
