/* Enrolment of simulated hosts, through the collector's own endpoint: each makes its key and
 * request, shows the token, keeps what it got in DIR/NNNNN.pem. Hosts that have that file are
 * skipped, so a directory serves many runs. */
#ifndef HF_TESTS_FLEET_ENROL_H
#define HF_TESTS_FLEET_ENROL_H

#include <netinet/in.h>
#include <stdint.h>

#include "common/error.h"

struct enrol_options {
    struct sockaddr_in address; /* of the enrolment listener */
    const char *root_path;      /* what the collector has to prove */
    const char *server_name;
    const char *token; /* ID.SECRET, for as many uses as hosts */
    const char *directory;
    uint32_t hosts;
    unsigned threads;
};

/* The source address of host i, in host byte order: one of 127.0.0.0/8 for each, as the collector
 * limits the tries of an address. */
uint32_t enrol_source_address(uint32_t host);
void enrol_path(const char *directory, uint32_t host, char *out, size_t size);

/* Blocks until all have their certificates, or one failed. */
int enrol_all(const struct enrol_options *options, struct hf_error *error);

#endif
