#include "identity_fixture.h"

#include "collector/config.h"
#include "common/ini.h"

static struct hf_error error;

struct place {
    char directory[64], data[96];
};

static struct place place_new(void)
{
    struct place place = {"/tmp/hf-init-XXXXXX", ""};
    assert_non_null(mkdtemp(place.directory));
    snprintf(place.data, sizeof place.data, "%s/data", place.directory);
    return place;
}

static struct said init_at(const struct place *place)
{
    return run_init((const char *[]){"--data", place->data, "--name",
                                     "backup.example,127.0.0.1,2001:db8::7", "--api", "[::1]:9445",
                                     "--agents", "127.0.0.1:0", NULL});
}

static const char *in(const struct place *place, const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", place->data, name);
    return path;
}

static void everything_a_collector_needs_is_made_and_secrets_are_closed(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        mode_t mode;
    } files[] = {{"", 0700},
                 {"collector.conf", 0600},
                 {"cli.conf", 0600},
                 {"admin.token", 0600},
                 {"repository.key", 0600},
                 {"catalog.db", 0600},
                 {"repository", 0700},
                 {"repository/packs", 0700},
                 {"ca", 0700},
                 {"ca/root.key", 0600},
                 {"ca/root.pem", 0},
                 {"ca/issuing.key", 0600},
                 {"ca/issuing.pem", 0},
                 {"tls", 0700},
                 {"tls/collector.key", 0600},
                 {"tls/collector.pem", 0},
                 {"tls/clients-ca.pem", 0}};
    struct place place = place_new();
    struct said said = init_at(&place);
    if (said.status != 0) {
        fail_msg("%s", said.text);
    }
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        struct stat status;
        if (stat(in(&place, files[i].name), &status) != 0) {
            fail_msg("%s was not made", files[i].name);
        }
        if (files[i].mode && (status.st_mode & 0777) != files[i].mode) {
            fail_msg("%s has mode %o, not %o", files[i].name, status.st_mode & 0777, files[i].mode);
        }
    }
    remove_tree(place.directory);
}

static void it_says_what_to_move_what_to_copy_and_what_to_do_next(void **state)
{
    (void)state;
    struct place place = place_new();
    struct said said = init_at(&place);
    assert_int_equal(said.status, 0);
    assert_says(said.text, "root.key");
    assert_says(said.text, "MOVE IT OFFLINE");
    assert_says(said.text, "repository.key");
    assert_says(said.text, "KEEP A COPY OUTSIDE THIS MACHINE");
    assert_says(said.text, "holdfast-collector run --config");
    assert_says(said.text, "holdfast-agent enroll --token-file");
    /* No secret on the terminal. */
    struct hf_buf token = {0};
    assert_ok(hf_read_file(in(&place, "admin.token"), 1024, &token, &error));
    assert_ok(hf_buf_terminate(&token));
    token.data[strcspn(as_text(&token), "\n")] = '\0';
    assert_int_equal(strncmp(as_text(&token), "hfa.", 4), 0);
    assert_null(strstr(said.text, as_text(&token)));
    hf_buf_wipe_free(&token);
    remove_tree(place.directory);
}

static void what_it_writes_the_collector_can_load(void **state)
{
    (void)state;
    struct place place = place_new();
    struct hf_collector_config config;
    struct hf_authority *authority = NULL;
    assert_int_equal(init_at(&place).status, 0);
    assert_ok(collector_config_load(in(&place, "collector.conf"), &config, &error));
    assert_string_equal(config.advertise, "backup.example");
    assert_string_equal(config.agents.host, "127.0.0.1");
    assert_int_equal(config.agents.port, 0);
    assert_string_equal(config.api.host, "::1");
    assert_int_equal(config.api.port, 9445);
    assert_int_equal(config.validity_ns, 7 * DAY_NS);
    assert_ok(authority_load(place.data, config.validity_ns, &authority, &error));
    authority_free(authority);
    remove_tree(place.directory);
}

/* Uncommenting any line gives what is the default anyway: the comments are true. */
static void every_commented_setting_is_one_that_exists(void **state)
{
    (void)state;
    struct place place = place_new();
    struct hf_collector_config before;
    struct hf_collector_config after;
    struct hf_buf text = {0};
    assert_int_equal(init_at(&place).status, 0);
    assert_ok(collector_config_load(in(&place, "collector.conf"), &before, &error));
    assert_ok(hf_read_file(in(&place, "collector.conf"), 65536, &text, &error));
    unsigned settings = 0;
    size_t kept = 0;
    for (size_t i = 0; i < text.size; i++) {
        bool hidden = text.data[i] == '#' && (i == 0 || text.data[i - 1] == '\n') &&
                      i + 1 < text.size && text.data[i + 1] != ' ';
        settings += hidden;
        if (!hidden) {
            text.data[kept++] = text.data[i];
        }
    }
    text.size = kept;
    assert_true(settings >= 6);
    assert_ok(
        hf_write_file_atomic(in(&place, "collector.conf"), text.data, text.size, 0600, &error));
    assert_ok(collector_config_load(in(&place, "collector.conf"), &after, &error));
    assert_memory_equal(&before, &after, sizeof before);
    hf_buf_free(&text);
    remove_tree(place.directory);
}

static void the_commands_configuration_names_the_api_the_root_and_the_token(void **state)
{
    (void)state;
    struct place place = place_new();
    struct hf_ini *ini = NULL;
    const char *value = NULL;
    char resolved[4096];
    char expected[4200];
    assert_int_equal(init_at(&place).status, 0);
    assert_non_null(realpath(place.data, resolved));
    assert_ok(hf_ini_load(in(&place, "cli.conf"), &ini, &error));
    assert_ok(hf_ini_get_string(ini, "collector", "url", "", &value, &error));
    assert_string_equal(value, "https://backup.example:9445");
    assert_ok(hf_ini_get_string(ini, "collector", "ca_file", "", &value, &error));
    snprintf(expected, sizeof expected, "%s/ca/root.pem", resolved);
    assert_string_equal(value, expected);
    assert_ok(hf_ini_get_string(ini, "collector", "token_file", "", &value, &error));
    snprintf(expected, sizeof expected, "%s/admin.token", resolved);
    assert_string_equal(value, expected);
    hf_ini_free(ini);
    remove_tree(place.directory);
}

static void openssl_accepts_the_collectors_chain_for_all_its_names(void **state)
{
    (void)state;
    static const struct {
        const char *arguments;
        int good;
    } cases[] = {{"-purpose sslserver -verify_hostname backup.example", 1},
                 {"-purpose sslserver -verify_ip 127.0.0.1", 1},
                 {"-purpose sslserver -verify_ip 2001:db8::7", 1},
                 {"-purpose sslserver -verify_hostname other.example", 0},
                 {"-purpose sslclient", 0}};
    struct place place = place_new();
    assert_int_equal(init_at(&place).status, 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char command[1024];
        snprintf(command, sizeof command,
                 "cd %s && openssl verify -x509_strict -CAfile ca/root.pem -untrusted "
                 "ca/issuing.pem %s tls/collector.pem >/dev/null 2>&1",
                 place.data, cases[i].arguments);
        int status = system(command);
        if ((status == 0) != (cases[i].good != 0)) {
            fail_msg("openssl verify %s: %d", cases[i].arguments, status);
        }
    }
    remove_tree(place.directory);
}

struct admin {
    struct question question;
    struct hf_token_row row;
    struct hf_catalog_memory memory;
};

static void ask_admin(struct question *q, struct hf_catalog_reader *catalog)
{
    struct admin *admin = q->context;
    q->rc = catalog_token_by_id(catalog, q->text, &admin->memory, &admin->row, &q->error);
}

static void the_first_administrators_token_is_in_the_catalog_as_a_hash(void **state)
{
    (void)state;
    struct deployment d = deployment_new(7 * DAY_NS);
    struct hf_buf text = {0};
    struct hf_buf secret = {0};
    char path[160];
    char id[17];
    uint8_t hash[HF_HASH_BYTES];
    snprintf(path, sizeof path, "%s/admin.token", d.data);
    assert_ok(hf_read_file(path, 1024, &text, &error));
    assert_ok(hf_buf_terminate(&text));
    assert_int_equal(sscanf(as_text(&text), "hfa.%16[0-9a-f].", id), 1);
    const char *encoded = strrchr(as_text(&text), '.') + 1;
    assert_ok(hf_base64url_decode(&secret, encoded, strcspn(encoded, "\n")));
    assert_int_equal(secret.size, 32);
    hf_sha256(secret.data, secret.size, hash);
    struct admin admin = {.question = {.ask = ask_admin, .text = id}};
    admin.question.context = &admin;
    ask(&d, &admin.question);
    assert_int_equal(admin.question.rc, HF_OK);
    assert_int_equal(admin.row.kind, HF_TOKEN_API);
    assert_int_equal(admin.row.role, HF_ROLE_ADMIN);
    assert_memory_equal(admin.row.secret_hash, hash, sizeof hash);
    /* It does not let hosts in. */
    char token[128];
    snprintf(token, sizeof token, "%s.%.*s", id, (int)strcspn(encoded, "\n"), encoded);
    struct reply reply = enrol(&d, token);
    assert_int_equal(reply.status, 403);
    reply_free(&reply);
    catalog_memory_free(&admin.memory);
    hf_buf_wipe_free(&secret);
    hf_buf_wipe_free(&text);
    deployment_free(&d);
}

static void a_directory_with_anything_in_it_is_left_alone(void **state)
{
    (void)state;
    struct place place = place_new();
    struct hf_buf before = {0};
    struct hf_buf after = {0};
    assert_int_equal(init_at(&place).status, 0);
    assert_ok(hf_read_file(in(&place, "ca/root.key"), 65536, &before, &error));
    struct said said = init_at(&place);
    assert_int_equal(said.status, 1);
    assert_says(said.text, "is not empty");
    assert_says(said.text, "never overwrites");
    assert_ok(hf_read_file(in(&place, "ca/root.key"), 65536, &after, &error));
    assert_int_equal(before.size, after.size);
    assert_memory_equal(before.data, after.data, after.size);
    hf_buf_wipe_free(&before);
    hf_buf_wipe_free(&after);
    remove_tree(place.directory);
}

static void an_empty_directory_that_was_there_is_closed_to_others(void **state)
{
    (void)state;
    struct place place = place_new();
    struct stat status;
    assert_int_equal(mkdir(place.data, 0755), 0);
    assert_int_equal(chmod(place.data, 0777), 0);
    assert_int_equal(init_at(&place).status, 0);
    assert_int_equal(stat(place.data, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
    remove_tree(place.directory);
}

static void arguments_that_make_no_sense_are_named_and_nothing_is_made(void **state)
{
    (void)state;
    struct place place = place_new();
    const char *d = place.data;
    const struct {
        const char *arguments[8];
        const char *saying;
    } cases[] = {
        {{"--data", d, NULL}, "--name"},
        {{"--name", "a.example", NULL}, "--data"},
        {{"--data", d, "--name", "a.example", "extra", NULL}, "nothing else"},
        {{"--data", d, "--name", "", NULL}, "neither a DNS name nor an IP address"},
        {{"--data", d, "--name", "a.example,,b", NULL}, "neither a DNS name nor an IP address"},
        {{"--data", d, "--name", "a b", NULL}, "'a b'"},
        {{"--data", d, "--name", "a\nadvertise = evil", NULL}, "neither"},
        {{"--data", d, "--name", "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17", NULL}, "at most 16"},
        {{"--data", d, "--name", "a.example", "--api", "nonsense", NULL}, "'nonsense'"},
        {{"--data", d, "--name", "a.example", "--enrol", "h:70000", NULL}, "h:70000"},
        {{"--data", d, "--name", "a.example", "--force", NULL}, "usage"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct said said = run_init(cases[i].arguments);
        if (said.status != 2 || !strstr(said.text, cases[i].saying)) {
            fail_msg("case %zu: %d, '%s' is not in: %s", i, said.status, cases[i].saying,
                     said.text);
        }
        assert_int_not_equal(access(place.data, F_OK), 0);
    }
    remove_tree(place.directory);
}

static void two_deployments_share_nothing(void **state)
{
    (void)state;
    static const char *const secrets[] = {"ca/root.key",    "ca/issuing.key", "tls/collector.key",
                                          "repository.key", "admin.token",    "ca/root.pem"};
    struct place a = place_new();
    struct place b = place_new();
    assert_int_equal(init_at(&a).status, 0);
    assert_int_equal(init_at(&b).status, 0);
    for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++) {
        struct hf_buf first = {0};
        struct hf_buf second = {0};
        assert_ok(hf_read_file(in(&a, secrets[i]), 65536, &first, &error));
        assert_ok(hf_read_file(in(&b, secrets[i]), 65536, &second, &error));
        assert_false(first.size == second.size && memcmp(first.data, second.data, first.size) == 0);
        hf_buf_wipe_free(&first);
        hf_buf_wipe_free(&second);
    }
    remove_tree(a.directory);
    remove_tree(b.directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_a_collector_needs_is_made_and_secrets_are_closed),
        cmocka_unit_test(it_says_what_to_move_what_to_copy_and_what_to_do_next),
        cmocka_unit_test(what_it_writes_the_collector_can_load),
        cmocka_unit_test(every_commented_setting_is_one_that_exists),
        cmocka_unit_test(the_commands_configuration_names_the_api_the_root_and_the_token),
        cmocka_unit_test(openssl_accepts_the_collectors_chain_for_all_its_names),
        cmocka_unit_test(the_first_administrators_token_is_in_the_catalog_as_a_hash),
        cmocka_unit_test(a_directory_with_anything_in_it_is_left_alone),
        cmocka_unit_test(an_empty_directory_that_was_there_is_closed_to_others),
        cmocka_unit_test(arguments_that_make_no_sense_are_named_and_nothing_is_made),
        cmocka_unit_test(two_deployments_share_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
