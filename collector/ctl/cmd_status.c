#include "collector/ctl/ctl.h"
#include "common/clock.h"

static void print_size_line(const char *label, const json_t *object, const char *key)
{
    char text[HF_TIME_TEXT_BYTES];
    hf_size_text((uint64_t)show_integer(object, key), text);
    printf("%-14s %s", label, text);
}

static void print_repository(const json_t *repository)
{
    int64_t stored = show_integer(repository, "stored_bytes");
    int64_t unique = show_integer(repository, "unique_bytes");
    print_size_line("Protected", repository, "logical_bytes");
    printf(" live, %lld versions\n", (long long)show_integer(repository, "versions"));
    print_size_line("Content", repository, "unique_bytes");
    printf(" of all versions, each of %lld chunks once\n",
           (long long)show_integer(repository, "chunks"));
    print_size_line("Stored", repository, "stored_bytes");
    printf(" in %lld packs", (long long)show_integer(repository, "packs"));
    if (stored > 0 && unique > 0) {
        printf(", %.2f to 1 by compression", (double)unique / (double)stored);
    }
    putchar('\n');
    if (json_is_false(json_object_get(repository, "storage_ok"))) {
        show_line(stdout, "Repository     can't take data: %s", show_string(repository, "message"));
    }
}

int command_status(struct ctl *ctl, const struct ctl_args *args)
{
    (void)args;
    struct ctl_url url;
    json_t *status = NULL;
    url_start(&url, "/v1/status");
    int rc = client_get(ctl->client, &url, &status);
    url_free(&url);
    if (rc != CTL_OK) {
        return rc;
    }
    if (ctl->json) {
        show_json(status);
    } else {
        const json_t *hosts = json_object_get(status, "hosts");
        const json_t *sources = json_object_get(status, "sources");
        char uptime[HF_TIME_TEXT_BYTES];
        hf_duration_text(show_integer(status, "uptime_s") * HF_NS_PER_SECOND, uptime);
        printf("%-14s %s, up %s\n", "Collector", show_string(status, "version"), uptime);
        printf("%-14s %lld online of %lld", "Hosts", (long long)show_integer(hosts, "online"),
               (long long)show_integer(hosts, "total"));
        int64_t revoked = show_integer(hosts, "revoked");
        if (revoked > 0) {
            printf(", %lld revoked", (long long)revoked);
        }
        printf("\n%-14s %lld, %lld late", "Sources", (long long)show_integer(sources, "total"),
               (long long)show_integer(sources, "late"));
        int64_t retired = show_integer(sources, "retired");
        if (retired > 0) {
            printf(", %lld retired", (long long)retired);
        }
        putchar('\n');
        print_repository(json_object_get(status, "repository"));
        printf("%-14s %lld active\n", "Jobs",
               (long long)show_integer(json_object_get(status, "jobs"), "active"));
    }
    json_decref(status);
    return CTL_OK;
}
