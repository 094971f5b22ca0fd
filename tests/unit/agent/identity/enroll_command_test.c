/* The whole command against an endpoint that may be anybody. */
#include "agent/identity/enroll_command.h"

#include "fake_enrolment.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "agent/identity/identity.h"
#include "common/join_token.h"

static struct hf_error error;

static const char *const server_names[] = {"localhost", "127.0.0.1"};
static const struct test_wish good_server = {
    .kind = HF_PKI_SERVER, .name = "Holdfast collector", .names = server_names, .name_count = 2};

struct scene {
    struct test_authority ours, theirs;
    struct enrolment enrolment;
    char parent[64], identity[96], token_file[96], said_file[96];
    char said[4096];
    const char *host; /* by which the token names the endpoint */
    struct hf_join_token token;
};

static struct scene *scene_new(void)
{
    struct scene *s = calloc(1, sizeof *s);
    assert_non_null(s);
    s->ours = test_authority_new();
    s->theirs = test_authority_new();
    s->host = "localhost";
    s->enrolment.ca_answer = as_text(&s->ours.root);
    s->enrolment.authority = &s->ours;
    s->enrolment.tls = &s->ours;
    s->enrolment.server = good_server;
    strcpy(s->parent, "/tmp/hf-enroll-XXXXXX");
    assert_non_null(mkdtemp(s->parent));
    snprintf(s->identity, sizeof s->identity, "%s/identity", s->parent);
    snprintf(s->token_file, sizeof s->token_file, "%s/token", s->parent);
    snprintf(s->said_file, sizeof s->said_file, "%s/said", s->parent);
    return s;
}

static void scene_start(struct scene *s)
{
    struct hf_pki_info info;
    struct hf_buf text = {0};
    enrolment_start(&s->enrolment);
    assert_ok(hf_pki_info(as_text(&s->ours.root), &info, &error));
    memcpy(s->token.ca_fingerprint, info.fingerprint, HF_HASH_BYTES);
    strcpy(s->token.id, "0123456789abcdef");
    hf_random(s->token.secret, sizeof s->token.secret);
    snprintf(s->token.enrol_address, sizeof s->token.enrol_address, "%s:%u", s->host,
             s->enrolment.port);
    strcpy(s->token.agents_address, "localhost:7443");
    assert_ok(join_token_format(&s->token, &text));
    assert_ok(hf_write_file_atomic(s->token_file, text.data, text.size, 0600, &error));
    hf_buf_wipe_free(&text);
}

static void scene_free(struct scene *s)
{
    if (s->enrolment.context) {
        enrolment_stop(&s->enrolment);
    }
    if (access(s->identity, F_OK) == 0) {
        remove_identity(s->identity);
    }
    remove_identity(s->parent);
    test_authority_free(&s->ours);
    test_authority_free(&s->theirs);
    free(s);
}

/* Exit status; what it said on stdout and stderr is kept in the scene. */
static int enroll(struct scene *s)
{
    char *argv[] = {"enroll", "--token-file", s->token_file, "--identity", s->identity, NULL};
    int file = open(s->said_file, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(file >= 0);
    fflush(stdout);
    fflush(stderr);
    int out = dup(1);
    int err = dup(2);
    dup2(file, 1);
    dup2(file, 2);
    int status = enroll_command(5, argv);
    fflush(stdout);
    fflush(stderr);
    dup2(out, 1);
    dup2(err, 2);
    close(out);
    close(err);
    ssize_t size = pread(file, s->said, sizeof s->said - 1, 0);
    assert_true(size >= 0);
    s->said[size] = '\0';
    close(file);
    return status;
}

static void assert_said(const struct scene *s, const char *what)
{
    if (!strstr(s->said, what)) {
        fail_msg("it said\n%s\nbut not '%s'", s->said, what);
    }
}

/* The token's secret went nowhere, and the host has not joined. */
static void assert_refused_and_told_nothing(struct scene *s, const char *saying)
{
    struct hf_identity *identity = NULL;
    assert_int_equal(enroll(s), 1);
    assert_said(s, saying);
    assert_int_equal(s->enrolment.enrolments, 0);
    assert_int_equal(identity_open(s->identity, &identity, &error), HF_ERR_NOT_FOUND);
}

static void a_host_joins_by_name_and_by_address(void **state)
{
    (void)state;
    static const char *const hosts[] = {"localhost", "127.0.0.1"};
    for (size_t i = 0; i < 2; i++) {
        struct scene *s = scene_new();
        struct hf_identity *identity = NULL;
        struct hf_buf secret = {0};
        char hostname[256] = "";
        s->host = hosts[i];
        scene_start(s);
        if (enroll(s) != 0) {
            fail_msg("by %s: %s", hosts[i], s->said);
        }
        assert_said(s, "Joined as h-0123456789abcdef");
        assert_ok(identity_open(s->identity, &identity, &error));
        assert_string_equal(identity_collector_host(identity), "localhost");
        assert_ok(hf_buf_append_format(&secret, "%s.", s->token.id));
        assert_ok(hf_base64url_encode(&secret, s->token.secret, HF_JOIN_SECRET_BYTES));
        assert_ok(hf_buf_terminate(&secret));
        assert_string_equal(s->enrolment.token, as_text(&secret));
        gethostname(hostname, sizeof hostname - 1);
        assert_string_equal(s->enrolment.hostname, hostname);
        /* The secret is not repeated to whoever looks over the shoulder. */
        assert_null(strstr(s->said, as_text(&secret)));
        identity_free(identity);
        hf_buf_wipe_free(&secret);
        scene_free(s);
    }
}

static void a_collector_with_another_root_hears_no_secret(void **state)
{
    (void)state;
    struct scene *s = scene_new();
    s->enrolment.ca_answer = as_text(&s->theirs.root);
    s->enrolment.tls = &s->theirs;
    scene_start(s);
    char expected[2 * HF_HASH_BYTES + 1];
    hf_hex_encode(s->token.ca_fingerprint, HF_HASH_BYTES, expected);
    assert_refused_and_told_nothing(s, "is not the collector that made this token");
    assert_said(s, expected);
    scene_free(s);
}

/* Whoever stands in between can fetch the true root and pass it on; he has no certificate of it. */
static void somebody_in_between_who_passes_on_the_true_root_hears_no_secret(void **state)
{
    (void)state;
    struct scene *s = scene_new();
    s->enrolment.tls = &s->theirs;
    scene_start(s);
    assert_refused_and_told_nothing(s, "Can't talk to localhost");
    assert_int_equal(s->enrolment.roots_asked, 1);
    scene_free(s);
}

/* Roots that the machine trusts for other purposes have no say here. */
static void an_authority_that_the_system_trusts_hears_no_secret(void **state)
{
    (void)state;
    struct scene *s = scene_new();
    char path[96];
    snprintf(path, sizeof path, "%s/ca.pem", s->parent);
    assert_ok(hf_write_file_atomic(path, s->theirs.root.data, s->theirs.root.size, 0644, &error));
    assert_int_equal(setenv("SSL_CERT_FILE", path, 1), 0); /* where OpenSSL finds the system's */
    s->enrolment.tls = &s->theirs;
    scene_start(s);
    assert_refused_and_told_nothing(s, "Can't talk to localhost");
    assert_int_equal(unsetenv("SSL_CERT_FILE"), 0);
    scene_free(s);
}

static void a_root_smuggled_in_beside_the_true_one_is_not_believed(void **state)
{
    (void)state;
    for (int disguised = 0; disguised < 4; disguised++) {
        struct scene *s = scene_new();
        struct hf_buf answer = {0};
        const char *theirs = as_text(&s->theirs.root);
        const char *body = strchr(theirs, '\n');
        int body_size = (int)(strstr(theirs, "-----END") - body);
        if (disguised == 0) { /* behind it, plainly */
            assert_ok(hf_buf_append_format(&answer, "%s%s", as_text(&s->ours.root), theirs));
        } else if (disguised == 1) { /* before it */
            assert_ok(hf_buf_append_format(&answer, "%s%s", theirs, as_text(&s->ours.root)));
        } else { /* under another title that OpenSSL reads and mbedTLS skips */
            const char *title = disguised == 2 ? "X509" : "TRUSTED";
            assert_ok(hf_buf_append_format(&answer,
                                           "-----BEGIN %s CERTIFICATE-----%.*s"
                                           "-----END %s CERTIFICATE-----\n%s",
                                           title, body_size, body, title, as_text(&s->ours.root)));
        }
        assert_ok(hf_buf_terminate(&answer));
        s->enrolment.ca_answer = as_text(&answer);
        s->enrolment.tls = &s->theirs;
        scene_start(s);
        assert_refused_and_told_nothing(s, "holdfast-agent enroll: ");
        hf_buf_free(&answer);
        scene_free(s);
    }
}

static void what_stood_beside_the_root_is_not_kept(void **state)
{
    (void)state;
    struct scene *s = scene_new();
    struct hf_buf answer = {0};
    struct hf_buf kept = {0};
    char path[160];
    const char *body = strchr(as_text(&s->theirs.root), '\n');
    const char *end = strstr(as_text(&s->theirs.root), "-----END");
    assert_ok(hf_buf_append_format(&answer,
                                   "-----BEGIN X509 CERTIFICATE-----%.*s"
                                   "-----END X509 CERTIFICATE-----\n%s",
                                   (int)(end - body), body, as_text(&s->ours.root)));
    assert_ok(hf_buf_terminate(&answer));
    s->enrolment.ca_answer = as_text(&answer);
    scene_start(s);
    assert_int_equal(enroll(s), 0);
    snprintf(path, sizeof path, "%s/ca.pem", s->identity);
    assert_ok(hf_read_file(path, 65536, &kept, &error));
    assert_ok(hf_buf_terminate(&kept));
    assert_string_equal(as_text(&kept), as_text(&s->ours.root));
    hf_buf_free(&answer);
    hf_buf_free(&kept);
    scene_free(s);
}

static void a_collector_with_the_wrong_name_time_or_kind_of_certificate_hears_no_secret(
    void **state)
{
    (void)state;
    static const char *const other_name[] = {"other.example", "192.0.2.1"};
    const struct test_wish wishes[] = {
        {.kind = HF_PKI_SERVER, .name = "localhost", .names = other_name, .name_count = 2},
        {.kind = HF_PKI_SERVER,
         .name = "x",
         .names = server_names,
         .name_count = 2,
         .begins_ns = -3 * HOUR_NS,
         .ends_ns = -2 * HOUR_NS},
        {.kind = HF_PKI_SERVER,
         .name = "x",
         .names = server_names,
         .name_count = 2,
         .begins_ns = 2 * HOUR_NS,
         .ends_ns = 3 * HOUR_NS},
        /* a host's own certificate, with names that no authority would give it */
        {.kind = HF_PKI_CLIENT, .name = "x", .names = server_names, .name_count = 2},
    };
    static const char *const hosts[] = {"localhost", "127.0.0.1"};
    for (size_t i = 0; i < sizeof wishes / sizeof wishes[0]; i++) {
        for (size_t j = 0; j < 2; j++) {
            struct scene *s = scene_new();
            s->host = hosts[j];
            s->enrolment.server = wishes[i];
            scene_start(s);
            assert_refused_and_told_nothing(s, "Can't talk to");
            scene_free(s);
        }
    }
}

static void a_refusal_is_passed_on_with_its_remedy(void **state)
{
    (void)state;
    struct scene *s = scene_new();
    struct hf_identity *identity = NULL;
    s->enrolment.refuse_status = 403;
    s->enrolment.refuse_body = "{\"error\":{\"code\":\"denied\",\"message\":\"The token 01 has "
                               "expired\",\"hint\":\"Make a new token\"}}";
    scene_start(s);
    assert_int_equal(enroll(s), 1);
    assert_said(s, "The collector refused: The token 01 has expired. Make a new token");
    assert_int_equal(identity_open(s->identity, &identity, &error), HF_ERR_NOT_FOUND);
    scene_free(s);
}

static void after_a_lost_answer_the_same_key_asks_again(void **state)
{
    (void)state;
    struct scene *s = scene_new();
    uint8_t key_hash[HF_HASH_BYTES];
    s->enrolment.drop_answer = true;
    scene_start(s);
    assert_int_equal(enroll(s), 1);
    assert_int_equal(s->enrolment.enrolments, 1);
    memcpy(key_hash, s->enrolment.key_hash, sizeof key_hash);
    s->enrolment.drop_answer = false;
    assert_int_equal(enroll(s), 0);
    assert_int_equal(s->enrolment.enrolments, 2);
    assert_memory_equal(key_hash, s->enrolment.key_hash, sizeof key_hash);
    scene_free(s);
}

static void a_host_that_has_joined_does_not_join_again(void **state)
{
    (void)state;
    struct scene *s = scene_new();
    scene_start(s);
    assert_int_equal(enroll(s), 0);
    assert_int_equal(enroll(s), 1);
    assert_said(s, "has an identity already");
    assert_int_equal(s->enrolment.enrolments, 1);
    scene_free(s);
}

static void an_answer_without_end_is_cut_off(void **state)
{
    (void)state;
    struct scene *s = scene_new();
    s->enrolment.flood = true;
    scene_start(s);
    assert_refused_and_told_nothing(s, "The answer is too long");
    scene_free(s);
}

static void a_certificate_of_another_authority_or_nonsense_is_not_taken(void **state)
{
    (void)state;
    struct scene *s = scene_new();
    struct hf_identity *identity = NULL;
    s->enrolment.authority = &s->theirs; /* the endpoint is ours, what it issues is not */
    scene_start(s);
    assert_int_equal(enroll(s), 1);
    assert_said(s, "not valid");
    s->enrolment.refuse_status = 200;
    static const char *const bodies[] = {"{}", "[]", "nonsense", "{\"host_id\": 1}"};
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        s->enrolment.refuse_body = bodies[i];
        assert_int_equal(enroll(s), 1);
        assert_said(s, "not complete");
    }
    assert_int_equal(identity_open(s->identity, &identity, &error), HF_ERR_NOT_FOUND);
    scene_free(s);
}

static void a_token_file_that_others_can_read_is_refused(void **state)
{
    (void)state;
    struct scene *s = scene_new();
    scene_start(s);
    assert_int_equal(chmod(s->token_file, 0644), 0);
    assert_refused_and_told_nothing(s, "chmod 600");
    assert_int_equal(s->enrolment.roots_asked, 0);
    scene_free(s);
}

static void a_token_file_that_holds_no_token_is_named(void **state)
{
    (void)state;
    struct scene *s = scene_new();
    static const char api_token[] = "hfa.0123456789abcdef.AAAAAAAAAAAAAAAAAAAAAA\n";
    assert_ok(hf_write_file_atomic(s->token_file, api_token, strlen(api_token), 0600, &error));
    assert_int_equal(enroll(s), 1);
    assert_said(s, s->token_file);
    assert_said(s, "is not an enrolment token");
    assert_int_equal(unlink(s->token_file), 0);
    assert_int_equal(enroll(s), 1);
    assert_said(s, s->token_file);
    scene_free(s);
}

static void a_collector_that_is_not_there_is_named(void **state)
{
    (void)state;
    struct scene *s = scene_new();
    /* A port that is bound and does not listen: connecting is refused, and nobody else gets it. */
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int placeholder = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(placeholder, (struct sockaddr *)&address, length), 0);
    assert_int_equal(getsockname(placeholder, (struct sockaddr *)&address, &length), 0);
    scene_start(s);
    struct hf_buf text = {0};
    char expected[64];
    snprintf(s->token.enrol_address, sizeof s->token.enrol_address, "127.0.0.1:%u",
             ntohs(address.sin_port));
    assert_ok(join_token_format(&s->token, &text));
    assert_ok(hf_write_file_atomic(s->token_file, text.data, text.size, 0600, &error));
    snprintf(expected, sizeof expected, "127.0.0.1 port %u", ntohs(address.sin_port));
    assert_refused_and_told_nothing(s, expected);
    hf_buf_wipe_free(&text);
    close(placeholder);
    scene_free(s);
}

static void it_says_how_it_is_used(void **state)
{
    (void)state;
    char *nothing[] = {"enroll", NULL};
    char *extra[] = {"enroll", "--token-file", "/nowhere", "more", NULL};
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    int err = dup(2);
    dup2(null, 2);
    int first = enroll_command(1, nothing);
    int second = enroll_command(4, extra);
    dup2(err, 2);
    close(err);
    close(null);
    assert_int_equal(first, 2);
    assert_int_equal(second, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_host_joins_by_name_and_by_address),
        cmocka_unit_test(a_collector_with_another_root_hears_no_secret),
        cmocka_unit_test(somebody_in_between_who_passes_on_the_true_root_hears_no_secret),
        cmocka_unit_test(an_authority_that_the_system_trusts_hears_no_secret),
        cmocka_unit_test(a_root_smuggled_in_beside_the_true_one_is_not_believed),
        cmocka_unit_test(what_stood_beside_the_root_is_not_kept),
        cmocka_unit_test(
            a_collector_with_the_wrong_name_time_or_kind_of_certificate_hears_no_secret),
        cmocka_unit_test(a_refusal_is_passed_on_with_its_remedy),
        cmocka_unit_test(after_a_lost_answer_the_same_key_asks_again),
        cmocka_unit_test(a_host_that_has_joined_does_not_join_again),
        cmocka_unit_test(an_answer_without_end_is_cut_off),
        cmocka_unit_test(a_certificate_of_another_authority_or_nonsense_is_not_taken),
        cmocka_unit_test(a_token_file_that_others_can_read_is_refused),
        cmocka_unit_test(a_token_file_that_holds_no_token_is_named),
        cmocka_unit_test(a_collector_that_is_not_there_is_named),
        cmocka_unit_test(it_says_how_it_is_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
