/* What a configuration means, and what is said about one that means nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/config/config.h"
#include "common/clock.h"

static int load(const char *text, struct hf_config **out, struct hf_error *error)
{
    char path[] = "/tmp/holdfast-config-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    *error = (struct hf_error){0};
    *out = NULL;
    int rc = config_load(path, out, error);
    unlink(path);
    return rc;
}

static struct hf_config *good(const char *text)
{
    struct hf_config *config;
    struct hf_error error;
    if (load(text, &config, &error) != HF_OK) {
        fail_msg("%s", error.message);
    }
    return config;
}

static const struct hf_config_source *source_of(const struct hf_config *config, const char *name)
{
    for (size_t i = 0; i < config->source_count; i++) {
        if (strcmp(config->sources[i].name, name) == 0) {
            return &config->sources[i];
        }
    }
    fail_msg("there is no source %s", name);
    return NULL;
}

static bool has(char *const *list, size_t count, const char *text)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(list[i], text) == 0) {
            return true;
        }
    }
    return false;
}

#define SOURCE "[source data]\nkind = files\nclass = config\npath = /srv/data\n"

static void every_key_says_what_it_should(void **state)
{
    (void)state;
    struct hf_config *config = good(
        "[agent]\nstate = /var/x\nspool_max = 3MiB\nmark_interval = 200ms\nreconnect_max = 1m\n"
        "upload_limit = 3MiB\nnice = 3\nio_class = best-effort\nio_priority = 0\n"
        "[identity]\ndirectory = /var/y\n[collector]\naddress = backup.example.com:7443\n"
        "[source scripts]\nkind = files\nclass = workflows\npath = /opt/a/\npath = /opt/b\n"
        "include = **/*.py\ninclude = *.sh\nexclude = **/tmp/**\ndebounce = 150ms\nrescan = "
        "2m\nverify = 1d\n"
        "validate = json\nrestore_root = /srv/back\nrestore_from = h-1\nrestore_from = *\n"
        "before_restore = /bin/stop  it now\nafter_restore = /bin/start\n");
    const struct hf_config_source *source = source_of(config, "scripts");
    assert_string_equal(config->state, "/var/x");
    assert_string_equal(config->identity_directory, "/var/y");
    assert_string_equal(config->collector_host, "backup.example.com");
    assert_int_equal(config->collector_port, 7443);
    assert_int_equal(config->spool_max_bytes, 3 << 20);
    assert_int_equal(config->mark_interval_ns, 200 * HF_NS_PER_MS);
    assert_int_equal(config->reconnect_max_ns, 60 * HF_NS_PER_SECOND);
    assert_int_equal(config->upload_limit, 3 << 20);
    assert_int_equal(config->priority.nice, 3);
    assert_int_equal(config->priority.io_class, HF_IO_BEST_EFFORT);
    assert_int_equal(config->priority.io_priority, 0);
    assert_int_equal(source->path_count, 2);
    assert_string_equal(source->paths[0], "/opt/a"); /* no trailing slash */
    assert_int_equal(source->include_count, 2);
    assert_string_equal(source->excludes[0], "**/tmp/**");
    assert_int_equal(source->debounce_ns, 150 * HF_NS_PER_MS);
    assert_int_equal(source->rescan_ns, 120 * HF_NS_PER_SECOND);
    assert_int_equal(source->verify_ns, 86400 * HF_NS_PER_SECOND);
    assert_int_equal(source->validate, HF_VALIDATE_JSON);
    assert_true(has(source->restore_roots, source->restore_root_count, "/srv/back"));
    assert_true(has(source->restore_roots, source->restore_root_count, "/opt/b"));
    assert_true(has(source->restore_from, source->restore_from_count, "*"));
    assert_string_equal(source->before_restore[1], "it"); /* words, no shell */
    assert_string_equal(source->before_restore[2], "now");
    assert_null(source->before_restore[3]);
    assert_string_equal(source->after_restore[0], "/bin/start");
    config_free(config);
}

/* A path with an empty component is malformed on the wire: the collector would end every session.
 */
static void a_slash_at_the_end_of_a_directory_changes_nothing(void **state)
{
    (void)state;
    struct hf_config *config =
        good("[agent]\nstate = /var/x//\n[identity]\ndirectory = /var/y/\n"
             "[preset casare-robot]\nhome = /home/robot/\nworkflows_dir = /srv/flows/\n");
    assert_string_equal(config->state, "/var/x");
    assert_string_equal(config->identity_directory, "/var/y");
    assert_string_equal(source_of(config, "workflows")->paths[0], "/srv/flows");
    for (size_t i = 0; i < config->source_count; i++) {
        for (size_t j = 0; j < config->sources[i].path_count; j++) {
            const char *path = config->sources[i].paths[j];
            if (strstr(path, "//") || path[strlen(path) - 1] == '/') {
                fail_msg("%s", path);
            }
        }
    }
    config_free(config);
    config = good("[preset casare-robot]\nhome = /\n");
    assert_string_equal(source_of(config, "workflows")->paths[0], "/workflows");
    config_free(config);
}

static void files_go_back_where_they_were_unless_more_is_allowed(void **state)
{
    (void)state;
    struct hf_config *config = good(SOURCE);
    const struct hf_config_source *source = source_of(config, "data");
    assert_int_equal(source->restore_root_count, 1);
    assert_string_equal(source->restore_roots[0], "/srv/data");
    assert_int_equal(source->restore_from_count, 0);
    assert_int_equal(config->upload_limit, 0);
    assert_int_equal(config->priority.nice, 10);
    assert_int_equal(config->priority.io_class, HF_IO_BEST_EFFORT);
    assert_int_equal(config->priority.io_priority, 7);
    assert_null(source->before_restore);
    config_free(config);
}

static void a_mistake_is_named_with_its_line_and_a_remedy(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *says[3];
    } mistakes[] = {
        {"[source data]\nkind = files\nclass = config\npath = data\n", {":4:", "path", "absolute"}},
        {"[source data]\nkind = files\nclass = config\npath = ~/x\n",
         {":4:", "without ~", "'~/x'"}},
        {"[source data]\nkind = files\nclass = config\npath = /a/../b\n", {":4:", "'..'", "path"}},
        {"[source data]\nkind = files\nclass = config\n",
         {":1: [source data]", "path = /", "at least one"}},
        {"[source data]\nkind = files\npath = /a\n",
         {":1: [source data]", "no class", "checkpoints"}},
        {SOURCE "class = logz\n", {":5:", "class", "logz"}},
        {SOURCE "kind = tape\n", {":5:", "'tape'", "files, sqlite"}},
        {"[source data]\nkind = sqlite\nclass = database\npath = /a\nvalidate = json\n",
         {":5:", "sqlite", "remove the line"}},
        {SOURCE "validate = xml\n", {":5:", "'xml'", "json"}},
        {SOURCE "exlude = *.tmp\n", {":5:", "exlude", "exclude"}},
        {SOURCE "exclude = [a\n", {":5:", "exclude", "["}},
        {SOURCE "debounce = soon\n", {":5:", "debounce", "'soon'"}},
        {SOURCE "rescan = 0\n", {":5:", "rescan", "60s is usual"}},
        {SOURCE "verify = 1000d\n", {":5:", "verify", "longer than 365 d"}},
        {SOURCE "restore_root = back\n", {":5:", "restore_root", "absolute"}},
        {SOURCE "restore_from = robot-01\n", {":5:", "restore_from", "holdfast hosts"}},
        {SOURCE "before_restore = systemctl stop x\n", {":5:", "before_restore", "absolute path"}},
        {"[source data]\nkind = files\nclass = config\npath = /a/.\n", {":4:", "'.'", "path"}},
        {SOURCE "debounce = 0s\n", {":5:", "debounce", "shorter than 10"}},
        {SOURCE "rescan = 0s\n", {":5:", "rescan", "60s is usual"}},
        {"[agent]\nstate = rel\n" SOURCE, {":2: [agent] state", "'rel'", "absolute"}},
        {"[agent]\nstate = /var/../x\n" SOURCE, {":2: [agent] state", "'/var/../x'", "'..'"}},
        {"[identity]\ndirectory = x\n" SOURCE, {":2: [identity] directory", "'x'", "absolute"}},
        {"[collector]\naddress = backup\n" SOURCE, {":2: [collector] address", "backup", "port"}},
        {"[preset casare-robot]\nhome = robot\n", {":2:", "home", "absolute"}},
        {"[preset casare-robot]\nhome = /home//robot\n", {":2:", "home", "'//'"}},
        {"[preset casare-robot]\nhome = /a\nworkflows_dir = work\n",
         {":3:", "workflows_dir", "absolute"}},
        {"[agent]\nspool_max = 100KiB\n" SOURCE, {":2:", "spool_max", "256KiB"}},
        {"[agent]\nspool_max = much\n" SOURCE, {":2:", "spool_max", "'much'"}},
        {"[agent]\nmark_interval = 1ms\n" SOURCE, {":2:", "mark_interval", "10 ms"}},
        {"[agent]\nreconnect_max = 3h\n" SOURCE, {":2:", "reconnect_max", "1h"}},
        {"[agent]\nupload_limit = 100\n" SOURCE, {":2:", "upload_limit", "16KiB"}},
        {"[agent]\nupload_limit = fast\n" SOURCE, {":2:", "upload_limit", "'fast'"}},
        {"[agent]\nquiet_hours = 9-17\n" SOURCE, {":2:", "quiet_hours", "mon-fri 09:00-17:30"}},
        {"[agent]\nquiet_hours = 00:00-24:00\n" SOURCE, {":2:", "quiet_hours", "leaves no time"}},
        {SOURCE "quiet_hours = 08:00-09:00\nquiet_hours = none\n",
         {":6:", "quiet_hours", "stand alone"}},
        {SOURCE "quiet_hours = none\nquiet_hours = 08:00-09:00\n",
         {":6:", "quiet_hours", "stand alone"}},
        {"[agent]\nnice = -5\n" SOURCE, {":2:", "nice", "19"}},
        {"[agent]\nio_class = realtime\n" SOURCE, {":2:", "'realtime'", "best-effort nor idle"}},
        {"[agent]\nio_priority = 8\n" SOURCE, {":2:", "io_priority", "7"}},
        {"[agent]\nio_class = idle\nio_priority = 1\n" SOURCE,
         {":3:", "io_priority", "remove one"}},
        {"[source Data]\nkind = files\nclass = config\npath = /a\n",
         {":1: [source Data]", "lower-case", "64"}},
        {"[preset casare-robt]\nhome = /home/x\n",
         {":1: [preset casare-robt]", "casare-robot", "there is no preset"}},
        {"[preset casare-robot]\n", {":1: [preset casare-robot]", "home = /", "needs"}},
        {"[preset casare-robot]\nhome = /a\n[preset casare-robot]\nsystem = no\n",
         {":3: [preset casare-robot]", "home = /", "needs"}},
        {"[preset casare-robot]\nhome = /a\nhome = /b\n", {":3:", "home", "twice"}},
        {"[preset casare-robot]\nhome = /a\nsystem = perhaps\n",
         {":3:", "system", "'perhaps' is neither"}},
        {"kind = files\n" SOURCE, {":1: kind: ", "before the first [section]", "below"}},
        {"[sourcce data]\npath = /a\n", {":", "path", "sourcce"}},
    };
    for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) {
        struct hf_config *config;
        struct hf_error error;
        int rc = load(mistakes[i].text, &config, &error);
        if (rc == HF_OK) {
            fail_msg("this was taken:\n%s", mistakes[i].text);
        }
        for (size_t j = 0; j < 3; j++) {
            if (!strstr(error.message, mistakes[i].says[j])) {
                fail_msg("'%s' is not in: %s", mistakes[i].says[j], error.message);
            }
        }
    }
}

static void quiet_hours_are_for_what_is_large_unless_a_source_has_its_own(void **state)
{
    (void)state;
    struct hf_config *config =
        good("[agent]\nquiet_hours = mon-fri 09:00-17:30\nquiet_hours = sat 10:00-12:00\n" SOURCE
             "[source logs]\nclass = logs\npath = /a\n"
             "[source points]\nclass = checkpoints\npath = /b\nquiet_hours = 01:00-02:00\n"
             "[source flows]\nclass = workflows\npath = /c\nquiet_hours = none\n"
             "[source keys]\nclass = credentials\npath = /d\n");
    assert_int_equal(source_of(config, "data")->quiet.count, 0); /* config: small, and precious */
    assert_int_equal(source_of(config, "keys")->quiet.count, 0);
    assert_int_equal(source_of(config, "logs")->quiet.count, 2);
    assert_int_equal(source_of(config, "logs")->quiet.spans[0].from_min, 9 * 60);
    assert_int_equal(source_of(config, "points")->quiet.count, 1);
    assert_int_equal(source_of(config, "points")->quiet.spans[0].to_min, 2 * 60);
    assert_int_equal(source_of(config, "flows")->quiet.count, 0);
    config_free(config);
}

/* The guide writes .casare-rpa, the code .casare_rpa. */
static void assert_spelt_both_ways(const struct hf_config_source *source, const char *name)
{
    static const char *const spellings[] = {".casare_rpa", ".casare-rpa"};
    for (size_t i = 0; i < 2; i++) {
        char path[128];
        snprintf(path, sizeof path, "/home/robot/%s/%s", spellings[i], name);
        if (!has(source->paths, source->path_count, path)) {
            fail_msg("source %s lacks %s", source->name, path);
        }
    }
}

static void the_presets_name_both_spellings_of_the_products_paths(void **state)
{
    (void)state;
    static const char *const presets[] = {"casare-robot", "casare-orchestrator"};
    for (size_t i = 0; i < 2; i++) {
        char text[128];
        snprintf(text, sizeof text, "[preset %s]\nhome = /home/robot\n", presets[i]);
        struct hf_config *config = good(text);
        assert_spelt_both_ways(source_of(config, "logs"), "logs");
        assert_spelt_both_ways(source_of(config, "config"), "config");
        assert_spelt_both_ways(source_of(config, "config"), ".env");
        assert_string_equal(source_of(config, "credentials")->class_name, "credentials");
        assert_string_equal(source_of(config, "workflows")->paths[0], "/home/robot/workflows");
        config_free(config);
    }
    struct hf_config *config = good("[preset casare-robot]\nhome = /home/robot\n");
    const struct hf_config_source *points = source_of(config, "checkpoints");
    assert_string_equal(points->class_name, "checkpoints");
    assert_int_equal(points->validate, HF_VALIDATE_JSON);
    assert_spelt_both_ways(points, "checkpoints");
    assert_spelt_both_ways(source_of(config, "config"), "robot_config.yaml");
    config_free(config);
    config = good("[preset casare-orchestrator]\nhome = /home/robot\n");
    assert_spelt_both_ways(source_of(config, "store"), "orchestrator");
    config_free(config);
}

static size_t sources_named(const struct hf_config *config, const char *name)
{
    size_t count = 0;
    for (size_t i = 0; i < config->source_count; i++) {
        count += strcmp(config->sources[i].name, name) == 0;
    }
    return count;
}

static void assert_names_are_unique(const struct hf_config *config)
{
    for (size_t i = 0; i < config->source_count; i++) {
        if (sources_named(config, config->sources[i].name) != 1) {
            fail_msg("there are several sources %s", config->sources[i].name);
        }
    }
}

static size_t times(char *const *list, size_t count, const char *text)
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        found += strcmp(list[i], text) == 0;
    }
    return found;
}

static void both_presets_together_make_one_source_a_name_with_the_paths_of_both(void **state)
{
    (void)state;
    struct hf_config *config = good("[preset casare-robot]\nhome = /home/robot\n"
                                    "[preset casare-orchestrator]\nhome = /srv/orchestrator\n"
                                    "workflows_dir = /srv/flows/\n");
    assert_names_are_unique(config);
    const struct hf_config_source *settings = source_of(config, "config");
    assert_true(
        has(settings->paths, settings->path_count, "/home/robot/CasareRPA/robot_identity.json"));
    assert_true(has(settings->paths, settings->path_count, "/home/robot/.casare_rpa/.env"));
    assert_true(has(settings->paths, settings->path_count, "/srv/orchestrator/.casare_rpa/.env"));
    const struct hf_config_source *flows = source_of(config, "workflows");
    assert_int_equal(flows->path_count, 2);
    assert_true(has(flows->paths, flows->path_count, "/home/robot/workflows"));
    assert_true(has(flows->paths, flows->path_count, "/srv/flows"));
    assert_int_equal(flows->validate, HF_VALIDATE_JSON);
    assert_true(has(flows->restore_roots, flows->restore_root_count, "/home/robot/workflows"));
    const struct hf_config_source *system = source_of(config, "system-config");
    assert_int_equal(times(system->paths, system->path_count, "/etc/casare-rpa"), 1);
    assert_int_equal(times(system->excludes, system->exclude_count, "*.log"), 1);
    assert_int_equal(sources_named(config, "checkpoints"), 1); /* of the robot alone */
    assert_int_equal(sources_named(config, "store"), 1);       /* of the orchestrator alone */
    config_free(config);
}

static void a_preset_written_twice_protects_both_homes_each_with_its_own_keys(void **state)
{
    (void)state;
    struct hf_config *config =
        good("[preset casare-robot]\nhome = /home/one\nworkflows_dir = /srv/one\nsystem = no\n"
             "[agent]\nmark_interval = 1s\n"
             "[preset casare-robot]\nhome = /home/two\n");
    assert_names_are_unique(config);
    const struct hf_config_source *points = source_of(config, "checkpoints");
    assert_true(has(points->paths, points->path_count, "/home/one/.casare_rpa/checkpoints"));
    assert_true(has(points->paths, points->path_count, "/home/two/.casare_rpa/checkpoints"));
    const struct hf_config_source *flows = source_of(config, "workflows");
    assert_int_equal(flows->path_count, 2);
    assert_true(has(flows->paths, flows->path_count, "/srv/one"));
    assert_true(has(flows->paths, flows->path_count, "/home/two/workflows"));
    assert_int_equal(sources_named(config, "system-config"), 1); /* of the second */
    config_free(config);
}

static void the_presets_have_databases_in_use_captured_as_that_and_left_out_elsewhere(void **state)
{
    (void)state;
    static const char *const presets[] = {"casare-robot", "casare-orchestrator"};
    static const struct {
        const char *source, *class_name, *path, *other_path;
    } databases[] = {
        {"queue", "checkpoints", "/home/robot/.casare_rpa/offline_queue.db",
         "/home/robot/.casare-rpa/offline_queue.db"},
        {"vault", "credentials", "/home/robot/.casare/vault.db",
         "/home/robot/CasareRPA/.casare/vault.db"},
        {"audit", "database", "/home/robot/.casare/audit/audit.db",
         "/home/robot/CasareRPA/.casare/audit/audit.db"},
    };
    for (size_t i = 0; i < 2; i++) {
        char text[128];
        snprintf(text, sizeof text, "[preset %s]\nhome = /home/robot\n", presets[i]);
        struct hf_config *config = good(text);
        for (size_t j = 0; j < 3; j++) {
            const struct hf_config_source *source = source_of(config, databases[j].source);
            assert_true(config_is_sqlite(source));
            assert_string_equal(source->class_name, databases[j].class_name);
            assert_true(has(source->paths, source->path_count, databases[j].path));
            assert_true(has(source->paths, source->path_count, databases[j].other_path));
            assert_true(has(source->restore_roots, source->restore_root_count, databases[j].path));
        }
        const struct hf_config_source *files = source_of(config, "config");
        assert_false(config_is_sqlite(files));
        static const char *const left_out[] = {"*.db", "*.db-wal", "*.db-shm", "*.db-journal"};
        for (size_t j = 0; j < 4; j++) {
            assert_true(has(files->excludes, files->exclude_count, left_out[j]));
        }
        config_free(config);
    }
}

static void a_source_of_databases_says_so(void **state)
{
    (void)state;
    struct hf_config *config = good("[source apps]\nkind = sqlite\nclass = database\n"
                                    "path = /nowhere\ninclude = **/*.db\n");
    assert_true(config_is_sqlite(source_of(config, "apps")));
    assert_string_equal(source_of(config, "apps")->kind, "sqlite");
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    config_describe(config, stream);
    fclose(stream);
    assert_non_null(strstr(text, "Source apps, class database, SQLite databases"));
    free(text);
    config_free(config);
}

static void a_source_of_the_same_name_refines_a_presets(void **state)
{
    (void)state;
    struct hf_config *config = good("[preset casare-robot]\nhome = /home/robot\n"
                                    "[source checkpoints]\npath = /srv/more\ndebounce = 50ms\n");
    const struct hf_config_source *points = source_of(config, "checkpoints");
    assert_true(has(points->paths, points->path_count, "/srv/more"));
    assert_true(has(points->paths, points->path_count, "/home/robot/.casare_rpa/checkpoints"));
    assert_int_equal(points->debounce_ns, 50 * HF_NS_PER_MS);
    assert_string_equal(points->class_name, "checkpoints");
    config_free(config);
}

static void the_description_names_sources_and_what_is_not_there(void **state)
{
    (void)state;
    struct hf_config *config = good("[source data]\nkind = files\nclass = config\npath = /tmp\n"
                                    "path = /nowhere/at/all\nexclude = *.tmp\n");
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    config_describe(config, stream);
    fclose(stream);
    assert_non_null(strstr(text, "data"));
    assert_non_null(strstr(text, "/nowhere/at/all"));
    assert_non_null(strstr(text, "*.tmp"));
    free(text);
    config_free(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_says_what_it_should),
        cmocka_unit_test(a_slash_at_the_end_of_a_directory_changes_nothing),
        cmocka_unit_test(files_go_back_where_they_were_unless_more_is_allowed),
        cmocka_unit_test(a_mistake_is_named_with_its_line_and_a_remedy),
        cmocka_unit_test(quiet_hours_are_for_what_is_large_unless_a_source_has_its_own),
        cmocka_unit_test(the_presets_name_both_spellings_of_the_products_paths),
        cmocka_unit_test(both_presets_together_make_one_source_a_name_with_the_paths_of_both),
        cmocka_unit_test(a_preset_written_twice_protects_both_homes_each_with_its_own_keys),
        cmocka_unit_test(the_presets_have_databases_in_use_captured_as_that_and_left_out_elsewhere),
        cmocka_unit_test(a_source_of_databases_says_so),
        cmocka_unit_test(a_source_of_the_same_name_refines_a_presets),
        cmocka_unit_test(the_description_names_sources_and_what_is_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
