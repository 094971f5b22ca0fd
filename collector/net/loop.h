/* The event loop: one thread that owns every socket. Everything else reaches it through loop_post.
 *
 * Functions are for the loop's own thread unless they say otherwise.
 */
#ifndef HF_COLLECTOR_NET_LOOP_H
#define HF_COLLECTOR_NET_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

struct hf_loop;
struct lws;
struct lws_context;
struct lws_protocols;
struct lws_vhost;

struct hf_loop_options {
    void (*tick)(void *context); /* every second, may be NULL */
    void *tick_context;
};

int loop_new(const struct hf_loop_options *options, struct hf_loop **out, struct hf_error *error);
/* Close all connections: their close callbacks run. Other threads may go on posting. On the loop's
 * own thread, after loop_run returned. */
void loop_close(struct hf_loop *loop);
/* Close, run what was posted and did not run, free. After every thread that posts has ended; a
 * posted function may find here that every connection is gone. NULL is fine. */
void loop_free(struct hf_loop *loop);
/* Serve until loop_stop. */
void loop_run(struct hf_loop *loop);
void loop_stop(struct hf_loop *loop); /* any thread */
/* Run fn(arg) on the loop, in the order of posting; at the latest in loop_free. Any thread.
 * HF_ERR_CLOSED when loop_free is about to return: then fn is not called. */
int loop_post(struct hf_loop *loop, void (*fn)(void *arg), void *arg);
/* Call fn after each round of the loop, before it waits for more: for what is better done once for
 * all that came in a round. One at most; before loop_run. */
void loop_after_round(struct hf_loop *loop, void (*fn)(void *context), void *context);
/* NULL once closed. */
struct lws_context *loop_context(struct hf_loop *loop);

struct hf_listen_options {
    const char *name;    /* for logs: "agents" */
    const char *address; /* numeric, or "" for any */
    uint16_t port;       /* 0: any free one */
    const char *certificate_pem_path, *key_pem_path;
    const char *client_ca_pem_path; /* NULL: clients need no certificate */
    const struct lws_protocols *protocols;
};

/* Use what is now in a listener's certificate and key files for new connections. */
int loop_reload_certificate(struct hf_loop *loop, const char *certificate_pem_path,
                            const char *key_pem_path, struct hf_error *error);

/* The other end's address, as people write it: IPv4 addresses without their IPv6 disguise. */
void loop_peer_address(struct lws *wsi, char *out, size_t size);

int loop_listen(struct hf_loop *loop, const struct hf_listen_options *options, uint16_t *bound_port,
                struct hf_error *error);
#endif
