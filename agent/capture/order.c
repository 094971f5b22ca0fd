/* Orders: what other threads ask of the capture thread, carried out in the order of their coming.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/capture/capture_private.h"
#include "common/clock.h"
#include "common/xattr.h"

#define ADOPTS_MAX 1024u /* restored files that wait to be recorded: a restore has any number */

enum order_kind { ORDER_FLUSH, ORDER_ADOPT, ORDER_HOLD, ORDER_RELEASE };

struct order {
    struct hf_queue_item link;
    enum order_kind kind;
    void (*done)(void *context);
    void *context;
    size_t source;       /* of all but ORDER_FLUSH */
    bool *needs;         /* of ORDER_FLUSH, one a source */
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
    return strncmp(path, root, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

static bool overlaps(const struct hf_config_source *source, const char *const *roots, size_t count)
{
    for (size_t i = 0; i < source->path_count; i++) {
        for (size_t j = 0; j < count; j++) {
            if (is_beneath(source->paths[i], roots[j]) || is_beneath(roots[j], source->paths[i])) {
                return true;
            }
        }
    }
    return false;
}

static void order_overlapping(struct hf_capture *capture, enum order_kind kind,
                              const char *const *roots, size_t count)
{
    for (size_t i = 0; i < capture->config->source_count; i++) {
        if (overlaps(&capture->config->sources[i], roots, count)) {
            give_order(capture, &(struct order){.kind = kind, .source = i});
        }
    }
}

void capture_flush(struct hf_capture *capture, const char *const *roots, size_t count,
                   void (*done)(void *context), void *context)
{
    bool *needs = calloc(capture->config->source_count + 1, sizeof *needs);
    if (!needs) {
        abort();
    }
    for (size_t i = 0; i < capture->config->source_count; i++) {
        needs[i] = overlaps(&capture->config->sources[i], roots, count);
    }
    give_order(capture, &(struct order){
                            .kind = ORDER_FLUSH, .done = done, .context = context, .needs = needs});
}

void capture_hold(struct hf_capture *capture, const char *const *roots, size_t count)
{
    order_overlapping(capture, ORDER_HOLD, roots, count);
}

void capture_release(struct hf_capture *capture, const char *const *roots, size_t count)
{
    order_overlapping(capture, ORDER_RELEASE, roots, count);
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

static void carry_out(struct hf_capture *capture, struct order *order)
{
    switch (order->kind) {
    case ORDER_FLUSH:
        flush_begin(capture, order->needs, order->done, order->context);
        order->needs = NULL;
        look_at_quiet_hours(capture);
        for (size_t i = 0; i < capture->config->source_count; i++) {
            if (!is_quiet(capture, i)) {
                scan_now(capture, i);
            }
        }
        break;
    case ORDER_ADOPT:
        adopt(capture, order);
        break;
    case ORDER_HOLD:
        capture->work[order->source].held++;
        break;
    case ORDER_RELEASE:
        capture->work[order->source].held--;
        scan_now(capture, order->source);
        break;
    }
    order_free(capture, order);
}

void read_orders(struct hf_capture *capture)
{
    struct hf_queue_item *item = hf_queue_pop_all(capture->orders, 0);
    while (item) {
        struct order *order = (struct order *)item;
        item = item->next;
        carry_out(capture, order);
    }
}
