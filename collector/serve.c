#include "collector/serve.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "collector/api/api.h"
#include "collector/dictionary/trainer.h"
#include "collector/http/http.h"
#include "collector/identity/identity.h"
#include "collector/ingest/ingest.h"
#include "collector/net/loop.h"
#include "collector/restore/restore.h"
#include "collector/session/session.h"
#include "common/bytes.h"
#include "common/fs.h"
#include "common/log.h"
#include "common/notify.h"

#define PATH_BYTES   4400
#define EXPIRE_TICKS 30    /* of a second each, between looks for expired jobs */
#define RENEW_TICKS  21600 /* between looks whether the collector's certificate is due */
#define GOODBYE_MS   500   /* for GOAWAY frames to leave, once everything accepted is committed */

struct collector {
    const struct hf_collector_config *config;
    struct hf_ingest *ingest;
    struct hf_trainer *trainer;
    struct hf_authority *authority;
    struct hf_loop *loop;
    struct hf_hub *hub;
    struct hf_sessions *sessions;
    struct hf_enrolment *enrolment;
    struct hf_api *api;
    struct hf_http_server *enrol_http, *api_http;
    uint16_t agents_port, enrol_port, api_port;
    uint64_t ticks;
    sigset_t signals;
    pthread_t signal_thread;
    bool signal_thread_runs;
};

/* --- the API's view of live sessions --- */

static void session_state(void *context, const char *host_id, struct hf_api_session_state *out)
{
    struct collector *collector = context;
    struct hf_hub_state state;
    hub_state(collector->hub, host_id, &state);
    *out = (struct hf_api_session_state){.online = state.online,
                                         .since_ns = state.since_ns,
                                         .duplicates_refused = state.duplicates_refused};
    memcpy(out->address, state.address, sizeof out->address);
}

static uint64_t session_count(void *context)
{
    struct collector *collector = context;
    return hub_count(collector->hub);
}

static size_t session_refusals(void *context, struct hf_api_refusals out[HF_API_REASONS_MAX])
{
    const struct collector *collector = context;
    uint64_t counts[HF_HUB_REASONS];
    size_t count = 0;
    hub_refusals(collector->hub, counts);
    for (size_t code = 0; code < HF_HUB_REASONS && count < HF_API_REASONS_MAX; code++) {
        const char *reason = code == 0 ? "certificate" : proto_code_name((enum hf_wire_code)code);
        if (strcmp(reason, "unknown") != 0) {
            out[count++] = (struct hf_api_refusals){reason, counts[code]};
        }
    }
    return count;
}

static bool session_mark(void *context, uint64_t source_row, int64_t *until_ns, int *state)
{
    struct collector *collector = context;
    return ingest_mark(collector->ingest, source_row, until_ns, state);
}

static void session_close(void *context, const char *host_id, const char *reason)
{
    struct collector *collector = context;
    char text[240];
    snprintf(
        text, sizeof text,
        "The host is revoked%s%.100s; enrol the machine again with a new token to let it back in",
        *reason ? ": " : "", reason);
    sessions_close_host(collector->sessions, host_id, HF_WIRE_REVOKED, text);
}

static void session_wake(void *context, const char *host_id)
{
    struct collector *collector = context;
    sessions_wake_host(collector->sessions, host_id);
}

static void session_cancel(void *context, const char *host_id, uint64_t job)
{
    struct collector *collector = context;
    sessions_cancel_job(collector->sessions, host_id, job);
}

/* --- start --- */

static int read_key(const char *path, uint8_t key[HF_STORE_KEY_BYTES], struct hf_error *error)
{
    struct hf_buf text = {0};
    struct stat status;
    if (stat(path, &status) == 0 && (status.st_mode & (S_IRWXG | S_IRWXO))) {
        return hf_error_set(error, HF_ERR_DENIED, 0,
                            "%s can be read by others than its owner: chmod 600 it", path);
    }
    int rc = hf_read_file(path, 4096, &text, error);
    while (rc == HF_OK && text.size > 0 && strchr(" \r\n", text.data[text.size - 1])) {
        text.size--;
    }
    rc = rc == HF_OK ? hf_buf_terminate(&text) : rc;
    if (rc == HF_OK && hf_hex_decode((const char *)text.data, key, HF_STORE_KEY_BYTES) != HF_OK) {
        rc = hf_error_set(error, HF_ERR_INVALID, 0, "%s should hold 64 hexadecimal digits", path);
    }
    hf_buf_wipe_free(&text);
    return rc;
}

static int start_ingest(struct collector *collector, struct hf_error *error)
{
    const struct hf_collector_config *config = collector->config;
    uint8_t key[HF_STORE_KEY_BYTES];
    int rc = read_key(config->key, key, error);
    struct hf_ingest_options options = {
        .store = {.directory = config->repository,
                  .key = key,
                  .pack_target_bytes = config->pack_bytes},
        .catalog_path = config->catalog,
    };
    rc = rc == HF_OK ? ingest_start(&options, &collector->ingest, error) : rc;
    hf_wipe(key, sizeof key);
    return rc;
}

static void expire_jobs(void *arg, struct hf_catalog_reader *catalog, struct hf_store_reader *store)
{
    struct collector *collector = arg;
    struct hf_error error = {0};
    (void)store;
    if (restore_expire_jobs(collector->ingest, catalog, &error) != HF_OK) {
        hf_log_warning("Jobs that have expired can't be looked for: %s", error.message);
    }
}

static void certificate_paths(const struct hf_collector_config *config,
                              char certificate[PATH_BYTES], char key[PATH_BYTES])
{
    snprintf(certificate, PATH_BYTES, "%s/tls/collector.pem", config->data);
    snprintf(key, PATH_BYTES, "%s/tls/collector.key", config->data);
}

/* On the loop. */
static void use_certificate(void *arg)
{
    struct collector *collector = arg;
    char certificate[PATH_BYTES];
    char key[PATH_BYTES];
    struct hf_error error = {0};
    certificate_paths(collector->config, certificate, key);
    if (loop_reload_certificate(collector->loop, certificate, key, &error) != HF_OK) {
        hf_log_error("%s", error.message);
    }
}

/* Before the collector listens, or on a worker. True when the certificate is a new one. */
static bool renew_certificate(struct collector *collector)
{
    bool renewed = false;
    struct hf_error error = {0};
    if (server_certificate_renew(collector->authority, collector->config->data, &renewed, &error) !=
        HF_OK) {
        hf_log_error("%s", error.message);
    } else if (renewed) {
        hf_log_info("Renewed the collector's certificate, %s/tls/collector.pem",
                    collector->config->data);
    }
    return renewed;
}

static void renew_on_worker(void *arg, struct hf_catalog_reader *catalog,
                            struct hf_store_reader *store)
{
    struct collector *collector = arg;
    (void)catalog;
    (void)store;
    if (renew_certificate(collector)) {
        loop_post(collector->loop, use_certificate, collector);
    }
}

static void tick(void *context)
{
    struct collector *collector = context;
    if (hf_notify_watchdog_ns() > 0) {
        hf_notify("WATCHDOG=1", NULL);
    }
    if (collector->ticks % EXPIRE_TICKS == 0) {
        ingest_run(collector->ingest, expire_jobs, collector);
    }
    if (++collector->ticks % RENEW_TICKS == 0) {
        ingest_run(collector->ingest, renew_on_worker, collector);
    }
}

static int listen_one(struct collector *collector, const char *name,
                      const struct hf_collector_address *address, const char *client_ca,
                      const struct lws_protocols *protocols, uint16_t *port, struct hf_error *error)
{
    char certificate[PATH_BYTES];
    char key[PATH_BYTES];
    certificate_paths(collector->config, certificate, key);
    struct hf_listen_options options = {
        .name = name,
        .address = address->host,
        .port = address->port,
        .certificate_pem_path = certificate,
        .key_pem_path = key,
        .client_ca_pem_path = client_ca,
        .protocols = protocols,
    };
    return loop_listen(collector->loop, &options, port, error);
}

static void public_address(const struct collector *collector, uint16_t port, char out[300])
{
    bool v6 = strchr(collector->config->advertise, ':') != NULL;
    snprintf(out, 300, "%s%s%s:%u", v6 ? "[" : "", collector->config->advertise, v6 ? "]" : "",
             port);
}

static int start_agents(struct collector *collector, struct hf_error *error)
{
    char clients_ca[PATH_BYTES];
    snprintf(clients_ca, sizeof clients_ca, "%s/tls/clients-ca.pem", collector->config->data);
    struct hf_sessions_options options = {
        .loop = collector->loop,
        .ingest = collector->ingest,
        .authority = collector->authority,
        .hub = collector->hub,
        .memory_bytes = collector->config->memory_bytes,
        .sessions_max = (uint32_t)collector->config->sessions_max,
    };
    int rc = sessions_new(&options, &collector->sessions, error);
    return rc == HF_OK
               ? listen_one(collector, "agents", &collector->config->agents, clients_ca,
                            sessions_protocols(collector->sessions), &collector->agents_port, error)
               : rc;
}

static int start_enrolment(struct collector *collector, struct hf_error *error)
{
    char agents_address[300];
    public_address(collector, collector->agents_port, agents_address);
    int rc = enrolment_new(collector->authority, collector->ingest, agents_address,
                           &collector->enrolment, error);
    struct hf_http_options http = {.loop = collector->loop,
                                   .ingest = collector->ingest,
                                   .handler = enrolment_handle,
                                   .context = collector->enrolment,
                                   .exchanges_max = 64};
    rc = rc == HF_OK ? http_server_new(&http, &collector->enrol_http, error) : rc;
    return rc == HF_OK ? listen_one(collector, "enrol", &collector->config->enrol, NULL,
                                    http_server_protocols(collector->enrol_http),
                                    &collector->enrol_port, error)
                       : rc;
}

static int start_api(struct collector *collector, struct hf_error *error)
{
    char agents_address[300];
    char enrol_address[300];
    public_address(collector, collector->agents_port, agents_address);
    public_address(collector, collector->enrol_port, enrol_address);
    struct hf_api_options options = {
        .ingest = collector->ingest,
        .sessions = {.context = collector,
                     .state = session_state,
                     .count = session_count,
                     .refusals = session_refusals,
                     .mark = session_mark,
                     .close = session_close,
                     .wake = session_wake,
                     .cancel = session_cancel},
        .enrol_address = enrol_address,
        .agents_address = agents_address,
    };
    authority_fingerprint(collector->authority, options.ca_fingerprint);
    int rc = api_new(&options, &collector->api, error);
    struct hf_http_options http = {.loop = collector->loop,
                                   .ingest = collector->ingest,
                                   .handler = api_handle,
                                   .context = collector->api};
    rc = rc == HF_OK ? http_server_new(&http, &collector->api_http, error) : rc;
    return rc == HF_OK
               ? listen_one(collector, "api", &collector->config->api, NULL,
                            http_server_protocols(collector->api_http), &collector->api_port, error)
               : rc;
}

/* For set-ups with port 0, and for people who look. */
static int write_ports(struct collector *collector, struct hf_error *error)
{
    char path[PATH_BYTES];
    char text[128];
    snprintf(path, sizeof path, "%s/run", collector->config->data);
    int rc = hf_mkdirs(path, 0700, error);
    snprintf(path, sizeof path, "%s/run/ports", collector->config->data);
    snprintf(text, sizeof text, "agents=%u\nenrol=%u\napi=%u\n", collector->agents_port,
             collector->enrol_port, collector->api_port);
    return rc == HF_OK ? hf_write_file_atomic(path, text, strlen(text), 0600, error) : rc;
}

/* --- signals --- */

static void shut_down(void *arg)
{
    struct collector *collector = arg;
    sessions_shut_down(collector->sessions);
}

/* SIGHUP: the log level and the collector's certificate, which may have been issued anew by hand or
 * be due. The rest of the configuration is for the next start. */
static void reload(void *arg)
{
    struct collector *collector = arg;
    char certificate[PATH_BYTES];
    char key[PATH_BYTES];
    struct hf_error error = {0};
    struct hf_collector_config *config = malloc(sizeof *config);
    if (config && collector_config_load(collector->config->path, config, &error) == HF_OK) {
        hf_log_set_level(config->log_level);
        certificate_paths(collector->config, certificate, key);
        loop_reload_certificate(collector->loop, certificate, key, &error);
        ingest_run(collector->ingest, renew_on_worker, collector);
    }
    if (error.code == HF_OK) {
        hf_log_info("Read %s and the certificate again", collector->config->path);
    } else {
        hf_log_error("SIGHUP: %s", error.message);
    }
    free(config);
}

static void *watch_signals(void *arg)
{
    struct collector *collector = arg;
    int number = 0;
    while (sigwait(&collector->signals, &number) == 0 && number == SIGHUP) {
        loop_post(collector->loop, reload, collector);
    }
    hf_log_info("Stopping");
    hf_notify("STOPPING=1", NULL);
    loop_post(collector->loop, shut_down, collector);
    nanosleep(&(struct timespec){.tv_nsec = GOODBYE_MS * 1000000L}, NULL);
    loop_stop(collector->loop);
    return NULL;
}

static int block_signals(struct collector *collector, struct hf_error *error)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};
    sigaction(SIGPIPE, &ignore, NULL);
    sigaction(SIGXFSZ, &ignore, NULL); /* a file size limit is an error, not an end */
    sigemptyset(&collector->signals);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        sigaddset(&collector->signals, numbers[i]);
    }
    /* Before any thread starts, so that only sigwait sees them. */
    int failed = pthread_sigmask(SIG_BLOCK, &collector->signals, NULL);
    return failed ? hf_error_set(error, HF_ERR_IO, failed, "Can't block signals") : HF_OK;
}

static int start(struct collector *collector, struct hf_error *error)
{
    struct hf_loop_options loop_options = {.tick = tick, .tick_context = collector};
    int rc = block_signals(collector, error);
    rc = rc == HF_OK ? authority_load(collector->config->data, collector->config->validity_ns,
                                      &collector->authority, error)
                     : rc;
    if (rc == HF_OK) {
        renew_certificate(collector);
    }
    rc = rc == HF_OK ? start_ingest(collector, error) : rc;
    rc = rc == HF_OK ? loop_new(&loop_options, &collector->loop, error) : rc;
    if (rc == HF_OK && !(collector->hub = hub_new())) {
        rc = hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory to start");
    }
    rc = rc == HF_OK ? start_agents(collector, error) : rc;
    rc = rc == HF_OK ? start_enrolment(collector, error) : rc;
    rc = rc == HF_OK ? start_api(collector, error) : rc;
    rc = rc == HF_OK ? write_ports(collector, error) : rc;
    rc = rc == HF_OK ? trainer_start(collector->ingest, collector->config->dictionary_interval_ns,
                                     &collector->trainer, error)
                     : rc;
    if (rc == HF_OK) {
        int failed = pthread_create(&collector->signal_thread, NULL, watch_signals, collector);
        collector->signal_thread_runs = !failed;
        rc = failed ? hf_error_set(error, HF_ERR_IO, failed, "Can't start the signal thread") : rc;
    }
    return rc;
}

/* Connections end first, so that nothing new comes; then what was accepted is committed. */
static void stop(struct collector *collector)
{
    loop_close(collector->loop);
    trainer_stop(collector->trainer);
    ingest_stop(collector->ingest);
    loop_free(collector->loop); /* what workers handed back meanwhile */
    sessions_free(collector->sessions);
    http_server_free(collector->enrol_http);
    http_server_free(collector->api_http);
    enrolment_free(collector->enrolment);
    api_free(collector->api);
    hub_free(collector->hub);
    authority_free(collector->authority);
}

int collector_serve(const struct hf_collector_config *config)
{
    struct collector collector = {.config = config};
    struct hf_error error = {0};
    int rc = start(&collector, &error);
    if (rc == HF_OK) {
        hf_log_info("holdfast-collector " HF_VERSION " serves %s: agents on port %u, enrolment on "
                    "%u, operators on %u",
                    config->data, collector.agents_port, collector.enrol_port, collector.api_port);
        hf_notify("READY=1", NULL);
        loop_run(collector.loop);
        pthread_join(collector.signal_thread, NULL);
    } else {
        hf_log_error("%s", error.message);
    }
    stop(&collector);
    return rc == HF_OK ? 0 : 1;
}
