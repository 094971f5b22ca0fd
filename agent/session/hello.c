#include "agent/session/hello.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/clock.h"
#include "common/fs.h"
#include "common/hash.h"

#define FACT_FILE_MAX_BYTES    (16u * 1024u)
#define MACHINE_ID_SHOWN_BYTES 16u

/* machine-id(5) asks that the id itself stays on the machine and a keyed hash of it is shown. */
static void read_machine_id(char out[HF_HELLO_TEXT_BYTES])
{
    struct hf_buf text = {0};
    out[0] = '\0';
    if (!hf_read_file("/etc/machine-id", FACT_FILE_MAX_BYTES, &text, NULL) && text.size >= 32) {
        static const char purpose[] = "holdfast machine";
        uint8_t hash[HF_HASH_BYTES];
        hf_hmac_sha256(text.data, 32, purpose, sizeof(purpose) - 1, hash);
        hf_hex_encode(hash, MACHINE_ID_SHOWN_BYTES, out);
    }
    hf_buf_free(&text);
}

static void read_os(char out[HF_HELLO_TEXT_BYTES])
{
    static const char key[] = "PRETTY_NAME=";
    struct hf_buf text = {0};
    struct utsname names;
    snprintf(out, HF_HELLO_TEXT_BYTES, "%.200s", uname(&names) ? "Linux" : names.sysname);
    if (!hf_read_file("/etc/os-release", FACT_FILE_MAX_BYTES, &text, NULL) &&
        !hf_buf_terminate(&text)) {
        char *rest = (char *)text.data;
        for (char *line; (line = strsep(&rest, "\n"));) {
            if (strncmp(line, key, sizeof(key) - 1) != 0)
                continue;
            char *value = line + sizeof(key) - 1;
            value += *value == '"';
            value[strcspn(value, "\"")] = '\0';
            snprintf(out, HF_HELLO_TEXT_BYTES, "%.200s", value);
        }
    }
    hf_buf_free(&text);
}

void hello_read_facts(struct hf_hello_facts *facts)
{
    memset(facts, 0, sizeof(*facts));
    if (gethostname(facts->hostname, sizeof(facts->hostname) - 1) || !facts->hostname[0])
        strcpy(facts->hostname, "unnamed");
    read_machine_id(facts->machine_id);
    read_os(facts->os);
    hf_random(facts->instance, sizeof(facts->instance));
}

static struct hf_bytes text_bytes(const char *text)
{
    return (struct hf_bytes){(const uint8_t *)text, strlen(text)};
}

void hello_frame(const struct hf_hello_facts *facts, struct hf_frame *frame)
{
    static const struct hf_bytes capabilities[] = {
        {(const uint8_t *)HF_CAPABILITY_DICTIONARIES, sizeof(HF_CAPABILITY_DICTIONARIES) - 1}};
    *frame = (struct hf_frame){
        .type = HF_FRAME_HELLO,
        .hello = {.version_min = HF_PROTO_VERSION,
                  .version_max = HF_PROTO_VERSION,
                  .capabilities = capabilities,
                  .capability_count = 1,
                  .agent_version = text_bytes(HF_VERSION),
                  .hostname = text_bytes(facts->hostname),
                  .machine_id = text_bytes(facts->machine_id),
                  .os = text_bytes(facts->os),
                  .now_ns = hf_clock_now_ns(),
                  .instance = {facts->instance, sizeof(facts->instance)}},
    };
}
