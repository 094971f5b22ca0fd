/* Orders: what other threads ask of the capture thread, carried out in the order of their coming.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/capture/capture_private.h"
#include "common/clock.h"
#include "common/device.h"
#include "common/xattr.h"

#define ADOPTS_MAX 1024u /* restored files that wait to be recorded: a restore has any number */

enum order_kind { ORDER_FLUSH, ORDER_ADOPT, ORDER_HOLD, ORDER_RELEASE };

struct order {
    struct hf_queue_item link;
    enum order_kind kind;
    void (*done)(void *context);
    void *context;
    size_t source;       /* of ORDER_ADOPT */
    bool *needs;         /* of the others, one a source: whether it has a part; NULL: everything */
    char **paths;        /* of the area, NULL at their end; NULL: all of it */
    struct hf_unit *row; /* one version */
};

int orders_init(struct hf_capture *capture)
{
    sem_init(&capture->adopt_room, 0, ADOPTS_MAX);
    capture->orders = hf_queue_new();
    return capture->orders ? HF_OK : HF_ERR_NO_MEMORY;
}

static void order_free(struct hf_capture *capture, struct order *order)
{
    if (order->kind == ORDER_ADOPT) {
        sem_post(&capture->adopt_room);
    }
    for (size_t i = 0; order->paths && order->paths[i]; i++) {
        free(order->paths[i]);
    }
    free(order->paths);
    unit_free(order->row);
    free(order->needs);
    free(order);
}

void orders_close(struct hf_capture *capture)
{
    hf_queue_close(capture->orders);
    for (struct hf_queue_item *item; (item = hf_queue_pop(capture->orders, 0));) {
        struct order *order = (struct order *)item;
        if (order->done) {
            order->done(order->context);
        }
        order_free(capture, order);
    }
}

void orders_free(struct hf_capture *capture)
{
    hf_queue_free(capture->orders, NULL);
    sem_destroy(&capture->adopt_room);
}

/* --- given, from any thread --- */

static void give_order(struct hf_capture *capture, const struct order *from)
{
    struct order *order = malloc(sizeof *order);
    if (!order) {
        abort();
    }
    *order = *from;
    if (hf_queue_push(capture->orders, &order->link)) {
        capture_wake(capture);
        return;
    }
    if (order->done) {
        order->done(order->context); /* capture has stopped: nothing will be found any more */
    }
    order_free(capture, order);
}

void capture_adopt(struct hf_capture *capture, size_t source, const char *path,
                   const struct hf_version *version, uint64_t job)
{
    struct order order = {.kind = ORDER_ADOPT, .source = source, .row = unit_new(source)};
    struct hf_version copy = *version;
    copy.path = (struct hf_bytes){(const uint8_t *)path, strlen(path)};
    copy.flags = (version->flags & ~(uint32_t)HF_VERSION_UNPARSABLE) | HF_VERSION_RESTORED;
    copy.job = job;
    if (!order.row || unit_add_version(order.row, &copy) != HF_OK) {
        unit_free(order.row); /* the scan after the restore records it, as a change like any */
        return;
    }
    while (sem_wait(&capture->adopt_room) != 0 && errno == EINTR) {
    }
    give_order(capture, &order);
}

static bool is_beneath(const char *path, const char *root)
{
    size_t length = strlen(root);
    while (length > 0 && root[length - 1] == '/') {
        length--;
    }
    return length == 0 ||
           (strncmp(path, root, length) == 0 && (path[length] == '/' || path[length] == '\0'));
}

static bool overlap(const char *a, const char *b)
{
    return is_beneath(a, b) || is_beneath(b, a);
}

/* Two roots, also by where links above them lead. */
static bool lead_together(const char *a, const char *b)
{
    char *real_a = realpath(a, NULL), *real_b = realpath(b, NULL);
    bool together = overlap(real_a ? real_a : a, real_b ? real_b : b);
    free(real_a);
    free(real_b);
    return together || overlap(a, b);
}

static bool has_part(const struct hf_config_source *source, const struct hf_capture_area *area)
{
    bool of_roots = false, of_paths = area->path_count == 0;
    for (size_t i = 0; i < source->path_count; i++) {
        for (size_t j = 0; j < area->root_count && !of_roots; j++) {
            of_roots = lead_together(source->paths[i], area->roots[j]);
        }
        for (size_t j = 0; j < area->path_count && !of_paths; j++) {
            of_paths = overlap(source->paths[i] + 1, area->paths[j]);
        }
    }
    return of_roots && of_paths;
}

static void *must(void *memory)
{
    if (!memory) {
        abort();
    }
    return memory;
}

static void order_area(struct hf_capture *capture, struct order order,
                       const struct hf_capture_area *area)
{
    size_t count = capture->config->source_count;
    order.needs = must(calloc(count + 1, sizeof *order.needs));
    for (size_t i = 0; i < count; i++) {
        order.needs[i] = has_part(&capture->config->sources[i], area);
    }
    if (area->path_count > 0) {
        order.paths = must(calloc(area->path_count + 1, sizeof *order.paths));
    }
    for (size_t i = 0; i < area->path_count; i++) {
        order.paths[i] = must(strdup(area->paths[i]));
    }
    give_order(capture, &order);
}

void capture_flush(struct hf_capture *capture, const struct hf_capture_area *area,
                   void (*done)(void *context), void *context)
{
    struct order order = {.kind = ORDER_FLUSH, .done = done, .context = context};
    if (area) {
        order_area(capture, order, area);
    } else {
        give_order(capture, &order);
    }
}

void capture_hold(struct hf_capture *capture, const struct hf_capture_area *area)
{
    order_area(capture, (struct order){.kind = ORDER_HOLD}, area);
}

void capture_release(struct hf_capture *capture, const struct hf_capture_area *area)
{
    order_area(capture, (struct order){.kind = ORDER_RELEASE}, area);
}

/* --- carried out, on the capture thread --- */

/* Whether what is there is what the restore put there. Who has written to it since, however soon,
 * has changed its times, or what a database has beside it: the scan after the restore captures
 * that. */
static bool is_as_placed(const struct stat *status, const struct hf_version *version)
{
    struct state_print print = state_print_of(status);
    switch (version->type) {
    case HF_FILE_REGULAR:
        return S_ISREG(status->st_mode) && print.size == version->size &&
               print.mtime_ns == version->mtime_ns;
    case HF_FILE_DIRECTORY:
        return S_ISDIR(status->st_mode);
    case HF_FILE_SYMLINK:
        return S_ISLNK(status->st_mode) && print.mtime_ns == version->mtime_ns;
    case HF_FILE_CHAR_DEVICE:
    case HF_FILE_BLOCK_DEVICE:
        return hf_device_is(status, hf_file_kind(version->type), version->target) &&
               print.mtime_ns == version->mtime_ns;
    default:
        return false;
    }
}

static void adopt(struct hf_capture *capture, const struct order *order)
{
    struct hf_version version = order->row->versions[0];
    char path[HF_PATH_MAX_BYTES + 1];
    struct hf_buf xattrs = {0};
    struct stat status;
    if (version.path.size >= sizeof path) {
        return;
    }
    memcpy(path, version.path.data, version.path.size);
    path[version.path.size] = '\0';
    char *start = path + strspn(path, "/");
    char *slash = strrchr(start, '/');
    char *name = slash ? slash + 1 : start;
    char *parent = slash ? strndup(start, (size_t)(slash - start)) : strdup("");
    int fd = parent ? open_parent(&capture->config->sources[order->source], start, parent) : -1;
    bool database = version.type == HF_FILE_REGULAR &&
                    config_is_sqlite(&capture->config->sources[order->source]);
    if (fd >= 0 && fstatat(fd, name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
        is_as_placed(&status, &version) && !(database && database_has_log(fd, name))) {
        struct state_print print = state_print_of(&status);
        if (database) {
            struct database_look look = database_look(fd, name, &status);
            print = database_print(&look, &status, NULL);
        }
        version.mode = print.mode;
        version.uid = print.uid;
        version.gid = print.gid;
        version.mtime_ns = print.mtime_ns;
        version.link = version.type == HF_FILE_DIRECTORY ? 0 : link_of(&status);
        version.xattrs = hf_xattrs_read_at(fd, name, &xattrs, NULL) == HF_OK
                             ? (struct hf_bytes){xattrs.data, xattrs.size}
                             : (struct hf_bytes){0};
        record_version(capture, order->source, parent, name, &print, &version);
    }
    if (fd >= 0) {
        close(fd);
    }
    hf_buf_free(&xattrs);
    free(parent);
}

/* What SQLite keeps beside a database goes away with it when that is restored, also where a source
 * takes it for files like any. False: it takes a scan. */
static bool look_at(struct hf_capture *capture, size_t source, const char *path)
{
    static const char *const beside[] = {"", "-wal", "-shm", "-journal"};
    char name[HF_PATH_MAX_BYTES + 16];
    bool looked = true;
    for (size_t i = 0; i < sizeof beside / sizeof *beside && looked; i++) {
        int length = snprintf(name, sizeof name, "%s%s", path, beside[i]);
        looked = length > 0 && length <= (int)HF_PATH_MAX_BYTES
                     ? examine_beneath(capture, source, name)
                     : i > 0;
    }
    return looked;
}

/* A source that nothing is known to have escaped since its last scan needs no other for a few
 * paths.
 */
static void look_now(struct hf_capture *capture, size_t source, char *const *paths)
{
    const struct source_work *work = &capture->work[source];
    bool whole =
        !paths || !work->scanned || work->scan_wanted || work->lost || is_quiet(capture, source);
    for (size_t i = 0; !whole && paths[i]; i++) {
        whole = !look_at(capture, source, paths[i]);
    }
    if (whole) {
        scan_now(capture, source);
    }
}

static void carry_out_for(struct hf_capture *capture, const struct order *order, size_t source)
{
    switch (order->kind) {
    case ORDER_HOLD:
        capture->work[source].held++;
        break;
    case ORDER_RELEASE:
        capture->work[source].held--;
        look_now(capture, source, order->paths);
        break;
    default:
        look_now(capture, source, order->paths);
        break;
    }
}

static void carry_out(struct hf_capture *capture, struct order *order)
{
    if (order->kind == ORDER_ADOPT) {
        adopt(capture, order);
        return;
    }
    if (order->kind == ORDER_FLUSH) {
        flush_begin(capture, order->needs, order->done, order->context);
        look_at_quiet_hours(capture);
        hurry_if_pressed(capture);
    }
    for (size_t i = 0; i < capture->config->source_count; i++) {
        if (order->needs ? order->needs[i] : !is_quiet(capture, i)) {
            carry_out_for(capture, order, i);
        }
    }
}

void read_orders(struct hf_capture *capture)
{
    struct hf_queue_item *item = hf_queue_pop_all(capture->orders, 0);
    while (item) {
        struct order *order = (struct order *)item;
        item = item->next;
        carry_out(capture, order);
        order_free(capture, order);
    }
}
