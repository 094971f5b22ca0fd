/* The catalog's tables and how older ones become today's. Private to catalog/. */
#ifndef HF_COLLECTOR_CATALOG_SCHEMA_H
#define HF_COLLECTOR_CATALOG_SCHEMA_H

#include "collector/catalog/db.h"

/* The PRAGMA user_version that this program writes. */
int schema_newest(void);
/* Run what is missing, each step in a transaction of its own. */
int schema_migrate(struct db *db, struct hf_error *error);

#endif
