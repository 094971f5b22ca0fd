/* Dictionaries in the catalog: the newest of a class, and every one by its id. */
#include "catalog_fixture.h"

#include "common/dictionary.h"

/* One that was trained on files of that kind. */
static struct hf_buf trained(const char *kind)
{
    enum { COUNT = 600 };
    static size_t sizes[COUNT];
    struct hf_buf samples = {0};
    struct hf_buf out = {0};
    char text[256];
    for (unsigned i = 0; i < COUNT; i++) {
        int size = snprintf(text, sizeof text,
                            "{\"kind\": \"%s\", \"step\": %u, \"state\": \"waiting\", \"at\": "
                            "\"/var/lib/casare/%s/%08x.json\"}\n",
                            kind, i, kind, i * 2654435761u);
        sizes[i] = (size_t)size;
        assert_int_equal(hf_buf_append(&samples, text, sizes[i]), HF_OK);
    }
    assert_int_equal(
        hf_dictionary_train((struct hf_bytes){samples.data, samples.size}, sizes, COUNT, &out),
        HF_OK);
    hf_buf_free(&samples);
    return out;
}

static struct hf_event dictionary_event(const char *class_name, const struct hf_buf *bytes)
{
    struct hf_event event = {.type = HF_EVENT_DICTIONARY_TRAINED,
                             .actor = event_text("collector"),
                             .dictionary_trained = {.class_name = event_text(class_name),
                                                    .bytes = {bytes->data, bytes->size}}};
    hf_sha256(bytes->data, bytes->size, event.dictionary_trained.id);
    return event;
}

static void assert_newest(struct fixture *f, const char *class_name, const struct hf_event *event)
{
    uint8_t id[HF_HASH_BYTES];
    struct hf_buf bytes = {0};
    ok(f, catalog_dictionary_newest(f->reader, class_name, id, &f->error));
    assert_memory_equal(id, event->dictionary_trained.id, HF_HASH_BYTES);
    ok(f, catalog_dictionary_get(f->reader, id, &bytes, &f->error));
    assert_int_equal(bytes.size, event->dictionary_trained.bytes.size);
    assert_memory_equal(bytes.data, event->dictionary_trained.bytes.data, bytes.size);
    hf_buf_free(&bytes);
}

static void the_newest_of_a_class_counts_and_the_others_stay(void **state)
{
    struct fixture f = fixture_open();
    struct hf_buf bytes[2] = {trained("orders"), trained("invoices")};
    struct hf_event first = dictionary_event("workflows", &bytes[0]);
    struct hf_event second = dictionary_event("workflows", &bytes[1]);
    struct hf_event other = dictionary_event("config", &bytes[0]);
    struct hf_buf found = {0};
    uint8_t id[HF_HASH_BYTES];
    (void)state;
    assert_int_equal(catalog_dictionary_newest(f.reader, "workflows", id, &f.error),
                     HF_ERR_NOT_FOUND);
    assert_int_equal(
        catalog_dictionary_get(f.reader, first.dictionary_trained.id, &found, &f.error),
        HF_ERR_NOT_FOUND);
    ok(&f, commit(&f, &first));
    assert_int_equal(first.dictionary_trained.row, 1);
    assert_newest(&f, "workflows", &first);
    assert_int_equal(commit(&f, &first), HF_ERR_EXISTS);
    ok(&f, commit(&f, &second));
    ok(&f, commit(&f, &other));
    assert_newest(&f, "workflows", &second);
    assert_newest(&f, "config", &other);
    ok(&f, catalog_dictionary_get(f.reader, first.dictionary_trained.id, &found, &f.error));
    assert_int_equal(found.size, bytes[0].size);
    /* One that was replaced may come back. */
    ok(&f, commit(&f, &first));
    assert_newest(&f, "workflows", &first);
    /* Once more the same from the journal changes nothing. */
    ok(&f, catalog_begin(f.catalog, &f.error));
    ok(&f, catalog_apply(f.catalog, &first, &f.journal[0].location, &f.error));
    ok(&f, catalog_commit(f.catalog, &f.error));
    assert_newest(&f, "workflows", &first);
    assert_rebuild_equals(&f);
    hf_buf_free(&found);
    hf_buf_free(&bytes[0]);
    hf_buf_free(&bytes[1]);
    fixture_close(&f);
}

static void what_is_no_dictionary_or_has_another_id_or_class_is_refused(void **state)
{
    struct fixture f = fixture_open();
    struct hf_buf bytes = trained("orders");
    const struct hf_event good = dictionary_event("workflows", &bytes);
    char long_class[HF_NAME_MAX_BYTES + 2];
    (void)state;
    memset(long_class, 'a', sizeof long_class - 1);
    long_class[sizeof long_class - 1] = '\0';
    struct hf_event bad = good;
    bad.dictionary_trained.id[5] ^= 1;
    assert_int_equal(commit(&f, &bad), HF_ERR_INVALID);
    assert_non_null(strstr(f.error.message, "SHA-256"));
    bad = good;
    bad.dictionary_trained.class_name.size = 0;
    assert_int_equal(commit(&f, &bad), HF_ERR_INVALID);
    bad.dictionary_trained.class_name = event_text(long_class);
    assert_int_equal(commit(&f, &bad), HF_ERR_INVALID);
    bad = good;
    bad.dictionary_trained.bytes.size = 0;
    assert_int_equal(commit(&f, &bad), HF_ERR_INVALID);
    bad.dictionary_trained.bytes = event_text("some text and no dictionary");
    assert_int_equal(commit(&f, &bad), HF_ERR_INVALID);
    assert_non_null(strstr(f.error.message, "no trained dictionary"));
    struct hf_buf longer = {0};
    assert_int_equal(hf_buf_append(&longer, bytes.data, bytes.size), HF_OK);
    while (longer.size <= HF_DICTIONARY_MAX_BYTES) {
        assert_int_equal(hf_buf_append(&longer, bytes.data, bytes.size), HF_OK);
    }
    bad = dictionary_event("workflows", &longer);
    assert_int_equal(commit(&f, &bad), HF_ERR_INVALID);
    bad = good;
    ok(&f, commit(&f, &bad));
    hf_buf_free(&longer);
    hf_buf_free(&bytes);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newest_of_a_class_counts_and_the_others_stay),
        cmocka_unit_test(what_is_no_dictionary_or_has_another_id_or_class_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
