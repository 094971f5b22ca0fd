/* A dictionary is adopted when it pays, and holds nothing that one host alone has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/dictionary/train.h"
#include "common/bytes.h"
#include "common/dictionary.h"

#define HOSTS 5u
#define FILES 120u /* of a host */

#define SECRET "s3cr3t-of-just-one-host-0123456789abcdef"

typedef size_t write_fn(char *out, size_t size, unsigned seed, unsigned host);

/* The first host has a secret in each of its files. */
static size_t write_workflow(char *out, size_t size, unsigned seed, unsigned host)
{
    return (size_t)snprintf(
        out, size,
        "{\"workflow\": \"import\", \"step\": %u, \"state\": \"waiting for input\",\n"
        " \"retries\": {\"allowed\": 5, \"left\": %u}, \"owner\": \"robot\",%s\n"
        " \"checkpoint\": \"/var/lib/casare/checkpoints/%08x.json\", \"host\": %u}\n",
        seed, seed % 5, host == 0 ? " \"token\": \"" SECRET "\"," : "", seed * 2654435761u, host);
}

static size_t write_other(char *out, size_t size, unsigned seed, unsigned host)
{
    return (size_t)snprintf(out, size,
                            "<device id='%u' host='%u'><firmware channel='stable' auto='true'/>"
                            "<network mode='static' mask='255.255.255.0' vlan='untagged'/>"
                            "<motion acceleration='gentle' jerk='limited' homing='power-up'/>"
                            "<calibration axis='z' offset='%08x' tolerance='0.002'/></device>\n",
                            seed, host, seed * 2654435761u);
}

static size_t write_noise(char *out, size_t size, unsigned seed, unsigned host)
{
    (void)seed, (void)host;
    hf_random(out, 400);
    return size < 400 ? size : 400;
}

static void add_samples(struct hf_samples *samples, unsigned hosts, write_fn *write)
{
    char text[1024];
    uint8_t id[HF_HASH_BYTES];
    for (unsigned host = 0; host < hosts; host++) {
        for (unsigned i = 0; i < FILES; i++) {
            size_t size = write(text, sizeof text, host * FILES + i, host);
            hf_sha256(text, size, id);
            assert_int_equal(
                samples_add(samples, host, id, (struct hf_bytes){(uint8_t *)text, size}), HF_OK);
        }
    }
}

static void train(const struct hf_samples *samples, const struct hf_buf *present,
                  struct hf_buf *out, struct hf_training *training)
{
    struct hf_error error = {0};
    struct hf_bytes none = {0};
    struct hf_bytes bytes = present ? (struct hf_bytes){present->data, present->size} : none;
    assert_int_equal(train_dictionary(samples, bytes, out, training, &error), HF_OK);
}

static bool holds(const struct hf_buf *bytes, const char *piece)
{
    return memmem(bytes->data, bytes->size, piece, strlen(piece)) != NULL;
}

static void one_that_pays_is_adopted_and_holds_no_secret_of_one_host(void **state)
{
    struct hf_samples samples = {0};
    struct hf_buf trained = {0};
    struct hf_training training;
    (void)state;
    add_samples(&samples, HOSTS, write_workflow);
    train(&samples, NULL, &trained, &training);
    assert_true(hf_dictionary_is_one((struct hf_bytes){trained.data, trained.size}));
    assert_true(training.samples > HOSTS * FILES / 2);
    assert_true(training.trained_bytes < training.present_bytes * 95 / 100);
    assert_true(holds(&trained, "\"state\": \"waiting for input\""));
    /* No eight bytes of it. */
    for (size_t i = 0; i + 8 <= strlen(SECRET); i++) {
        char piece[9] = {0};
        memcpy(piece, &SECRET[i], 8);
        assert_false(holds(&trained, piece));
    }
    hf_buf_free(&trained);
    samples_free(&samples);
}

static void two_hosts_teach_nothing(void **state)
{
    struct hf_samples samples = {0};
    struct hf_buf trained = {0};
    struct hf_training training;
    (void)state;
    add_samples(&samples, 2, write_workflow);
    train(&samples, NULL, &trained, &training);
    assert_int_equal(training.samples, 0);
    assert_int_equal(trained.size, 0);
    samples_free(&samples);
}

/* Of 25 hosts five, which is less than a quarter, have something that the others don't have. */
static void what_less_than_a_quarter_of_the_hosts_have_is_not_learned(void **state)
{
    struct hf_samples samples = {0};
    struct hf_buf trained = {0};
    struct hf_training training;
    (void)state;
    add_samples(&samples, HOSTS, write_workflow);
    char text[1024];
    uint8_t id[HF_HASH_BYTES];
    for (unsigned host = 100; host < 100 + 4 * HOSTS; host++) {
        for (unsigned i = 0; i < FILES; i++) {
            size_t size = write_other(text, sizeof text, host * FILES + i, host);
            hf_sha256(text, size, id);
            assert_int_equal(
                samples_add(&samples, host, id, (struct hf_bytes){(uint8_t *)text, size}), HF_OK);
        }
    }
    train(&samples, NULL, &trained, &training);
    assert_true(trained.size > 0);
    assert_true(holds(&trained, "<firmware channel='stable'"));
    assert_false(holds(&trained, "\"state\": \"waiting for input\""));
    hf_buf_free(&trained);
    samples_free(&samples);
}

static void what_has_nothing_in_common_teaches_nothing(void **state)
{
    struct hf_samples samples = {0};
    struct hf_buf trained = {0};
    struct hf_training training;
    (void)state;
    train(&samples, NULL, &trained, &training);
    assert_int_equal(trained.size, 0);
    add_samples(&samples, HOSTS, write_noise);
    train(&samples, NULL, &trained, &training);
    assert_int_equal(trained.size, 0);
    samples_free(&samples);
}

static void one_that_still_pays_stays_and_one_that_does_not_is_replaced(void **state)
{
    struct hf_samples samples = {0};
    struct hf_buf first = {0};
    struct hf_buf second = {0};
    struct hf_training training;
    (void)state;
    add_samples(&samples, HOSTS, write_workflow);
    train(&samples, NULL, &first, &training);
    assert_true(first.size > 0);
    train(&samples, &first, &second, &training);
    assert_int_equal(second.size, 0); /* what it has learned once more is no better */
    assert_true(training.present_bytes > 0);
    samples_free(&samples);
    add_samples(&samples, HOSTS, write_other);
    train(&samples, &first, &second, &training);
    assert_true(second.size > 0);
    assert_false(holds(&second, "\"state\": \"waiting for input\""));
    samples_free(&samples);
    hf_buf_free(&first);
    hf_buf_free(&second);
}

static void samples_are_kept_once_and_bounded(void **state)
{
    struct hf_samples samples = {0};
    static uint8_t content[HF_DICTIONARY_CONTENT_MAX_BYTES];
    struct hf_bytes view = {content, sizeof content};
    uint8_t id[HF_HASH_BYTES] = {1};
    (void)state;
    assert_int_equal(samples_add(&samples, 1, id, view), HF_OK);
    assert_int_equal(samples_add(&samples, 1, id, view), HF_OK);
    assert_int_equal(samples.count, 1);
    assert_int_equal(samples_add(&samples, 2, id, view), HF_OK);
    assert_int_equal(samples.count, 2); /* it counts for both hosts, and is kept once */
    assert_true(samples.rows[1].repeated && !samples.rows[0].repeated);
    assert_int_equal(samples.bytes.size, sizeof content);
    assert_int_equal(samples_content(&samples, 1).size, sizeof content);
    int rc = HF_OK;
    for (unsigned i = 2; rc == HF_OK; i++) {
        hf_put_le32(id, i);
        rc = samples_add(&samples, 3, id, view);
    }
    assert_int_equal(rc, HF_ERR_LIMIT);
    assert_int_equal(samples.bytes.size, HF_SAMPLES_MAX_BYTES);
    /* What others have as well costs work all the same. */
    rc = HF_OK;
    for (unsigned host = 4; rc == HF_OK; host++) {
        hf_put_le32(id, 2);
        rc = samples_add(&samples, host, id, view);
    }
    assert_int_equal(rc, HF_ERR_LIMIT);
    assert_int_equal(samples.seen, HF_SAMPLES_MAX_SEEN_BYTES);
    samples_free(&samples);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_pays_is_adopted_and_holds_no_secret_of_one_host),
        cmocka_unit_test(two_hosts_teach_nothing),
        cmocka_unit_test(what_less_than_a_quarter_of_the_hosts_have_is_not_learned),
        cmocka_unit_test(what_has_nothing_in_common_teaches_nothing),
        cmocka_unit_test(one_that_still_pays_stays_and_one_that_does_not_is_replaced),
        cmocka_unit_test(samples_are_kept_once_and_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
