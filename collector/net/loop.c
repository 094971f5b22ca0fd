#include "collector/net/loop.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <libwebsockets.h>

#include "collector/net/tls.h"
#include "common/log.h"
#include "common/queue.h"

#define SERVICE_BUFFER_BYTES (64u * 1024u)
#define HEADER_BYTES_MAX     16384 /* paths of 4095 bytes, percent-encoded, in a request line */
#define VHOSTS_MAX           4

struct post {
    struct hf_queue_item item;
    void (*fn)(void *arg);
    void *arg;
};

struct hf_loop {
    struct lws_context *context;
    struct lws_vhost *system_vhost;
    struct lws_protocols system_protocols[2];
    struct lws_vhost *vhosts[VHOSTS_MAX];
    size_t vhost_count;
    struct hf_queue *posts;
    struct hf_loop_options options;
    lws_sorted_usec_list_t tick;
    lws_retry_bo_t idle_policy;
    bool stopping;
    pthread_rwlock_t alive_lock; /* held for reading while a poster wakes the context */
    bool alive;
};

static const uint32_t retry_table[] = {1000};
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

static void on_tick(lws_sorted_usec_list_t *timer)
{
    struct hf_loop *loop = lws_container_of(timer, struct hf_loop, tick);
    loop->options.tick(loop->options.tick_context);
    lws_sul_schedule(loop->context, 0, &loop->tick, on_tick, LWS_US_PER_SEC);
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

int loop_new(const struct hf_loop_options *options, struct hf_loop **out, struct hf_error *error)
{
    struct hf_loop *loop = calloc(1, sizeof *loop);
    if (!loop || !(loop->posts = hf_queue_new())) {
        free(loop);
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory for the event loop");
    }
    loop->options = *options;
    loop->idle_policy = (lws_retry_bo_t){
        .retry_ms_table = retry_table,
        .retry_ms_table_count = 1,
        .conceal_count = 1,
        .secs_since_valid_ping = options->ping_s ? options->ping_s : HF_LOOP_PING_S,
        .secs_since_valid_hangup = options->hang_up_s ? options->hang_up_s : HF_LOOP_HANG_UP_S,
    };
    pthread_rwlock_init(&loop->alive_lock, NULL);
    loop->system_protocols[0] =
        (struct lws_protocols){.name = "system", .callback = on_system_event};
    struct lws_context_creation_info info = {
        .options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS | LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT,
        .port = CONTEXT_PORT_NO_LISTEN_SERVER,
        .user = loop,
        .pt_serv_buf_size = SERVICE_BUFFER_BYTES,
        .max_http_header_data2 = HEADER_BYTES_MAX,
        .fd_limit_per_thread = raise_descriptor_limit(),
        .retry_and_idle_policy = &loop->idle_policy,
        .gid = -1,
        .uid = -1,
    };
    lws_set_log_level(LLL_ERR, log_library);
    loop->context = lws_create_context(&info);
    if (loop->context) {
        info.options &= ~(uint64_t)LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT; /* this one has no TLS */
        info.port = CONTEXT_PORT_NO_LISTEN;
        info.protocols = loop->system_protocols;
        info.vhost_name = "system";
        loop->system_vhost = lws_create_vhost(loop->context, &info);
    }
    if (!loop->system_vhost) {
        if (loop->context) {
            lws_context_destroy(loop->context);
        }
        hf_queue_free(loop->posts, NULL);
        free(loop);
        return hf_error_set(error, HF_ERR_IO, 0, "The event loop can't start");
    }
    loop->alive = true;
    hf_queue_set_wake(loop->posts, wake, loop);
    *out = loop;
    return HF_OK;
}

void loop_close(struct hf_loop *loop)
{
    if (!loop || !loop->context) {
        return;
    }
    pthread_rwlock_wrlock(&loop->alive_lock);
    loop->alive = false;
    pthread_rwlock_unlock(&loop->alive_lock);
    lws_sul_cancel(&loop->tick);
    lws_context_destroy(loop->context);
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
    pthread_rwlock_destroy(&loop->alive_lock);
    free(loop);
}

void loop_run(struct hf_loop *loop)
{
    if (loop->options.tick) {
        lws_sul_schedule(loop->context, 0, &loop->tick, on_tick, LWS_US_PER_SEC);
    }
    while (!loop->stopping && lws_service(loop->context, 0) >= 0) {
        run_posts(loop);
    }
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

/* Try the address before the library does, which would not say what is wrong with it. *v6: whether
 * to listen on IPv6, which for any address takes IPv4 too. */
static int try_address(const struct hf_listen_options *options, bool any, bool *v6,
                       struct hf_error *error)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(options->port)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(options->port)};
    bool is_v4 = !any && inet_pton(AF_INET, options->address, &in.sin_addr) == 1;
    int on = 1;
    if (!any && !is_v4 && inet_pton(AF_INET6, options->address, &in6.sin6_addr) != 1) {
        return hf_error_set(error, HF_ERR_INVALID, 0,
                            "Can't listen for %s on '%s': give this machine's address in numbers, "
                            "or 0.0.0.0 for all",
                            options->name, options->address);
    }
    int fd = is_v4 ? -1 : socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *v6 = fd >= 0;
    if (fd < 0) {
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    }
    const struct sockaddr *address = *v6 ? (struct sockaddr *)&in6 : (struct sockaddr *)&in;
    int rc = HF_OK;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(fd, address, *v6 ? sizeof in6 : sizeof in) != 0 || listen(fd, 1) != 0) {
        const char *remedy = errno == EADDRINUSE      ? "another program has it; see 'ss -ltnp'"
                             : errno == EADDRNOTAVAIL ? "no interface of this machine has it"
                             : errno == EACCES        ? "ports below 1024 need CAP_NET_BIND_SERVICE"
                                                      : "see the system's log";
        rc = hf_error_set(error, HF_ERR_IO, errno, "Can't listen for %s on %s port %u (%s)",
                          options->name, any ? "any address" : options->address, options->port,
                          remedy);
    }
    if (fd >= 0) {
        close(fd);
    }
    return rc;
}

int loop_listen(struct hf_loop *loop, const struct hf_listen_options *options, uint16_t *bound_port,
                struct hf_error *error)
{
    bool any = *options->address == '\0' || strcmp(options->address, "0.0.0.0") == 0 ||
               strcmp(options->address, "::") == 0;
    bool v6 = false;
    if (loop->vhost_count == VHOSTS_MAX) {
        return hf_error_set(error, HF_ERR_LIMIT, 0, "Too many listeners");
    }
    int rc = try_address(options, any, &v6, error);
    if (rc != HF_OK) {
        return rc;
    }
    struct lws_context_creation_info info = {
        .vhost_name = options->name,
        .port = options->port,
        .iface = any ? NULL : options->address,
        .options = v6 ? 0 : LWS_SERVER_OPTION_DISABLE_IPV6,
        .protocols = options->protocols,
        .retry_and_idle_policy = &loop->idle_policy,
        .alpn = "http/1.1", /* what we write is HTTP/1.1; WebSockets want it too */
        .keepalive_timeout = 60,
        .timeout_secs = 20,
        .gid = -1,
        .uid = -1,
    };
    tls_server_options(options, &info);
    struct lws_vhost *vhost = lws_create_vhost(loop->context, &info);
    int port = vhost ? lws_get_vhost_listen_port(vhost) : -1;
    if (port <= 0) {
        return hf_error_set(error, HF_ERR_IO, 0,
                            "Can't listen for %s on %s port %u: probably the certificate %s can't "
                            "be used with the key %s; lines of libwebsockets above say more",
                            options->name, any ? "any address" : options->address, options->port,
                            options->certificate_pem_path, options->key_pem_path);
    }
    loop->vhosts[loop->vhost_count++] = vhost;
    *bound_port = (uint16_t)port;
    return HF_OK;
}
