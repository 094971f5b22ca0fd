/* The loop's inside: what loop.c and listener.c share. Private to net/. */
#ifndef HF_COLLECTOR_NET_LOOP_PRIVATE_H
#define HF_COLLECTOR_NET_LOOP_PRIVATE_H

#include <pthread.h>

#include <libwebsockets.h>
#include <uv.h>

#include "collector/net/loop.h"
#include "common/queue.h"

#define LISTENERS_MAX 8

struct listener;

struct hf_loop {
    uv_loop_t uv; /* the library's sockets are watched by it too */
    uv_timer_t tick;
    uv_prepare_t before_wait;
    struct lws_context *context;
    struct lws_vhost *system_vhost;
    struct lws_protocols system_protocols[2];
    struct listener *listeners[LISTENERS_MAX];
    size_t listener_count;
    struct hf_queue *posts;
    struct hf_loop_options options;
    void (*after_round)(void *context);
    void *after_round_context;
    bool stopping, closed;
    pthread_rwlock_t alive_lock; /* held for reading while a poster wakes the context */
    bool alive;
};

/* Take no more connections; memory is the loop's until listener_free, once its handles are gone. */
void listener_close(struct listener *listener);
void listener_free(struct listener *listener);

#endif
