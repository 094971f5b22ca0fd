/* collector.conf: what it means, and what is said about what is wrong in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "collector/config.h"
#include "common/clock.h"

static struct hf_error error;

/* Load text as DIRECTORY/collector.conf; the directory is gone afterwards. */
static int load(const char *text, struct hf_collector_config *out, char directory[64])
{
    char path[96];
    strcpy(directory, "/tmp/hf-config-XXXXXX");
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/collector.conf", directory);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    error = (struct hf_error){0};
    int rc = collector_config_load(path, out, &error);
    unlink(path);
    rmdir(directory);
    return rc;
}

static void an_empty_file_gives_the_defaults(void **state)
{
    static struct hf_collector_config config;
    char directory[64];
    char expected[128];
    (void)state;
    assert_int_equal(load("", &config, directory), HF_OK);
    assert_string_equal(config.data, directory);
    snprintf(expected, sizeof expected, "%s/catalog.db", directory);
    assert_string_equal(config.catalog, expected);
    snprintf(expected, sizeof expected, "%s/repository", directory);
    assert_string_equal(config.repository, expected);
    snprintf(expected, sizeof expected, "%s/repository.key", directory);
    assert_string_equal(config.key, expected);
    assert_int_equal(config.agents.port, 7443);
    assert_int_equal(config.enrol.port, 7444);
    assert_int_equal(config.api.port, 7445);
    assert_string_equal(config.api.host, "127.0.0.1");
    assert_int_equal(config.memory_bytes, 256u << 20);
    assert_int_equal(config.sessions_max, 20000);
    assert_true(config.validity_ns == 7 * 86400 * HF_NS_PER_SECOND);
    assert_true(config.dictionary_interval_ns == 3600 * HF_NS_PER_SECOND);
    assert_int_equal(config.log_level, HF_LOG_INFO);
}

static void every_key_is_taken(void **state)
{
    static struct hf_collector_config config;
    char directory[64];
    char expected[128];
    (void)state;
    assert_int_equal(
        load(
            "[collector]\nadvertise = backup.example\ncatalog = /fast/catalog.db\n"
            "[listen]\nagents = 192.0.2.1:1\nenrol = [2001:db8::1]:2\n"
            "api = 127.0.0.1:0\n"
            "[store]\nrepository = big\nkey = /etc/key\npack_size = 16MiB\n"
            "[limits]\nmemory = 1GiB\nsessions = 7\n"
            "[certificates]\nvalidity = 90s\n[dictionaries]\ninterval = 0s\n[log]\nlevel = debug\n",
            &config, directory),
        HF_OK);
    assert_string_equal(config.advertise, "backup.example");
    assert_string_equal(config.catalog, "/fast/catalog.db");
    snprintf(expected, sizeof expected, "%s/big", directory);
    assert_string_equal(config.repository, expected);
    assert_string_equal(config.key, "/etc/key");
    assert_string_equal(config.agents.host, "192.0.2.1");
    assert_int_equal(config.agents.port, 1);
    assert_string_equal(config.enrol.host, "2001:db8::1");
    assert_int_equal(config.enrol.port, 2);
    assert_int_equal(config.api.port, 0);
    assert_int_equal(config.pack_bytes, 16u << 20);
    assert_int_equal(config.memory_bytes, 1u << 30);
    assert_int_equal(config.sessions_max, 7);
    assert_true(config.validity_ns == 90 * HF_NS_PER_SECOND);
    assert_true(config.dictionary_interval_ns == 0);
    assert_int_equal(config.log_level, HF_LOG_DEBUG);
}

static void a_complaint_names_file_line_section_and_key(void **state)
{
    static struct hf_collector_config config;
    static const struct {
        const char *text, *where, *what;
    } cases[] = {
        {"[listen]\nagents = nowhere\n", "collector.conf:2", "agents"},
        {"[listen]\n\napi = 127.0.0.1:70000\n", "collector.conf:3", "api"},
        {"[limits]\nmemory = lots\n", "collector.conf:2", "memory"},
        {"[limits]\nmemory = 1MiB\n", "collector.conf:2", "4MiB"},
        {"[limits]\nsessions = 0\n", "collector.conf:2", "sessions"},
        {"[certificates]\nvalidity = 1s\n", "collector.conf:2", "validity"},
        {"[dictionaries]\ninterval = 5ms\n", "collector.conf:2", "interval"},
        {"[log]\nlevel = loud\n", "collector.conf:2", "loud"},
        {"[limits]\nmemroy = 1GiB\n", "collector.conf:2", "memory"},
        {"[log]\nagents = 0.0.0.0:1\n", "collector.conf:2", "agents"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char directory[64];
        assert_int_equal(load(cases[i].text, &config, directory), HF_ERR_INVALID);
        if (!strstr(error.message, cases[i].where) || !strstr(error.message, cases[i].what)) {
            fail_msg("'%s' says: %s", cases[i].text, error.message);
        }
    }
}

static void a_missing_file_is_named(void **state)
{
    static struct hf_collector_config config;
    (void)state;
    error = (struct hf_error){0};
    assert_int_not_equal(collector_config_load("/nonexistent/collector.conf", &config, &error),
                         HF_OK);
    assert_non_null(strstr(error.message, "/nonexistent/collector.conf"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_file_gives_the_defaults),
        cmocka_unit_test(every_key_is_taken),
        cmocka_unit_test(a_complaint_names_file_line_section_and_key),
        cmocka_unit_test(a_missing_file_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
