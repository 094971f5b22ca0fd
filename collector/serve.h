/* `holdfast-collector run`: everything put together. */
#ifndef HF_COLLECTOR_SERVE_H
#define HF_COLLECTOR_SERVE_H

#include "collector/config.h"

/* Serve until SIGTERM or SIGINT. Returns an exit status. */
int collector_serve(const struct hf_collector_config *config);

#endif
