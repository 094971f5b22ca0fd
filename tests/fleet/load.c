/* fleet_load: thousands of simulated agents in one process and one thread, over real mutual TLS.
 *
 *   fleet_load enrol --address 127.0.0.1:PORT --root FILE --token-file FILE --dir DIR --agents N
 *   fleet_load run   --address 127.0.0.1:PORT --root FILE --dir DIR --agents N [--batch N]
 *                    [--mark-interval MS] [--dialling N] [--reconnect-max MS] [--sequences FILE]
 *
 * `run` takes commands on its standard input, one a line, and answers on its standard output with a
 * JSON object a line. tests/bench/fleet drives it.
 *
 *   connect        dial; {"event":"connected"} once every source is open
 *   rate R         R versions a second from now on, over all agents in turn; 0 for none
 *   burst N        N versions at once, over all agents in turn
 *   marks on|off   whether agents that are connected mark their sources (on)
 *   drop N         cut N connections, spread over the fleet; their agents come back
 *   storm          {"event":"back",...} once every agent has its source open and a version that was
 *                  acknowledged after this, in one connection
 *   drain          {"event":"drained"} once nothing is under way
 *   phase NAME     what was counted since the last one: {"event":"phase",...}
 *   quit           {"event":"end",...}, and the exit status: 0 when no promise was broken
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/clock.h"
#include "common/fs.h"
#include "common/join_token.h"
#include "tests/fleet/agent.h"
#include "tests/fleet/enrol.h"

#define AGENTS_MAX    99999u
#define EVENTS_MAX    512
#define TICK_MS       2 /* between looks at what is due */
#define LOOK_NS       (50 * HF_NS_PER_MS)
#define DIAL_LIMIT_NS (30 * HF_NS_PER_SECOND)
#define ENROL_THREADS 8u
#define LINE_BYTES    256

struct options {
    struct sockaddr_in address;
    const char *root, *token_file, *directory, *sequences;
    uint32_t agents, batch, mark_interval_ms, dialling, reconnect_max_ms;
};

/* Something that is due so many times a second, in turn over the agents. */
struct pace {
    double per_second;
    int64_t began_ns;
    uint64_t done;
    uint32_t next;
};

struct load {
    struct fleet fleet;
    struct options options;
    struct pace versions, marks;
    struct times opened, acked; /* after a storm: scratch */
    int64_t looked_ns;
    bool connecting, draining, over;
    char line[LINE_BYTES];
    size_t line_size;
};

static void pace_set(struct pace *pace, double per_second, int64_t now_ns)
{
    pace->per_second = per_second;
    pace->began_ns = now_ns;
    pace->done = 0;
}

/* When the next one is due; INT64_MAX: never. */
static int64_t pace_due_ns(const struct pace *pace)
{
    if (pace->per_second <= 0) {
        return INT64_MAX;
    }
    return pace->began_ns +
           (int64_t)((double)(pace->done + 1) / pace->per_second * (double)HF_NS_PER_SECOND);
}

static struct agent *pace_take(struct pace *pace, struct fleet *fleet)
{
    struct agent *agent = &fleet->agents[pace->next];
    pace->next = pace->next + 1 < fleet->count ? pace->next + 1 : 0;
    pace->done++;
    return agent;
}

/* --- what is due --- */

static void dial_due(struct load *load, int64_t now_ns)
{
    struct fleet *fleet = &load->fleet;
    for (uint32_t i = 0; i < fleet->count; i++) {
        if (fleet->retry_ns[i] != 0 && fleet->retry_ns[i] <= now_ns &&
            (fleet->dial_max == 0 || fleet->dialling < fleet->dial_max)) {
            agent_dial(&fleet->agents[i], now_ns);
        }
    }
}

/* Dial what is due, give up what does not get on. */
static void look(struct load *load, int64_t now_ns)
{
    struct fleet *fleet = &load->fleet;
    load->looked_ns = now_ns;
    for (uint32_t i = 0; i < fleet->count; i++) {
        struct agent *agent = &fleet->agents[i];
        if (agent->connection.state != CONNECTION_CLOSED && !agent->open &&
            now_ns - agent->dialled_ns > DIAL_LIMIT_NS) {
            agent_lose(agent, now_ns);
        }
    }
}

static void print_back(struct load *load, int64_t now_ns)
{
    const struct fleet *fleet = &load->fleet;
    int64_t began_ns = fleet->storm.began_ns;
    memset(&load->opened, 0, sizeof load->opened);
    memset(&load->acked, 0, sizeof load->acked);
    for (uint32_t i = 0; i < fleet->count; i++) {
        times_add(&load->opened, fleet->agents[i].opened_ns - began_ns);
        times_add(&load->acked, fleet->agents[i].protected_ns - began_ns);
    }
    printf("{\"event\":\"back\",\"seconds\":%.3f,\"open\":",
           (double)(now_ns - began_ns) / (double)HF_NS_PER_SECOND);
    times_print(&load->opened, stdout);
    fputs(",\"protected\":", stdout);
    times_print(&load->acked, stdout);
    fputs("}\n", stdout);
}

static void tell_news(struct load *load, int64_t now_ns)
{
    struct fleet *fleet = &load->fleet;
    if (load->connecting && fleet->open == fleet->count) {
        load->connecting = false;
        fleet->dial_max = 0; /* from now on they come when they come */
        puts("{\"event\":\"connected\"}");
    }
    if (load->draining && fleet->in_flight == 0) {
        load->draining = false;
        puts("{\"event\":\"drained\"}");
    }
    const struct storm *storm = &fleet->storm;
    if (storm->running && storm->open == fleet->count && storm->protected == fleet->count) {
        fleet->storm.running = false;
        print_back(load, now_ns);
    }
    fflush(stdout);
}

static void do_what_is_due(struct load *load)
{
    struct fleet *fleet = &load->fleet;
    int64_t now_ns = hf_clock_monotonic_ns();
    for (int64_t due_ns; (due_ns = pace_due_ns(&load->versions)) <= now_ns;) {
        agent_send(pace_take(&load->versions, fleet), due_ns);
    }
    while (pace_due_ns(&load->marks) <= now_ns) {
        agent_mark(pace_take(&load->marks, fleet));
    }
    dial_due(load, now_ns);
    if (now_ns - load->looked_ns >= LOOK_NS) {
        look(load, now_ns);
    }
    tell_news(load, now_ns);
}

/* --- commands --- */

static void on_connect(struct load *load, const char *argument, int64_t now_ns)
{
    (void)argument;
    load->connecting = true;
    for (uint32_t i = 0; i < load->fleet.count; i++) {
        load->fleet.retry_ns[i] = now_ns;
    }
}

static void on_rate(struct load *load, const char *argument, int64_t now_ns)
{
    pace_set(&load->versions, strtod(argument, NULL) / load->fleet.batch, now_ns);
}

static void on_burst(struct load *load, const char *argument, int64_t now_ns)
{
    unsigned long count = strtoul(argument, NULL, 10);
    for (unsigned long i = 0; i < count; i += load->fleet.batch) {
        agent_send(pace_take(&load->versions, &load->fleet), now_ns);
    }
}

static void on_marks(struct load *load, const char *argument, int64_t now_ns)
{
    bool on = strcmp(argument, "on") == 0 && load->options.mark_interval_ms > 0;
    pace_set(&load->marks, on ? load->fleet.count * 1000.0 / load->options.mark_interval_ms : 0,
             now_ns);
}

static void on_drop(struct load *load, const char *argument, int64_t now_ns)
{
    unsigned long count = strtoul(argument, NULL, 10);
    uint32_t step =
        count > 0 && count < load->fleet.count ? load->fleet.count / (uint32_t)count : 1;
    for (uint32_t i = 0; i < load->fleet.count && count > 0; i += step, count--) {
        agent_lose(&load->fleet.agents[i], now_ns);
    }
}

static void on_storm(struct load *load, const char *argument, int64_t now_ns)
{
    struct fleet *fleet = &load->fleet;
    (void)argument;
    fleet->storm = (struct storm){.running = true, .began_ns = now_ns};
    for (uint32_t i = 0; i < fleet->count; i++) {
        agent_begin_storm(&fleet->agents[i], now_ns);
    }
}

static void on_drain(struct load *load, const char *argument, int64_t now_ns)
{
    (void)argument;
    (void)now_ns;
    load->draining = true;
}

static void on_phase(struct load *load, const char *argument, int64_t now_ns)
{
    (void)now_ns;
    figures_print(&load->fleet.figures, argument, stdout);
    figures_begin(&load->fleet.figures);
}

static void on_quit(struct load *load, const char *argument, int64_t now_ns)
{
    (void)argument;
    (void)now_ns;
    load->over = true;
}

static void obey(struct load *load, char *line)
{
    static const struct {
        const char *name;
        void (*run)(struct load *load, const char *argument, int64_t now_ns);
    } commands[] = {
        {"connect", on_connect}, {"rate", on_rate},   {"burst", on_burst},
        {"marks", on_marks},     {"drop", on_drop},   {"storm", on_storm},
        {"drain", on_drain},     {"phase", on_phase}, {"quit", on_quit},
    };
    char *argument = strchr(line, ' ');
    if (argument) {
        *argument++ = '\0';
    }
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(commands[i].name, line) == 0) {
            commands[i].run(load, argument ? argument : "", hf_clock_monotonic_ns());
            return;
        }
    }
    fprintf(stderr, "fleet_load: there is no command '%s'\n", line);
}

static void read_commands(struct load *load)
{
    ssize_t got =
        read(STDIN_FILENO, load->line + load->line_size, sizeof load->line - load->line_size);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (got <= 0) {
        load->over = true; /* whoever drives this has gone */
        return;
    }
    load->line_size += (size_t)got;
    for (char *end; (end = memchr(load->line, '\n', load->line_size));) {
        size_t used = (size_t)(end - load->line) + 1;
        *end = '\0';
        obey(load, load->line);
        load->line_size -= used;
        memmove(load->line, load->line + used, load->line_size);
    }
    load->over = load->over || load->line_size == sizeof load->line;
}

/* --- the run --- */

static int load_fleet(struct load *load, struct hf_error *error)
{
    struct fleet *fleet = &load->fleet;
    const struct options *options = &load->options;
    X509 *issuing = NULL;
    int rc = connection_tls_new(options->root, &fleet->target.tls, error);
    rc = rc == HF_OK ? content_new(&fleet->content, error) : rc;
    fleet->target.address = options->address;
    fleet->target.name = "localhost";
    fleet->count = options->agents;
    fleet->batch = options->batch;
    fleet->dial_max = options->dialling;
    fleet->reconnect_max_ms = options->reconnect_max_ms;
    fleet->agents = calloc(options->agents, sizeof *fleet->agents);
    fleet->retry_ns = calloc(options->agents, sizeof *fleet->retry_ns);
    fleet->batch_memory = calloc(AGENT_BATCH, sizeof *fleet->batch_memory);
    fleet->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (rc == HF_OK &&
        (!fleet->agents || !fleet->retry_ns || !fleet->batch_memory || fleet->epoll_fd < 0)) {
        hf_error_set(error, HF_ERR_NO_MEMORY, 0, "No memory for the fleet");
        rc = HF_ERR_NO_MEMORY;
    }
    for (uint32_t i = 0; rc == HF_OK && i < fleet->count; i++) {
        struct agent *agent = &fleet->agents[i];
        char path[4096];
        agent->fleet = fleet;
        agent->index = i;
        agent->connection.fd = -1;
        hf_random(agent->instance, sizeof agent->instance);
        enrol_path(options->directory, i, path, sizeof path);
        rc = identity_load(path, &agent->identity, issuing ? NULL : &issuing, error);
    }
    if (rc == HF_OK && SSL_CTX_add0_chain_cert(fleet->target.tls, issuing) != 1) {
        rc = hf_error_set(error, HF_ERR_CRYPTO, 0, "The issuing certificate can't be used");
    }
    return rc;
}

static void free_fleet(struct fleet *fleet)
{
    for (uint32_t i = 0; fleet->agents && i < fleet->count; i++) {
        agent_free(&fleet->agents[i]);
    }
    free(fleet->agents);
    free(fleet->retry_ns);
    free(fleet->batch_memory);
    hf_buf_free(&fleet->frame);
    content_free(fleet->content);
    SSL_CTX_free(fleet->target.tls);
    close(fleet->epoll_fd);
}

static int wait_ms(const struct load *load)
{
    return load->versions.per_second > 0 || load->connecting ? TICK_MS : 10;
}

static void serve(struct load *load)
{
    struct epoll_event events[EVENTS_MAX];
    while (!load->over) {
        int count = epoll_wait(load->fleet.epoll_fd, events, EVENTS_MAX, wait_ms(load));
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr) {
                agent_on_ready(events[i].data.ptr);
            } else {
                read_commands(load);
            }
        }
        do_what_is_due(load);
    }
}

/* What the collector should hold now: for the test that nothing is lost or doubled. */
static int write_sequences(const struct fleet *fleet, const char *path)
{
    FILE *file = fopen(path, "w");
    if (!file) {
        return -1;
    }
    for (uint32_t i = 0; i < fleet->count; i++) {
        fprintf(file, "load-%05u %llu %llu\n", i, (unsigned long long)fleet->agents[i].sent,
                (unsigned long long)fleet->agents[i].acked);
    }
    return fclose(file);
}

static int run(const struct options *options)
{
    struct load *load = calloc(1, sizeof *load);
    struct hf_error error = {0};
    if (!load) {
        return 1;
    }
    load->options = *options;
    if (load_fleet(load, &error) != HF_OK) {
        fprintf(stderr, "fleet_load: %s\n", error.message);
        free_fleet(&load->fleet);
        free(load);
        return 1;
    }
    struct epoll_event input = {.events = EPOLLIN, .data.ptr = NULL};
    fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
    epoll_ctl(load->fleet.epoll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &input);
    figures_begin(&load->fleet.figures);
    on_marks(load, "on", hf_clock_monotonic_ns());
    puts("{\"event\":\"ready\"}");
    fflush(stdout);
    serve(load);
    const struct faults *faults = &load->fleet.faults;
    printf("{\"event\":\"end\",\"lost\":%llu,\"unknown\":%llu,\"refused\":%llu,\"garbled\":%llu,"
           "\"in_flight\":%llu}\n",
           (unsigned long long)faults->lost, (unsigned long long)faults->unknown,
           (unsigned long long)faults->refused, (unsigned long long)faults->garbled,
           (unsigned long long)load->fleet.in_flight);
    bool good = faults->lost + faults->unknown + faults->refused + faults->garbled == 0;
    if (options->sequences && write_sequences(&load->fleet, options->sequences) != 0) {
        fprintf(stderr, "fleet_load: can't write %s\n", options->sequences);
        good = false;
    }
    free_fleet(&load->fleet);
    free(load);
    return good ? 0 : 1;
}

static int enrol(const struct options *options)
{
    struct hf_error error = {0};
    struct hf_buf token = {0};
    struct hf_join_token parsed;
    struct hf_buf secret = {0};
    int rc = hf_read_file(options->token_file, 4096, &token, &error);
    rc = rc == HF_OK ? hf_buf_terminate(&token) : rc;
    rc = rc == HF_OK ? join_token_parse((const char *)token.data, &parsed, &error) : rc;
    rc = rc == HF_OK ? hf_buf_append_format(&secret, "%s.", parsed.id) : rc;
    rc = rc == HF_OK ? hf_base64url_encode(&secret, parsed.secret, sizeof parsed.secret) : rc;
    rc = rc == HF_OK ? hf_buf_terminate(&secret) : rc;
    if (rc == HF_OK) {
        struct enrol_options how = {.address = options->address,
                                    .root_path = options->root,
                                    .server_name = "localhost",
                                    .token = (const char *)secret.data,
                                    .directory = options->directory,
                                    .hosts = options->agents,
                                    .threads = ENROL_THREADS};
        rc = enrol_all(&how, &error);
    }
    if (rc != HF_OK) {
        fprintf(stderr, "fleet_load: %s\n", error.message);
    }
    hf_buf_wipe_free(&token);
    hf_buf_wipe_free(&secret);
    return rc == HF_OK ? 0 : 1;
}

static bool read_address(const char *text, struct sockaddr_in *out)
{
    char host[256];
    uint16_t port = 0;
    *out = (struct sockaddr_in){.sin_family = AF_INET};
    if (join_address_split(text, host, &port, NULL) != HF_OK) {
        return false;
    }
    out->sin_port = htons(port);
    return inet_pton(AF_INET, host, &out->sin_addr) == 1;
}

static bool read_options(int argc, char **argv, struct options *out)
{
    static const struct option names[] = {{"address", required_argument, NULL, 'a'},
                                          {"root", required_argument, NULL, 'r'},
                                          {"token-file", required_argument, NULL, 't'},
                                          {"dir", required_argument, NULL, 'd'},
                                          {"agents", required_argument, NULL, 'n'},
                                          {"batch", required_argument, NULL, 'b'},
                                          {"mark-interval", required_argument, NULL, 'm'},
                                          {"dialling", required_argument, NULL, 'c'},
                                          {"reconnect-max", required_argument, NULL, 'x'},
                                          {"sequences", required_argument, NULL, 's'},
                                          {NULL, 0, NULL, 0}};
    *out = (struct options){
        .batch = 1, .mark_interval_ms = 15000, .dialling = 64, .reconnect_max_ms = 0};
    bool good = true;
    for (int letter; good && (letter = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        uint32_t number = optarg ? (uint32_t)strtoul(optarg, NULL, 10) : 0;
        switch (letter) {
        case 'a':
            good = read_address(optarg, &out->address);
            break;
        case 'r':
            out->root = optarg;
            break;
        case 't':
            out->token_file = optarg;
            break;
        case 'd':
            out->directory = optarg;
            break;
        case 'n':
            out->agents = number;
            break;
        case 'b':
            out->batch = number;
            break;
        case 'm':
            out->mark_interval_ms = number;
            break;
        case 'c':
            out->dialling = number;
            break;
        case 'x':
            out->reconnect_max_ms = number;
            break;
        case 's':
            out->sequences = optarg;
            break;
        default:
            good = false;
        }
    }
    return good && optind == argc && out->root && out->directory && out->address.sin_port != 0 &&
           out->agents >= 1 && out->agents <= AGENTS_MAX && out->batch >= 1 &&
           out->batch <= AGENT_BATCH;
}

/* A socket an agent. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(int argc, char **argv)
{
    struct options options;
    bool enrols = argc > 1 && strcmp(argv[1], "enrol") == 0;
    bool runs = argc > 1 && strcmp(argv[1], "run") == 0;
    if (!(enrols || runs) || !read_options(argc - 1, argv + 1, &options) ||
        (enrols && !options.token_file)) {
        fputs("usage: fleet_load enrol|run --address IP:PORT --root FILE --dir DIR --agents N ...\n"
              "(see the head of tests/fleet/load.c)\n",
              stderr);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    raise_descriptor_limit();
    return enrols ? enrol(&options) : run(&options);
}
