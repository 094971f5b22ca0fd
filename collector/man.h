/* The collector's manual pages, as `holdfast-collector man` prints them. */
#ifndef HF_COLLECTOR_MAN_H
#define HF_COLLECTOR_MAN_H

#include <stdio.h>

struct hf_roff_command;

void man_daemon(FILE *out, const struct hf_roff_command *commands); /* holdfast-collector(8) */
void man_config(FILE *out);                                         /* holdfast-collector.conf(5) */

#endif
