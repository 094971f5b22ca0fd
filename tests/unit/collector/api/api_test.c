/* Routing and what is wrong with a question. */
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

#define LIST "/v1/hosts/robot-01/sources/config/list"

static void a_question_that_is_wrong_is_refused_with_its_reason(void **state)
{
    (void)state;
    static const struct {
        const char *method, *path, *query[3], *body;
        int status;
        const char *says;
    } rows[] = {
        {"GET", "/", {NULL}, NULL, 404, "nothing at /"},
        {"GET", "/v1/hosts/", {NULL}, NULL, 404, "nothing at"},
        {"GET", "/v1/hosts/robot-01/sources//list", {NULL}, NULL, 404, "nothing at"},
        {"DELETE", "/v1/hosts/robot-01", {NULL}, NULL, 405, "DELETE"},
        {"PUT", "/v1/tokens", {NULL}, "{}", 405, "PUT"},
        {"GET", "/v1/hosts/robot-99", {NULL}, NULL, 404, "no host 'robot-99'"},
        {"GET", "/v1/hosts/robot-01/sources/none/list", {NULL}, NULL, 404, "no source 'none'"},
        {"GET", LIST, {"limit=-1"}, NULL, 400, "not a number"},
        {"GET", LIST, {"limit=1e3"}, NULL, 400, "not a number"},
        {"GET", LIST, {"at=whenever"}, NULL, 400, "at: "},
        {"GET", LIST, {"path=a/../b"}, NULL, 400, ""},
        {"GET", LIST, {"path=a//b"}, NULL, 400, ""},
        {"GET", LIST, {"path_hex=6"}, NULL, 400, "hexadecimal"},
        {"GET", LIST, {"path_hex=zz"}, NULL, 400, "hexadecimal"},
        {"GET", LIST, {"path_hex=6100"}, NULL, 400, "zero byte"},
        {"GET", LIST, {"path_hex=2e2e"}, NULL, 400, ""},
        {"GET", LIST, {"after=xyz"}, NULL, 400, "after"},
        {"GET", "/v1/audit", {"after=x"}, NULL, 400, "not a number"},
        {"GET", "/v1/hosts/robot-01/sources/config/diff", {NULL}, NULL, 400, "'from'"},
        {"GET", "/v1/jobs/x", {NULL}, NULL, 400, "not a number"},
        {"GET", "/v1/jobs/77", {NULL}, NULL, 404, "no job 77"},
        {"GET", "/v1/jobs/1/results", {"status=odd"}, NULL, 400, "no status"},
        {"POST", "/v1/snapshots", {NULL}, "[]", 400, "not a JSON object"},
        {"POST", "/v1/snapshots", {NULL}, "{\"host\":", 400, "not a JSON object"},
        {"POST", "/v1/snapshots", {NULL}, "{\"a\":1,\"a\":2}", 400, "not a JSON object"},
        {"POST", "/v1/snapshots", {NULL}, "{\"host\":7}", 400, "'host' has to be text"},
        {"POST", "/v1/snapshots", {NULL}, "{}", 400, "needs host, source and name"},
        {"POST",
         "/v1/snapshots",
         {NULL},
         "{\"host\":\"robot-01\",\"source\":\"config\",\"name\":\"n\",\"at\":\"2999-01-01\"}",
         400,
         ""},
        {"POST", "/v1/snapshots/9/hold", {NULL}, "{}", 404, ""},
        {"POST", "/v1/tokens", {NULL}, "{}", 400, "'kind'"},
        {"POST", "/v1/tokens", {NULL}, "{\"kind\":\"api\",\"role\":\"king\"}", 400, "'role'"},
        {"POST", "/v1/tokens", {NULL}, "{\"kind\":\"enrol\",\"uses\":0}", 400, "'uses'"},
        {"POST", "/v1/tokens", {NULL}, "{\"kind\":\"enrol\",\"ttl_s\":1e9}", 400, "'ttl_s'"},
        {"POST", "/v1/tokens", {NULL}, "{\"kind\":\"enrol\",\"ttl_s\":0}", 400, "'ttl_s'"},
        {"POST",
         "/v1/tokens",
         {NULL},
         "{\"kind\":\"api\",\"role\":\"viewer\",\"ttl_s\":0}",
         400,
         "'ttl_s'"},
        {"POST", "/v1/tokens", {NULL}, "{\"kind\":\"enrol\",\"labels\":{\"a\":1}}", 400, "Labels"},
        {"POST", "/v1/tokens/77/revoke", {NULL}, "{}", 404, ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct reply reply =
            api_call_from(&site, "192.0.2.1", site.bearer[HF_ROLE_ADMIN], rows[i].method,
                          rows[i].path, rows[i].query, rows[i].body);
        if (reply.status != rows[i].status || !strstr(reply_error(&reply), rows[i].says)) {
            fail_msg("%s %s %s %s: %d %s", rows[i].method, rows[i].path,
                     rows[i].query[0] ? rows[i].query[0] : "", rows[i].body ? rows[i].body : "",
                     reply.status, reply_error(&reply));
        }
        reply_free(&reply);
    }
}

static size_t audit_entries(const char *action, const char *outcome)
{
    struct reply reply = api_as(&site, HF_ROLE_VIEWER, "GET", "/v1/audit", NULL);
    const json_t *entries = json_object_get(reply.json, "entries");
    size_t count = 0;
    for (size_t i = 0; i < json_array_size(entries); i++) {
        const json_t *entry = json_array_get(entries, i);
        count += strcmp(json_string_value(json_object_get(entry, "action")), action) == 0 &&
                 strcmp(json_string_value(json_object_get(entry, "outcome")), outcome) == 0;
    }
    reply_free(&reply);
    return count;
}

static void what_was_done_and_what_was_refused_are_both_in_the_audit_log(void **state)
{
    (void)state;
    static const char body[] = "{\"set\":{\"site\":\"rome\"}}";
    size_t done = audit_entries("host.label", "ok");
    size_t refused = audit_entries("host.label", "refused");
    struct reply reply = api_as(&site, HF_ROLE_VIEWER, "POST", "/v1/hosts/robot-01/labels", body);
    assert_int_equal(reply.status, 403);
    reply_free(&reply);
    assert_int_equal(audit_entries("host.label", "ok"), done);
    assert_int_equal(audit_entries("host.label", "refused"), refused + 1);
    reply = api_as(&site, HF_ROLE_VIEWER, "GET", "/v1/audit", NULL);
    const json_t *last = json_array_get(json_object_get(reply.json, "entries"), 0);
    const char *detail = json_string_value(json_object_get(last, "detail"));
    assert_says(detail, "operator"); /* the sentence that the caller was told, not its JSON */
    assert_null(strchr(detail, '{'));
    reply_free(&reply);
    reply = api_as(&site, HF_ROLE_OPERATOR, "POST", "/v1/hosts/robot-01/labels", body);
    assert_int_equal(reply.status, 200);
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(reply.json, "labels"), "site")), "rome");
    reply_free(&reply);
    assert_int_equal(audit_entries("host.label", "ok"), done + 1);
}

static void who_is_refused_all_the_time_does_not_fill_the_audit_log(void **state)
{
    (void)state;
    static const char path[] = "/v1/hosts/robot-01/labels";
    size_t before = audit_entries("host.label", "refused");
    for (int i = 0; i < 60; i++) { /* ten times 401, then 429 */
        struct reply reply =
            api_call_from(&site, "192.0.2.77", "Bearer x", "POST", path, NULL, "{}");
        assert_int_equal(reply.status, i < 10 ? 401 : 429);
        reply_free(&reply);
    }
    size_t unknown = audit_entries("host.label", "refused");
    assert_true(unknown > before && unknown <= before + 10);
    for (int i = 0; i < 60; i++) {
        struct reply reply = api_as(&site, HF_ROLE_VIEWER, "POST", path, "{}");
        assert_int_equal(reply.status, 403);
        reply_free(&reply);
    }
    size_t known = audit_entries("host.label", "refused");
    assert_true(known > unknown && known <= unknown + 40);
}

static void a_token_is_told_once_and_never_again(void **state)
{
    (void)state;
    struct reply made = api_as(&site, HF_ROLE_ADMIN, "POST", "/v1/tokens",
                               "{\"kind\":\"api\",\"role\":\"viewer\",\"name\":\"new\"}");
    assert_int_equal(made.status, 201);
    char bearer[256];
    snprintf(bearer, sizeof bearer, "Bearer %s", reply_text(&made, "token"));
    struct reply reply = api_call_from(&site, "192.0.2.2", bearer, "GET", "/v1/hosts", NULL, NULL);
    assert_int_equal(reply.status, 200);
    reply_free(&reply);
    reply = api_as(&site, HF_ROLE_ADMIN, "GET", "/v1/tokens", NULL);
    assert_int_equal(hf_buf_terminate(&reply.body), HF_OK);
    assert_says(as_text(&reply.body), reply_text(&made, "id"));
    assert_null(strstr(as_text(&reply.body), strrchr(bearer, '.') + 1));
    reply_free(&reply);
    reply_free(&made);
}

static void a_snapshot_names_its_host_by_id_and_by_name(void **state)
{
    (void)state;
    struct reply reply =
        api_as(&site, HF_ROLE_OPERATOR, "POST", "/v1/snapshots",
               "{\"host\":\"robot-01\",\"source\":\"config\",\"name\":\"n\",\"hold\":true}");
    assert_int_equal(reply.status, 201);
    assert_string_equal(reply_text(&reply, "host"), site.host_id);
    assert_string_equal(reply_text(&reply, "host_name"), "robot-01");
    assert_true(json_is_true(json_object_get(reply.json, "held")));
    reply_free(&reply);
}

static void head_is_answered_as_get(void **state)
{
    (void)state;
    struct reply reply = api_as(&site, HF_ROLE_VIEWER, "HEAD", "/v1/hosts", NULL);
    assert_int_equal(reply.status, 200);
    reply_free(&reply);
}

static void bytes_that_are_no_utf8_become_marks_and_keep_their_hex(void **state)
{
    (void)state;
    static const uint8_t bytes[] = {'a', 0xff, 0xc3, 0xbc, 0xe2, 0x82};
    json_t *object = json_object();
    json_set_path(object, (struct hf_bytes){bytes, sizeof bytes});
    assert_string_equal(json_string_value(json_object_get(object, "path")),
                        "a\xef\xbf\xbd\xc3\xbc\xef\xbf\xbd\xef\xbf\xbd");
    assert_string_equal(json_string_value(json_object_get(object, "path_hex")), "61ffc3bce282");
    json_set_path(object, (struct hf_bytes){bytes, 1});
    assert_string_equal(json_string_value(json_object_get(object, "path")), "a");
    json_decref(object);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_question_that_is_wrong_is_refused_with_its_reason),
        cmocka_unit_test(what_was_done_and_what_was_refused_are_both_in_the_audit_log),
        cmocka_unit_test(who_is_refused_all_the_time_does_not_fill_the_audit_log),
        cmocka_unit_test(a_token_is_told_once_and_never_again),
        cmocka_unit_test(a_snapshot_names_its_host_by_id_and_by_name),
        cmocka_unit_test(head_is_answered_as_get),
        cmocka_unit_test(bytes_that_are_no_utf8_become_marks_and_keep_their_hex),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
