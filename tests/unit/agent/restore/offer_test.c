#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <string.h>

#include "agent/restore/offer.h"
#include "agent/restore/targets.h"

/* A host with two sources, of which the second takes files of two other hosts. */
static char *config_roots[] = {(char *)"/srv/config"};
static char *log_roots[] = {(char *)"/srv/logs", (char *)"/srv/spare"};
static char *log_from[] = {(char *)"h-1111111111111111", (char *)"h-2222222222222222"};
static struct hf_config_source sources[] = {
    {.name = (char *)"config", .restore_roots = config_roots, .restore_root_count = 1},
    {.name = (char *)"logs",
     .restore_roots = log_roots,
     .restore_root_count = 2,
     .restore_from = log_from,
     .restore_from_count = 2},
};
static const struct hf_config config = {.sources = sources, .source_count = 2};

static struct hf_bytes text(const char *string)
{
    return (struct hf_bytes){(const uint8_t *)string, strlen(string)};
}

static struct hf_restore_offer offer(const char *source, const char *origin,
                                     const char *destination)
{
    return (struct hf_restore_offer){.job = 1,
                                     .source = text(source),
                                     .origin_host = text(origin),
                                     .destination = text(destination),
                                     .conflict = HF_CONFLICT_REPLACE};
}

/* The check, and the sentence of a refusal. */
static int check(const char *source, const char *origin, const char *destination,
                 struct hf_offer_terms *terms, struct hf_error *error)
{
    struct hf_restore_offer offered = offer(source, origin, destination);
    *error = (struct hf_error){0};
    return offer_check(&config, &offered, terms, error);
}

static void a_host_takes_its_own_files_back_where_they_were(void **state)
{
    (void)state;
    struct hf_offer_terms terms;
    struct hf_error error;
    assert_int_equal(check("config", "", "", &terms, &error), 0);
    assert_ptr_equal(terms.source, &sources[0]);
    assert_int_equal(terms.root_count, 1); /* of this source alone */
    assert_string_equal(terms.roots[0], "/srv/config");
    offer_terms_free(&terms);
}

static void with_a_destination_every_root_of_the_host_counts(void **state)
{
    (void)state;
    struct hf_offer_terms terms;
    struct hf_error error;
    assert_int_equal(check("config", "", "/srv/spare/x", &terms, &error), 0);
    assert_int_equal(terms.root_count, 3);
    offer_terms_free(&terms);
    /* Of a source that is no longer configured, too. */
    assert_int_equal(check("removed", "", "/srv/spare/x", &terms, &error), 0);
    assert_null(terms.source);
    offer_terms_free(&terms);
}

static void an_unknown_source_is_not_restored_in_place(void **state)
{
    (void)state;
    struct hf_offer_terms terms;
    struct hf_error error;
    assert_int_equal(check("removed", "", "", &terms, &error), HF_ERR_DENIED);
    assert_non_null(strstr(error.message, "removed"));
    assert_non_null(strstr(error.message, "--to"));
}

static void another_hosts_files_need_permission(void **state)
{
    (void)state;
    struct hf_offer_terms terms;
    struct hf_error error;
    assert_int_equal(check("config", "h-1111111111111111", "", &terms, &error), HF_ERR_DENIED);
    assert_non_null(strstr(error.message, "restore_from"));
    assert_non_null(strstr(error.message, "h-1111111111111111"));
    assert_int_equal(check("logs", "h-3333333333333333", "", &terms, &error), HF_ERR_DENIED);
    /* A prefix of a permitted name is another name. */
    assert_int_equal(check("logs", "h-111111111111111", "", &terms, &error), HF_ERR_DENIED);
    assert_int_equal(check("logs", "h-2222222222222222", "", &terms, &error), 0);
    offer_terms_free(&terms);
    /* Elsewhere: only beneath the roots of sources that take from that host. */
    assert_int_equal(check("config", "h-1111111111111111", "/srv/spare", &terms, &error), 0);
    assert_int_equal(terms.root_count, 2);
    assert_string_equal(terms.roots[0], "/srv/logs");
    offer_terms_free(&terms);
}

static void a_star_permits_every_host(void **state)
{
    (void)state;
    char *any[] = {(char *)"*"};
    struct hf_config_source open = sources[0];
    open.restore_from = any;
    open.restore_from_count = 1;
    struct hf_config permissive = {.sources = &open, .source_count = 1};
    struct hf_restore_offer offered = offer("config", "h-3333333333333333", "");
    struct hf_offer_terms terms;
    assert_int_equal(offer_check(&permissive, &offered, &terms, NULL), 0);
    offer_terms_free(&terms);
}

static void a_hostile_destination_is_refused_with_the_reason(void **state)
{
    (void)state;
    static const char *const destinations[] = {"relative", "/srv/../etc", "/srv/config/..",
                                               "/",        "/srv//x",     "/./srv"};
    for (size_t i = 0; i < sizeof(destinations) / sizeof(destinations[0]); i++) {
        struct hf_offer_terms terms;
        struct hf_error error;
        assert_int_equal(check("config", "", destinations[i], &terms, &error), HF_ERR_DENIED);
        assert_non_null(strstr(error.message, destinations[i]));
    }
}

static void a_destination_beneath_no_root_is_refused_when_the_targets_are_made(void **state)
{
    (void)state;
    struct hf_offer_terms terms;
    struct hf_error error;
    struct hf_targets *targets;
    assert_int_equal(check("config", "", "/etc", &terms, &error), 0);
    assert_int_equal(targets_new(terms.roots, terms.root_count, "/etc", 1, &targets, &error),
                     HF_ERR_DENIED);
    offer_terms_free(&terms);
}

static void a_host_without_sources_takes_nothing(void **state)
{
    (void)state;
    struct hf_config empty = {0};
    struct hf_restore_offer offered = offer("config", "", "/srv/x");
    struct hf_offer_terms terms;
    struct hf_error error = {0};
    assert_int_equal(offer_check(&empty, &offered, &terms, &error), HF_ERR_DENIED);
    assert_non_null(strstr(error.message, "restore_root"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_host_takes_its_own_files_back_where_they_were),
        cmocka_unit_test(with_a_destination_every_root_of_the_host_counts),
        cmocka_unit_test(an_unknown_source_is_not_restored_in_place),
        cmocka_unit_test(another_hosts_files_need_permission),
        cmocka_unit_test(a_star_permits_every_host),
        cmocka_unit_test(a_hostile_destination_is_refused_with_the_reason),
        cmocka_unit_test(a_destination_beneath_no_root_is_refused_when_the_targets_are_made),
        cmocka_unit_test(a_host_without_sources_takes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
