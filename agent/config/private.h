/* Shared by the files that build a configuration. Private to config/. */
#ifndef HF_AGENT_CONFIG_PRIVATE_H
#define HF_AGENT_CONFIG_PRIVATE_H

#include "agent/config/config.h"
#include "common/ini.h"

/* A new source with defaults; NULL when out of memory. */
struct hf_config_source *config_add_source(struct hf_config *config, const char *name,
                                           const char *class_name);
int config_add_text(char ***list, size_t *count, const char *text);
/* Sources of a [preset NAME] section. */
int preset_expand(struct hf_config *config, struct hf_ini *ini, const char *section,
                  const char *preset, struct hf_error *error);

#endif
