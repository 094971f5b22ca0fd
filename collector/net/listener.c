/* Listening sockets, and who may shake hands now.
 *
 * A handshake costs the loop a thousand times what a frame does. When a whole fleet comes back at
 * once, so many are under way at a time and no more; the others wait in the kernel's queue, and
 * whoever is in is served in between. A connection gets out of the kernel only when its first bytes
 * are there, and gives its turn up after a second, so that those that say nothing keep nobody out.
 */
#include "collector/net/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "collector/net/loop_private.h"
#include "collector/net/tls.h"
#include "common/clock.h"
#include "common/log.h"

#define HANDSHAKES_MAX 128u /* of one listener at a time */
#define TURN_NS        HF_NS_PER_SECOND
#define ACCEPT_SLICE_NS                                                                            \
    (5 * HF_NS_PER_MS) /* then others are served before the next is accepted                       \
                        */
#define SILENT_S 10    /* until a connection without a byte is accepted all the same */
#define RETRY_MS 100
#define BACKLOG  4096

/* A connection's turn to shake hands. */
struct turn {
    struct lws *wsi; /* NULL: free */
    int64_t began_ns;
};

struct listener {
    struct lws_vhost *vhost;
    struct lws *wsi; /* the library's of the listening socket; known once somebody connected */
    bool paused;
    uv_timer_t resume;
    int64_t slice_began_ns; /* of accepting one after the other */
    int64_t slice_seen_ns;  /* the last of these */
    struct turn turns[HANDSHAKES_MAX];
    size_t shaking;
};

static void go_on(struct listener *listener)
{
    if (listener->paused) {
        listener->paused = false;
        listener->slice_began_ns = 0;
        lws_rx_flow_control(listener->wsi, 1);
    }
}

static void on_resume(uv_timer_t *timer)
{
    go_on(timer->data);
}

static void pause_accepting(struct listener *listener, uint64_t ms)
{
    if (!listener->paused) {
        listener->paused = true;
        lws_rx_flow_control(listener->wsi, 0);
        uv_timer_start(&listener->resume, on_resume, ms, 0);
    }
}

static void give_back(struct listener *listener, struct turn *turn)
{
    if (turn->wsi) {
        lws_set_opaque_user_data(turn->wsi, NULL);
        turn->wsi = NULL;
        listener->shaking--;
    }
}

/* Turns of connections that had their second are others' now. */
static void take_back_old(struct listener *listener, int64_t now_ns)
{
    for (size_t i = 0; i < HANDSHAKES_MAX; i++) {
        if (now_ns - listener->turns[i].began_ns > TURN_NS) {
            give_back(listener, &listener->turns[i]);
        }
    }
}

static struct turn *free_turn(struct listener *listener)
{
    for (size_t i = 0; i < HANDSHAKES_MAX; i++) {
        if (!listener->turns[i].wsi) {
            return &listener->turns[i];
        }
    }
    return NULL;
}

static struct listener *listener_of(struct lws *wsi)
{
    struct lws_vhost *vhost = lws_get_vhost(wsi);
    return vhost ? lws_get_vhost_user(vhost) : NULL;
}

void listener_settled(struct lws *wsi)
{
    struct turn *turn = lws_get_opaque_user_data(wsi);
    struct listener *listener = turn ? listener_of(wsi) : NULL;
    if (!listener) {
        return;
    }
    give_back(listener, turn);
    if (listener->shaking == HANDSHAKES_MAX - 1 &&
        !uv_is_closing((uv_handle_t *)&listener->resume)) {
        go_on(listener);
    }
}

/* The library has accepted a connection and will accept the next at once, unless it is stopped. */
static void on_accepted(struct lws *listening)
{
    struct listener *listener = listener_of(listening);
    int64_t now_ns = hf_clock_monotonic_ns();
    if (listener->wsi == NULL) {
        int fd = lws_get_socket_fd(listening);
        int silent_s = SILENT_S;
        listener->wsi = listening;
        setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &silent_s, sizeof silent_s);
        listen(fd, BACKLOG);
    }
    if (listener->slice_began_ns == 0 || now_ns - listener->slice_seen_ns > ACCEPT_SLICE_NS) {
        listener->slice_began_ns = now_ns;
    }
    listener->slice_seen_ns = now_ns;
    if (listener->shaking + 1 >= HANDSHAKES_MAX) {
        take_back_old(listener, now_ns);
    }
    if (listener->shaking + 1 >= HANDSHAKES_MAX) {
        pause_accepting(listener, RETRY_MS);
    } else if (now_ns - listener->slice_began_ns > ACCEPT_SLICE_NS) {
        pause_accepting(listener, 0);
    }
}

/* Its first flight has been answered. */
static void on_begun(struct lws *wsi)
{
    struct listener *listener = listener_of(wsi);
    struct turn *turn = listener ? free_turn(listener) : NULL;
    if (turn) {
        *turn = (struct turn){wsi, hf_clock_monotonic_ns()};
        listener->shaking++;
        lws_set_opaque_user_data(wsi, turn);
    }
}

bool listener_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user,
                       const void *in, size_t length, int *result, struct tls_refusal *refusal)
{
    struct tls_refusal unasked;
    refusal = refusal ? refusal : &unasked;
    *refusal = (struct tls_refusal){.refused = false};
    switch (reason) {
    case LWS_CALLBACK_FILTER_NETWORK_CONNECTION:
        on_accepted(wsi);
        *result = 0;
        return true;
    case LWS_CALLBACK_SERVER_NEW_CLIENT_INSTANTIATED:
        on_begun(wsi);
        return false;
    case LWS_CALLBACK_WSI_DESTROY:
    case LWS_CALLBACK_HTTP:
    case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION:
        listener_settled(wsi);
        return false;
    default:
        return tls_callback(reason, user, in, length, result, refusal);
    }
}

void listener_close(struct listener *listener)
{
    uv_timer_stop(&listener->resume);
    uv_close((uv_handle_t *)&listener->resume, NULL);
}

void listener_free(struct listener *listener)
{
    free(listener);
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

static struct lws_vhost *make_vhost(struct hf_loop *loop, struct listener *listener,
                                    const struct hf_listen_options *options, bool any, bool v6)
{
    /* Sessions are pinged by session/, in one round over all: the library would keep them in a list
     * that is searched from its start whenever one is heard. */
    static const lws_retry_bo_t no_pings = {.secs_since_valid_hangup = 0};
    struct lws_context_creation_info info = {
        .vhost_name = options->name,
        .port = options->port,
        .iface = any ? NULL : options->address,
        .options = v6 ? 0 : LWS_SERVER_OPTION_DISABLE_IPV6,
        .protocols = options->protocols,
        .user = listener,
        .retry_and_idle_policy = &no_pings,
        .alpn = "http/1.1", /* what we write is HTTP/1.1; WebSockets want it too */
        .keepalive_timeout = 60,
        .timeout_secs = 20,
        .gid = -1,
        .uid = -1,
    };
    tls_server_options(options, &info);
    return lws_create_vhost(loop->context, &info);
}

int loop_listen(struct hf_loop *loop, const struct hf_listen_options *options, uint16_t *bound_port,
                struct hf_error *error)
{
    bool any = *options->address == '\0' || strcmp(options->address, "0.0.0.0") == 0 ||
               strcmp(options->address, "::") == 0;
    bool v6 = false;
    if (loop->listener_count == LISTENERS_MAX) {
        return hf_error_set(error, HF_ERR_LIMIT, 0, "Too many listeners");
    }
    int rc = try_address(options, any, &v6, error);
    if (rc != HF_OK) {
        return rc;
    }
    struct listener *listener = calloc(1, sizeof *listener);
    if (!listener) {
        return hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory to listen for %s",
                            options->name);
    }
    uv_timer_init(&loop->uv, &listener->resume);
    listener->resume.data = listener;
    loop->listeners[loop->listener_count++] = listener;
    listener->vhost = make_vhost(loop, listener, options, any, v6);
    int port = listener->vhost ? lws_get_vhost_listen_port(listener->vhost) : -1;
    if (port <= 0) {
        return hf_error_set(error, HF_ERR_IO, 0,
                            "Can't listen for %s on %s port %u: probably the certificate %s can't "
                            "be used with the key %s; lines of libwebsockets above say more",
                            options->name, any ? "any address" : options->address, options->port,
                            options->certificate_pem_path, options->key_pem_path);
    }
    *bound_port = (uint16_t)port;
    return HF_OK;
}
