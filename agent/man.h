/* The agent's manual pages, as `holdfast-agent man` prints them. */
#ifndef HF_AGENT_MAN_H
#define HF_AGENT_MAN_H

#include <stdio.h>

struct hf_roff_command;

void man_daemon(FILE *out, const struct hf_roff_command *commands); /* holdfast-agent(8) */
void man_config(FILE *out);                                         /* holdfast-agent.conf(5) */

#endif
