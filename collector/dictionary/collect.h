/* Which small contents there are to learn from: the newest that hosts have now, of one class. */
#ifndef HF_COLLECTOR_DICTIONARY_COLLECT_H
#define HF_COLLECTOR_DICTIONARY_COLLECT_H

#include "collector/catalog/catalog.h"
#include "collector/dictionary/samples.h"
#include "collector/store/store.h"

#define HF_COLLECT_HOSTS_MAX   64u /* those that sent last */
#define HF_COLLECT_SOURCES_MAX 8u  /* of one host */

/* A source, for planning. */
struct hf_collect_source {
    uint64_t source_row, host_row;
    uint64_t versions;
    int64_t last_received_ns;
    char class_name[HF_NAME_MAX_BYTES + 1];
};

/* All sources that ever sent something, but those of class credentials, by class, then the one that
 * sent last first; to be freed. */
int collect_sources(struct hf_catalog_reader *catalog, struct hf_collect_source **out,
                    size_t *count, struct hf_error *error);
/* Contents of these sources, which are of one class and in that order. Content that can't be read
 * is passed over. */
int collect_samples(struct hf_catalog_reader *catalog, struct hf_store_reader *store,
                    const struct hf_collect_source *sources, size_t count,
                    struct hf_samples *samples, struct hf_error *error);

#endif
