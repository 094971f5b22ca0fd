#include "agent/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent/capture/capture.h"
#include "agent/capture/outbox.h"
#include "agent/config/config.h"
#include "agent/identity/identity.h"
#include "agent/restore/restore.h"
#include "agent/session/link.h"
#include "agent/session/shipper.h"
#include "common/clock.h"
#include "common/fs.h"
#include "common/log.h"
#include "common/notify.h"

/* A stop gives what is under way this long to be acknowledged; the rest is spooled. */
#define DRAIN_NS (3 * HF_NS_PER_SECOND)
/* After this a stop that hangs is ended the hard way: state and spool survive that. */
#define STOP_LIMIT_S 9

/* All that runs between one reading of the configuration and the next. */
struct service {
    const struct hf_config *config;
    struct hf_identity *identity;
    struct hf_outbox *outbox;
    struct hf_capture *capture;
    struct hf_queue *shipping, *restoring;
    struct hf_link *link;
    pthread_t loop_thread;
    bool loop_runs;
    struct hf_shipper *shipper;
    struct hf_restorer *restorer;
};

/* A configuration and the lock on its state directory; lock_fd is -1 where the directory is the one
 * that is locked already. */
struct plan {
    struct hf_config *config;
    int lock_fd;
};

struct daemon {
    const char *config_path;
    struct service service;
    struct hf_config *config; /* of service */
    pthread_t signal_thread;
    sigset_t signals;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool stopping;    /* guarded by lock */
    struct plan next; /* guarded by lock: from SIGHUP; config is NULL for none */
    int lock_fd;      /* guarded by lock: of the state directory in use */
};

static void plan_drop(struct plan *plan)
{
    config_free(plan->config);
    if (plan->lock_fd >= 0)
        close(plan->lock_fd);
    *plan = (struct plan){.lock_fd = -1};
}

/* ---- one agent a state directory ---- */

static bool same_file(int a, int b)
{
    struct stat first, second;
    return a >= 0 && b >= 0 && !fstat(a, &first) && !fstat(b, &second) &&
           first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

/* held_fd: the lock that this process has already, or -1. *out_fd is -1 when it is of the same
 * directory. */
static int lock_state(const char *directory, int held_fd, int *out_fd, struct hf_error *error)
{
    char path[4200];
    int result = hf_mkdirs(directory, 0700, error);
    if (result)
        return result;
    snprintf(path, sizeof(path), "%s/lock", directory);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return hf_error_set(error, HF_ERR_IO, errno, "can't open %s", path);
    if (same_file(fd, held_fd)) {
        close(fd);
        *out_fd = -1;
        return 0;
    }
    if (flock(fd, LOCK_EX | LOCK_NB)) {
        int failure = errno;
        close(fd);
        if (failure == EWOULDBLOCK)
            return hf_error_set(error, HF_ERR_CONFLICT, 0,
                                "another holdfast-agent runs with the state directory %s; stop it, "
                                "or give this one a directory of its own ([agent] state)",
                                directory);
        return hf_error_set(error, HF_ERR_IO, failure, "can't lock %s", path);
    }
    *out_fd = fd;
    return 0;
}

/* ---- the configuration ---- */

static int read_config(const char *path, struct hf_config **out, struct hf_error *error)
{
    int result = config_check_file(path, error);
    return result ? result : config_load(path, out, error);
}

/* ---- the service ---- */

static void notify(const char *state)
{
    struct hf_error error;
    if (hf_notify(state, &error))
        hf_log_warning("%s", error.message);
}

static void tick(void *context)
{
    (void)context;
    notify("WATCHDOG=1");
}

static void *run_loop(void *context)
{
    pthread_setname_np(pthread_self(), "link");
    link_run(context);
    return NULL;
}

/* The connection is the last to go: first nothing new is found, then what was found is sent and
 * acknowledged, or left in the spool. */
static void service_stop(struct service *service)
{
    restorer_stop(service->restorer);
    if (service->capture)
        capture_stop(service->capture);
    shipper_stop(service->shipper, DRAIN_NS);
    if (service->loop_runs) {
        link_stop(service->link);
        pthread_join(service->loop_thread, NULL);
    }
    link_free(service->link);
    capture_free(service->capture);
    outbox_free(service->outbox);
    if (service->shipping)
        hf_queue_free(service->shipping, link_event_release);
    if (service->restoring)
        hf_queue_free(service->restoring, link_event_release);
    identity_free(service->identity);
    *service = (struct service){0};
}

static int service_start_link(struct service *service, struct hf_error *error)
{
    const struct hf_config *config = service->config;
    bool moved = config->collector_host != NULL;
    struct hf_link_options options = {
        .host = moved ? config->collector_host : identity_collector_host(service->identity),
        .port = moved ? config->collector_port : identity_collector_port(service->identity),
        .agent_pem_path = identity_agent_pem_path(service->identity),
        .ca_pem_path = identity_ca_pem_path(service->identity),
        .shipping = service->shipping,
        .restoring = service->restoring,
        .tick = tick,
        .tick_ns = hf_notify_watchdog_ns() / 2,
        .upload_limit = config->upload_limit,
        .reconnect_max_ms = (uint32_t)(config->reconnect_max_ns / HF_NS_PER_MS),
    };
    return link_new(&options, &service->link, error);
}

/* config outlives the service. */
static int service_start(struct service *service, const struct hf_config *config,
                         struct hf_error *error)
{
    *service = (struct service){.config = config};
    service->shipping = hf_queue_new();
    service->restoring = hf_queue_new();
    int result = 0;
    if (!service->shipping || !service->restoring)
        result = hf_error_set(error, HF_ERR_NO_MEMORY, 0, "no memory to start");
    if (!result)
        result = identity_open(config->identity_directory, &service->identity, error);
    if (!result)
        result = service_start_link(service, error);
    if (!result)
        result = outbox_open(config, &service->outbox, error);
    if (!result)
        result = capture_start(config, service->outbox, &service->capture, error);
    if (!result) {
        struct hf_shipper_options options = {.config = config,
                                             .capture = service->capture,
                                             .outbox = service->outbox,
                                             .identity = service->identity,
                                             .link = service->link,
                                             .inbox = service->shipping};
        result = shipper_start(&options, &service->shipper, error);
    }
    if (!result) {
        struct hf_restorer_options options = {.config = config,
                                              .capture = service->capture,
                                              .link = service->link,
                                              .inbox = service->restoring};
        result = restorer_start(&options, &service->restorer, error);
    }
    if (!result) {
        int failure = pthread_create(&service->loop_thread, NULL, run_loop, service->link);
        service->loop_runs = !failure;
        if (failure)
            result = hf_error_set(error, HF_ERR_IO, failure, "can't start the loop thread");
    }
    if (result)
        service_stop(service);
    return result;
}

/* ---- signals ---- */

/* What can be known to fail without the service that runs being stopped for it. */
static int prepare(const char *path, int held_fd, struct plan *plan, struct hf_error *error)
{
    struct hf_identity *identity = NULL;
    *plan = (struct plan){.lock_fd = -1};
    int result = read_config(path, &plan->config, error);
    if (!result)
        result = identity_open(plan->config->identity_directory, &identity, error);
    identity_free(identity);
    if (!result)
        result = lock_state(plan->config->state, held_fd, &plan->lock_fd, error);
    if (result)
        plan_drop(plan);
    return result;
}

static void on_hangup(struct daemon *daemon)
{
    struct plan next;
    struct hf_error error;
    pthread_mutex_lock(&daemon->lock);
    /* One that waits is out of date, and may hold the lock that is wanted now. */
    plan_drop(&daemon->next);
    if (prepare(daemon->config_path, daemon->lock_fd, &next, &error)) {
        hf_log_error("the changed configuration is not used, the present one stays: %s",
                     error.message);
    } else {
        daemon->next = next;
        pthread_cond_signal(&daemon->changed);
    }
    pthread_mutex_unlock(&daemon->lock);
}

static void *watch_signals(void *context)
{
    struct daemon *daemon = context;
    pthread_setname_np(pthread_self(), "signals");
    for (;;) {
        int number;
        if (sigwait(&daemon->signals, &number))
            continue;
        if (number == SIGUSR1) /* from daemon_run itself: it is over */
            return NULL;
        if (number == SIGHUP) {
            on_hangup(daemon);
            continue;
        }
        hf_log_info("stopping");
        notify("STOPPING=1");
        pthread_mutex_lock(&daemon->lock);
        daemon->stopping = true;
        pthread_cond_signal(&daemon->changed);
        pthread_mutex_unlock(&daemon->lock);
        struct timespec limit = {.tv_sec = STOP_LIMIT_S};
        number = sigtimedwait(&daemon->signals, NULL, &limit);
        if (number == SIGUSR1)
            return NULL;
        hf_log_warning(number < 0 ? "stopping took too long and is cut short; what is not sent yet "
                                    "is captured at the next start"
                                  : "stopped at once by a second signal");
        _exit(number < 0 ? 0 : 1);
    }
}

static int start_signals(struct daemon *daemon, struct hf_error *error)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGPIPE, &ignore, NULL);
    sigemptyset(&daemon->signals);
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        sigaddset(&daemon->signals, numbers[i]);
    /* Blocked before any thread starts, so that all inherit it and only sigwait sees them. */
    pthread_sigmask(SIG_BLOCK, &daemon->signals, NULL);
    int failure = pthread_create(&daemon->signal_thread, NULL, watch_signals, daemon);
    return failure ? hf_error_set(error, HF_ERR_IO, failure, "can't start the signal thread") : 0;
}

/* ---- */

/* One life of the service, which still runs when it is over: until there is another configuration,
 * or none (it stops). */
static struct plan serve(struct daemon *daemon)
{
    notify("READY=1");
    pthread_mutex_lock(&daemon->lock);
    while (!daemon->stopping && !daemon->next.config)
        pthread_cond_wait(&daemon->changed, &daemon->lock);
    struct plan next = {.lock_fd = -1};
    if (!daemon->stopping) {
        next = daemon->next;
        daemon->next = (struct plan){.lock_fd = -1};
    }
    pthread_mutex_unlock(&daemon->lock);
    return next;
}

/* next is what the service runs with from now on. */
static void adopt(struct daemon *daemon, struct plan *next)
{
    config_free(daemon->config);
    daemon->config = next->config;
    pthread_mutex_lock(&daemon->lock);
    if (next->lock_fd >= 0) {
        close(daemon->lock_fd);
        daemon->lock_fd = next->lock_fd;
    }
    pthread_mutex_unlock(&daemon->lock);
    hf_log_info("going on with the changed configuration: %zu sources",
                daemon->config->source_count);
}

/* Takes over next. Only if the old one does not start either, or no more, it fails. */
static int change_config(struct daemon *daemon, struct plan *next, struct hf_error *error)
{
    notify("RELOADING=1");
    service_stop(&daemon->service);
    if (!service_start(&daemon->service, next->config, error)) {
        adopt(daemon, next);
        return 0;
    }
    hf_log_error("the changed configuration can't be used, going back to the one before: %s",
                 error->message);
    plan_drop(next);
    return service_start(&daemon->service, daemon->config, error);
}

static int run_services(struct daemon *daemon, struct hf_error *error)
{
    int result = service_start(&daemon->service, daemon->config, error);
    while (!result) {
        struct plan next = serve(daemon);
        if (!next.config) {
            service_stop(&daemon->service);
            break;
        }
        result = change_config(daemon, &next, error);
    }
    return result;
}

int daemon_run(const char *config_path)
{
    struct daemon daemon = {.config_path = config_path,
                            .lock = PTHREAD_MUTEX_INITIALIZER,
                            .changed = PTHREAD_COND_INITIALIZER,
                            .next = {.lock_fd = -1},
                            .lock_fd = -1};
    struct hf_error error;
    int result = read_config(config_path, &daemon.config, &error);
    if (!result)
        result = lock_state(daemon.config->state, -1, &daemon.lock_fd, &error);
    if (!result)
        result = start_signals(&daemon, &error);
    if (!result) {
        hf_log_info("holdfast-agent " HF_VERSION " with %zu sources of %s",
                    daemon.config->source_count, config_path);
        result = run_services(&daemon, &error);
        pthread_kill(daemon.signal_thread, SIGUSR1);
        pthread_join(daemon.signal_thread, NULL);
        plan_drop(&daemon.next);
    }
    config_free(daemon.config);
    if (daemon.lock_fd >= 0)
        close(daemon.lock_fd);
    if (result)
        hf_log_error("%s", error.message);
    else
        hf_log_info("stopped");
    return result ? 1 : 0;
}
