/* The loop: work from other threads, its order, its end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <libwebsockets.h>

#include "collector/net/loop.h"
#include "tests/unit/collector/identity/identity_fixture.h"

#define POSTERS 4
#define POSTS   2000

static struct hf_error error;

static struct hf_loop *loop_start(void)
{
    struct hf_loop *loop = NULL;
    struct hf_loop_options options = {0};
    assert_ok(loop_new(&options, &loop, &error));
    return loop;
}

static void *serve(void *arg)
{
    loop_run(arg);
    return NULL;
}

struct poster {
    struct hf_loop *loop;
    pthread_t thread;
    size_t run, total; /* loop thread only */
    bool out_of_order;
};

struct numbered {
    struct poster *poster;
    size_t number;
};

static void note(void *arg)
{
    struct numbered *post = arg;
    post->poster->out_of_order |= post->number != post->poster->run;
    post->poster->run++;
    free(post);
}

static void *post_many(void *arg)
{
    struct poster *poster = arg;
    for (size_t i = 0; i < POSTS; i++) {
        struct numbered *post = malloc(sizeof *post);
        *post = (struct numbered){poster, i};
        if (loop_post(poster->loop, note, post) != HF_OK) {
            abort();
        }
    }
    return NULL;
}

static void posts_of_each_thread_run_in_their_order_and_none_is_lost(void **state)
{
    (void)state;
    struct hf_loop *loop = loop_start();
    struct poster posters[POSTERS] = {0};
    pthread_t server;
    assert_int_equal(pthread_create(&server, NULL, serve, loop), 0);
    for (size_t i = 0; i < POSTERS; i++) {
        posters[i].loop = loop;
        assert_int_equal(pthread_create(&posters[i].thread, NULL, post_many, &posters[i]), 0);
    }
    for (size_t i = 0; i < POSTERS; i++) {
        pthread_join(posters[i].thread, NULL);
    }
    loop_stop(loop);
    pthread_join(server, NULL);
    loop_free(loop);
    for (size_t i = 0; i < POSTERS; i++) {
        assert_int_equal(posters[i].run, POSTS);
        assert_false(posters[i].out_of_order);
    }
}

/* Workers hand back what they did while the collector stops: connections are gone by then, memory
 * is not. */
static void posts_to_a_closed_loop_run_when_it_is_freed(void **state)
{
    (void)state;
    struct hf_loop *loop = loop_start();
    struct poster poster = {.loop = loop};
    loop_close(loop);
    assert_null(loop_context(loop));
    assert_int_equal(pthread_create(&poster.thread, NULL, post_many, &poster), 0);
    pthread_join(poster.thread, NULL);
    assert_int_equal(poster.run, 0);
    loop_free(loop);
    assert_int_equal(poster.run, POSTS);
}

static int callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                    size_t length)
{
    return lws_callback_http_dummy(wsi, reason, user, in, length);
}

static const struct lws_protocols protocols[] = {{.name = "http", .callback = callback},
                                                 {.name = NULL}};

static void what_is_wrong_with_an_address_is_said(void **state)
{
    (void)state;
    struct deployment d = deployment_new(DAY_NS);
    char certificate[160];
    char key[160];
    uint16_t port = 0;
    uint16_t second = 0;
    snprintf(certificate, sizeof certificate, "%s/tls/collector.pem", d.data);
    snprintf(key, sizeof key, "%s/tls/collector.key", d.data);
    struct hf_listen_options options = {.name = "agents",
                                        .address = "127.0.0.1",
                                        .certificate_pem_path = certificate,
                                        .key_pem_path = key,
                                        .protocols = protocols};
    struct hf_loop *loop = loop_start();
    assert_ok(loop_listen(loop, &options, &port, &error));
    assert_true(port > 0);
    options.port = port;
    assert_int_not_equal(loop_listen(loop, &options, &second, &error), HF_OK);
    char text[16];
    snprintf(text, sizeof text, "%u", port);
    assert_says(error.message, text);
    assert_says(error.message, "agents");
    assert_says(error.message, "another program");
    options.port = 0;
    options.address = "192.0.2.1";
    assert_int_not_equal(loop_listen(loop, &options, &second, &error), HF_OK);
    assert_says(error.message, "no interface");
    options.address = "localhost";
    assert_int_equal(loop_listen(loop, &options, &second, &error), HF_ERR_INVALID);
    assert_says(error.message, "in numbers");
    options.name = "enrol";
    options.address = "::1";
    assert_ok(loop_listen(loop, &options, &second, &error));
    loop_free(loop);
    deployment_free(&d);
}

static void a_certificate_that_does_not_fit_its_key_is_not_taken(void **state)
{
    (void)state;
    struct deployment d = deployment_new(DAY_NS);
    char certificate[160];
    char key[160];
    char stranger[160];
    uint16_t port = 0;
    snprintf(certificate, sizeof certificate, "%s/tls/collector.pem", d.data);
    snprintf(key, sizeof key, "%s/tls/collector.key", d.data);
    snprintf(stranger, sizeof stranger, "%s/ca/issuing.key", d.data);
    struct hf_listen_options options = {.name = "agents",
                                        .address = "127.0.0.1",
                                        .certificate_pem_path = certificate,
                                        .key_pem_path = key,
                                        .protocols = protocols};
    struct hf_loop *loop = loop_start();
    assert_ok(loop_listen(loop, &options, &port, &error));
    assert_ok(loop_reload_certificate(loop, certificate, key, &error));
    assert_int_equal(loop_reload_certificate(loop, certificate, stranger, &error), HF_ERR_INVALID);
    assert_says(error.message, stranger);
    assert_int_equal(loop_reload_certificate(loop, "/nonexistent.pem", key, &error),
                     HF_ERR_INVALID);
    loop_free(loop);
    deployment_free(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(posts_of_each_thread_run_in_their_order_and_none_is_lost),
        cmocka_unit_test(posts_to_a_closed_loop_run_when_it_is_freed),
        cmocka_unit_test(what_is_wrong_with_an_address_is_said),
        cmocka_unit_test(a_certificate_that_does_not_fit_its_key_is_not_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
