#include "collector/net/loop.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "collector/net/loop_private.h"
#include "collector/net/tls.h"
#include "common/log.h"

#define SERVICE_BUFFER_BYTES (64u * 1024u)
#define HEADER_BYTES_MAX     16384 /* paths of 4095 bytes, percent-encoded, in a request line */
#define TICK_MS              1000

struct post {
    struct hf_queue_item item;
    void (*fn)(void *arg);
    void *arg;
};

static void run_posts(struct hf_loop *loop)
{
    struct hf_queue_item *item = hf_queue_pop_all(loop->posts, 0);
    while (item) {
        struct post *post = (struct post *)item;
        item = item->next;
        post->fn(post->arg);
        free(post);
    }
}

static int on_system_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                           size_t length)
{
    struct lws_context *context = wsi ? lws_get_context(wsi) : NULL;
    (void)user;
    (void)in;
    (void)length;
    if (reason == LWS_CALLBACK_EVENT_WAIT_CANCELLED && context) {
        run_posts(lws_context_user(context));
    }
    return 0;
}

static void wake(void *arg)
{
    struct hf_loop *loop = arg;
    pthread_rwlock_rdlock(&loop->alive_lock);
    if (loop->alive) {
        lws_cancel_service(loop->context);
    }
    pthread_rwlock_unlock(&loop->alive_lock);
}

static void on_tick(uv_timer_t *timer)
{
    struct hf_loop *loop = timer->data;
    loop->options.tick(loop->options.tick_context);
}

/* Not after uv_run: what the library kept of a socket is read before the loop waits, and what came
 * so would else be told of after it waited. */
static void on_before_wait(uv_prepare_t *before_wait)
{
    struct hf_loop *loop = before_wait->data;
    if (loop->after_round) {
        loop->after_round(loop->after_round_context);
    }
}

static void log_library(int level, const char *line)
{
    hf_log(level == LLL_ERR ? HF_LOG_WARNING : HF_LOG_DEBUG, "libwebsockets: %.*s",
           (int)strcspn(line, "\n"), line);
}

/* As many sockets as the system lets us have. */
static unsigned raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return 1024;
    }
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur > 100000 ? 100000 : (unsigned)limit.rlim_cur;
}

/* The library's part. Its own loop asks the kernel about every socket there is each time, which ten
 * thousand sessions can't afford: libuv's asks for those with news. */
static int make_context(struct hf_loop *loop, struct hf_error *error)
{
    void *loops[] = {&loop->uv};
    struct lws_context_creation_info info = {
        .options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS | LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT |
                   LWS_SERVER_OPTION_LIBUV,
        .port = CONTEXT_PORT_NO_LISTEN_SERVER,
        .foreign_loops = loops,
        .user = loop,
        .pcontext = &loop->context, /* NULL again when it is gone */
        .pt_serv_buf_size = SERVICE_BUFFER_BYTES,
        .max_http_header_data2 = HEADER_BYTES_MAX,
        .fd_limit_per_thread = raise_descriptor_limit(),
        .gid = -1,
        .uid = -1,
    };
    lws_set_log_level(LLL_ERR, log_library);
    loop->context = lws_create_context(&info);
    if (!loop->context) {
        return hf_error_set(error, HF_ERR_IO, 0,
                            "The event loop can't start: is the package libwebsockets-evlib-uv "
                            "installed?");
    }
    info.options &= ~(uint64_t)LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT; /* this one has no TLS */
    info.port = CONTEXT_PORT_NO_LISTEN;
    info.protocols = loop->system_protocols;
    info.vhost_name = "system";
    loop->system_vhost = lws_create_vhost(loop->context, &info);
    return loop->system_vhost ? HF_OK
                              : hf_error_set(error, HF_ERR_IO, 0, "The event loop can't start");
}

int loop_new(const struct hf_loop_options *options, struct hf_loop **out, struct hf_error *error)
{
    struct hf_loop *loop = calloc(1, sizeof *loop);
    if (!loop || !(loop->posts = hf_queue_new()) || uv_loop_init(&loop->uv) != 0) {
        if (loop) {
            hf_queue_free(loop->posts, NULL);
        }
        free(loop);
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory for the event loop");
    }
    loop->options = *options;
    pthread_rwlock_init(&loop->alive_lock, NULL);
    loop->system_protocols[0] =
        (struct lws_protocols){.name = "system", .callback = on_system_event};
    uv_timer_init(&loop->uv, &loop->tick);
    loop->tick.data = loop;
    uv_prepare_init(&loop->uv, &loop->before_wait);
    loop->before_wait.data = loop;
    int rc = make_context(loop, error);
    if (rc != HF_OK) {
        loop_free(loop);
        return rc;
    }
    loop->alive = true;
    hf_queue_set_wake(loop->posts, wake, loop);
    *out = loop;
    return HF_OK;
}

void loop_close(struct hf_loop *loop)
{
    if (!loop || loop->closed) {
        return;
    }
    loop->closed = true;
    pthread_rwlock_wrlock(&loop->alive_lock);
    loop->alive = false;
    pthread_rwlock_unlock(&loop->alive_lock);
    for (size_t i = 0; i < loop->listener_count; i++) {
        listener_close(loop->listeners[i]);
    }
    uv_close((uv_handle_t *)&loop->tick, NULL);
    uv_close((uv_handle_t *)&loop->before_wait, NULL);
    /* The first call closes the sockets, the loop sees to their ends, the second frees what is
     * left.
     */
    if (loop->context) {
        lws_context_destroy(loop->context);
    }
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    if (loop->context) {
        lws_context_destroy(loop->context);
    }
    uv_loop_close(&loop->uv);
    loop->context = NULL;
}

void loop_free(struct hf_loop *loop)
{
    if (!loop) {
        return;
    }
    loop_close(loop);
    run_posts(loop); /* they may post again */
    hf_queue_close(loop->posts);
    run_posts(loop);
    hf_queue_free(loop->posts, NULL);
    for (size_t i = 0; i < loop->listener_count; i++) {
        listener_free(loop->listeners[i]);
    }
    pthread_rwlock_destroy(&loop->alive_lock);
    free(loop);
}

void loop_run(struct hf_loop *loop)
{
    if (loop->options.tick) {
        uv_timer_start(&loop->tick, on_tick, TICK_MS, TICK_MS);
    }
    uv_prepare_start(&loop->before_wait, on_before_wait);
    while (!loop->stopping) {
        uv_run(&loop->uv, UV_RUN_ONCE);
        run_posts(loop);
    }
}

void loop_after_round(struct hf_loop *loop, void (*fn)(void *context), void *context)
{
    loop->after_round = fn;
    loop->after_round_context = context;
}

static void stop_on_loop(void *arg)
{
    struct hf_loop *loop = arg;
    loop->stopping = true;
}

void loop_stop(struct hf_loop *loop)
{
    loop_post(loop, stop_on_loop, loop);
}

int loop_post(struct hf_loop *loop, void (*fn)(void *arg), void *arg)
{
    struct post *post = malloc(sizeof *post);
    if (!post) {
        abort(); /* whatever waits for this would wait for ever */
    }
    *post = (struct post){.fn = fn, .arg = arg};
    if (!hf_queue_push(loop->posts, &post->item)) {
        free(post);
        return HF_ERR_CLOSED;
    }
    return HF_OK;
}

struct lws_context *loop_context(struct hf_loop *loop)
{
    return loop->context;
}

int loop_reload_certificate(struct hf_loop *loop, const char *certificate_pem_path,
                            const char *key_pem_path, struct hf_error *error)
{
    return tls_reload(loop->context, certificate_pem_path, key_pem_path, error);
}

void loop_peer_address(struct lws *wsi, char *out, size_t size)
{
    static const char mapped[] = "::ffff:";
    char address[64] = "";
    lws_get_peer_simple(wsi, address, sizeof address);
    bool disguised = strncmp(address, mapped, strlen(mapped)) == 0 && strchr(address, '.');
    lws_strncpy(out, address + (disguised ? strlen(mapped) : 0), size);
}
