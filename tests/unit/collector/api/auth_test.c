/* Who may ask for what: tokens, roles, patience. */
#include "tests/unit/collector/api/api_fixture.h"

static struct api_site site;

static int set_up(void **state)
{
    (void)state;
    site = api_site_new();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    api_site_free(&site);
    return 0;
}

/* A route's pattern with something in place of each '*'. */
static void fill_pattern(const char *pattern, char out[256])
{
    size_t used = 0;
    for (const char *p = pattern; *p; p++) {
        used += (size_t)snprintf(out + used, 256 - used, "%.*s", *p == '*' ? 7 : 1,
                                 *p == '*' ? "nothing" : p);
    }
}

static void every_route_is_open_to_its_role_and_closed_to_those_below(void **state)
{
    (void)state;
    for (const struct api_route *route = api_routes; route->method; route++) {
        char path[256];
        fill_pattern(route->pattern, path);
        for (int role = HF_ROLE_VIEWER; role <= HF_ROLE_ADMIN; role++) {
            struct reply reply = api_as(&site, (enum hf_role)role, route->method, path, NULL);
            bool refused = reply.status == 403 || reply.status == 401;
            if (refused != (role < (int)route->role)) {
                fail_msg("%s %s as %s: %d", route->method, path,
                         event_role_name((enum hf_role)role), reply.status);
            }
            reply_free(&reply);
        }
        struct reply reply =
            api_call_from(&site, "192.0.2.200", "", route->method, path, NULL, NULL);
        if (route->role != HF_ROLE_NONE) {
            assert_true(reply.status == 401 || reply.status == 429);
        } else {
            assert_int_equal(reply.status, 200);
        }
        reply_free(&reply);
    }
}

static void only_what_monitoring_asks_needs_no_token_and_only_gets_act_unaudited(void **state)
{
    (void)state;
    size_t open = 0;
    for (const struct api_route *route = api_routes; route->method; route++) {
        open += route->role == HF_ROLE_NONE;
        assert_int_equal(strcmp(route->method, "GET") == 0, route->audit == NULL);
        assert_true(route->role >= HF_ROLE_OPERATOR || route->audit == NULL);
    }
    assert_int_equal(open, 3);
}

static void what_is_no_valid_token_is_refused(void **state)
{
    (void)state;
    char expired[128];
    char short_lived[128];
    char changed[128];
    char texts[12][160];
    const char *good = site.bearer[HF_ROLE_ADMIN];
    int64_t end_ns = hf_clock_now_ns() + 3 * HF_NS_PER_SECOND;
    api_token(&site, HF_ROLE_ADMIN, "00000000000000ee", end_ns, expired);
    api_token(&site, HF_ROLE_ADMIN, "00000000000000ef", hf_clock_now_ns() + HOUR_NS, short_lived);
    snprintf(changed, sizeof changed, "%s", good);
    size_t last = strlen(changed) - 2;
    changed[last] = changed[last] == 'A' ? 'B' : 'A';
    struct test_token enrol_token = token_new(&site.deployment, 1, 0);
    size_t n = 0;
    snprintf(texts[n++], 160, "%s", "");
    snprintf(texts[n++], 160, "%s", good + strlen("Bearer "));
    snprintf(texts[n++], 160, "bearer %s", good + strlen("Bearer "));
    snprintf(texts[n++], 160, "Basic %s", good + strlen("Bearer "));
    snprintf(texts[n++], 160, "%s", changed);
    snprintf(texts[n++], 160, "%s", expired);
    snprintf(texts[n++], 160, "%sAAAA", good);
    snprintf(texts[n++], 160, "%.30s", good);
    snprintf(texts[n++], 160, "Bearer hfa.0000000000000003.");
    snprintf(texts[n++], 160, "Bearer hfa..%s", strrchr(good, '.') + 1);
    snprintf(texts[n++], 160, "Bearer hfa.0000000000000009.%s", strrchr(good, '.') + 1);
    snprintf(texts[n++], 160, "Bearer hfa.%s", enrol_token.text);
    while (hf_clock_now_ns() <= end_ns) {
        usleep(10000);
    }
    for (size_t i = 0; i < n; i++) {
        char peer[32];
        snprintf(peer, sizeof peer, "198.51.100.%zu", i);
        struct reply reply = api_call_from(&site, peer, texts[i], "GET", "/v1/status", NULL, NULL);
        if (reply.status != 401) {
            fail_msg("'%s' was answered with %d", texts[i], reply.status);
        }
        assert_says(reply_error(&reply), "missing, unknown, expired or revoked");
        reply_free(&reply);
    }
    struct reply reply =
        api_call_from(&site, "198.51.100.250", short_lived, "GET", "/v1/status", NULL, NULL);
    assert_int_equal(reply.status, 200);
    reply_free(&reply);
}

static void a_revoked_token_is_useless_at_once(void **state)
{
    (void)state;
    char bearer[128];
    api_token(&site, HF_ROLE_VIEWER, "00000000000000bb", 0, bearer);
    struct reply reply = api_call_from(&site, "::1", bearer, "GET", "/v1/hosts", NULL, NULL);
    assert_int_equal(reply.status, 200);
    reply_free(&reply);
    reply = api_as(&site, HF_ROLE_ADMIN, "POST", "/v1/tokens/00000000000000bb/revoke", NULL);
    assert_int_equal(reply.status, 200);
    reply_free(&reply);
    reply = api_call_from(&site, "::1", bearer, "GET", "/v1/hosts", NULL, NULL);
    assert_int_equal(reply.status, 401);
    reply_free(&reply);
}

static void an_address_that_guesses_waits_and_others_do_not(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++) {
        struct reply reply =
            api_call_from(&site, "203.0.113.9", "Bearer x", "GET", "/v1/status", NULL, NULL);
        assert_int_equal(reply.status, 401);
        reply_free(&reply);
    }
    /* Even a good token: else a guess would be told from the others by its answer. */
    struct reply reply = api_call_from(&site, "203.0.113.9", site.bearer[HF_ROLE_ADMIN], "GET",
                                       "/v1/status", NULL, NULL);
    assert_int_equal(reply.status, 429);
    assert_true(reply.retry_after_s > 0);
    reply_free(&reply);
    reply = api_call_from(&site, "203.0.113.10", site.bearer[HF_ROLE_VIEWER], "GET", "/v1/status",
                          NULL, NULL);
    assert_int_equal(reply.status, 200);
    reply_free(&reply);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_route_is_open_to_its_role_and_closed_to_those_below),
        cmocka_unit_test(only_what_monitoring_asks_needs_no_token_and_only_gets_act_unaudited),
        cmocka_unit_test(what_is_no_valid_token_is_refused),
        cmocka_unit_test(a_revoked_token_is_useless_at_once),
        cmocka_unit_test(an_address_that_guesses_waits_and_others_do_not),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
