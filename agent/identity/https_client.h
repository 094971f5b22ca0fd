/* One HTTPS request at a time, waiting for the answer: for enrolment alone. On libwebsockets, as
 * the rest of the agent, so that there is one TLS library in the program. */
#ifndef HF_AGENT_IDENTITY_HTTPS_CLIENT_H
#define HF_AGENT_IDENTITY_HTTPS_CLIENT_H

#include <stdint.h>

#include "common/buf.h"
#include "common/error.h"

struct https_request {
    const char *host; /* name or numeric address, without brackets */
    uint16_t port;
    const char *method; /* "GET" or "POST" */
    const char *path;
    const char *body; /* NULL for GET; JSON */
    /* The root that the server's chain must lead to, with its name checked too. NULL: anyone is
     * believed, which is only right for an answer that is checked otherwise. */
    const char *ca_pem;
};

/* Append the answer's body (at most 64 KiB). HF_ERR_TIMEOUT after 30 s; HF_ERR_CLOSED when it can't
 * be reached or is not trusted, with the reason. */
int https_ask(const struct https_request *request, unsigned *status, struct hf_buf *body,
              struct hf_error *error);

#endif
