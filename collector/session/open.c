/* From an upgraded connection to an open session, and its parts' end. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/net/loop.h"
#include "collector/session/connection.h"
#include "common/bytes.h"
#include "common/clock.h"
#include "common/log.h"

#define DUPLICATE_RETRY_MS 5000

/* --- admission --- */

static void admit_work(struct session_work *work, struct hf_catalog_reader *catalog)
{
    work->rc =
        identity_admit(catalog, work->session->host_id, &work->session->host_row, &work->error);
}

static void admit_done(struct session_work *work)
{
    struct hf_session *session = work->session;
    if (session->gone || session->state == SESSION_CLOSING) {
        free(work); /* revoked, or shut down, while it was asked */
        return;
    }
    if (work->rc == HF_OK) {
        session->state = SESSION_GREETING;
        reading_resume(session, HOLD_ADMISSION);
        rounds_expect_hello(session);
    } else {
        session_refuse(session, work->rc == HF_ERR_DENIED ? HF_WIRE_REVOKED : HF_WIRE_DENIED,
                       work->error.message);
    }
    free(work);
}

void session_admit(struct hf_session *session)
{
    struct session_work *work = calloc(1, sizeof *work);
    session->state = SESSION_ADMITTING;
    reading_hold(session, HOLD_ADMISSION);
    if (work) {
        work->work = admit_work;
        work->done = admit_done;
    }
    if (!work || session_run(session, work) != HF_OK) {
        free(work);
        session_goaway(session, HF_WIRE_OVERLOADED, 5000, "The collector is too busy");
    }
}

/* --- HELLO --- */

static void note_host_seen(struct hf_session *session, const struct hf_hello *hello)
{
    char actor[160];
    snprintf(actor, sizeof actor, "host %s", session->host_id);
    struct hf_event event = {
        .type = HF_EVENT_HOST_SEEN,
        .actor = event_text(actor),
        .host_seen = {.host_id = event_text(session->host_id),
                      .hostname = hello->hostname,
                      .machine_id = hello->machine_id,
                      .os = hello->os,
                      .agent_version = hello->agent_version,
                      .address = event_text(session->peer)},
    };
    ingest_commit_async(session->sessions->options.ingest, &event, NULL, NULL);
}

static void audit_duplicate(struct hf_session *session, const struct hf_session *other)
{
    char detail[200];
    snprintf(detail, sizeof detail, "from %s while a session from %s lives", session->peer,
             other->peer);
    refused_audit(session->sessions, session->host_id, "session.duplicate", detail);
}

/* One identity, one session. The same agent process coming back takes over; anybody else is
 * refused, and the older session is asked whether it still lives. */
static bool claim_identity(struct hf_session *session)
{
    struct hf_hub *hub = session->sessions->options.hub;
    struct hf_session *other = hub_register(hub, session->host_id, session, session->peer);
    if (!other) {
        session->registered = true;
        return true;
    }
    if (memcmp(other->instance, session->instance, HF_INSTANCE_BYTES) == 0) {
        hf_log_info("Host %s came back from %s before its old connection was seen to end",
                    session->host_id, session->peer);
        session_close_parts(other);
        session_goaway(other, HF_WIRE_DUPLICATE, 0, "The same agent has a newer connection");
        session->registered = hub_register(hub, session->host_id, session, session->peer) == NULL;
        return session->registered;
    }
    hub_note_duplicate(hub, session->host_id);
    hub_count_refusal(hub, HF_WIRE_DUPLICATE);
    audit_duplicate(session, other);
    hf_log_warning("A second session of host %s, from %s, is refused: one from %s lives. Was its "
                   "identity copied? If so: holdfast host revoke %s",
                   session->host_id, session->peer, other->peer, session->host_id);
    rounds_probe(other); /* does it live? */
    session_goaway(session, HF_WIRE_DUPLICATE, DUPLICATE_RETRY_MS,
                   "Another live session has this identity");
    return false;
}

static void welcome(struct hf_session *session, bool dictionaries)
{
    static const struct hf_bytes capabilities[] = {
        {(const uint8_t *)HF_CAPABILITY_DICTIONARIES, sizeof HF_CAPABILITY_DICTIONARIES - 1}};
    struct hf_ingest_reply *reply = session_frame(HF_FRAME_WELCOME);
    if (!reply) {
        return;
    }
    ingest_chunking_seed(session->sessions->options.ingest, session->chunking);
    reply->frame.welcome = (struct hf_welcome){
        .version = HF_PROTO_VERSION,
        .capabilities = capabilities,
        .capability_count = dictionaries ? 1 : 0,
        .host_id = event_text(session->host_id),
        .session = session->id,
        .now_ns = hf_clock_now_ns(),
        .credit_bytes = session->credit_total,
        .frame_max_bytes = HF_FRAME_MAX_BYTES,
        .ping_seconds = session->sessions->options.ping_s,
        .chunking = {session->chunking, sizeof session->chunking},
    };
    session_send(session, reply);
}

static void hurry(void *context, bool on)
{
    struct hf_session *session = context;
    ingest_session_hurry(session->ingest, on);
}

static int open_parts(struct hf_session *session, int64_t skew_ns)
{
    struct hf_sessions *sessions = session->sessions;
    session->ingest = ingest_session_open(sessions->options.ingest, session->host_row,
                                          session->host_id, skew_ns, mail_deliver, session);
    struct hf_restore_options options = {
        .ingest = sessions->options.ingest,
        .host_row = session->host_row,
        .host_id = session->host_id,
        .send = mail_deliver,
        .hurry = hurry,
        .context = session,
    };
    return session->ingest ? restore_open(&options, &session->restore) : HF_ERR_NO_MEMORY;
}

void session_on_hello(struct hf_session *session, const struct hf_frame *frame)
{
    const struct hf_hello *hello = &frame->hello;
    char text[128];
    bool dictionaries = proto_has_capability(hello->capabilities, hello->capability_count,
                                             HF_CAPABILITY_DICTIONARIES);
    if (hello->version_min > HF_PROTO_VERSION || hello->version_max < HF_PROTO_VERSION) {
        snprintf(text, sizeof text,
                 "This collector speaks version %d of the protocol, the agent %u to %u: %s",
                 HF_PROTO_VERSION, hello->version_min, hello->version_max,
                 hello->version_min > HF_PROTO_VERSION ? "update the collector"
                                                       : "update the agent");
        session_refuse(session, HF_WIRE_VERSION, text);
        return;
    }
    memcpy(session->instance, hello->instance.data, HF_INSTANCE_BYTES);
    if (!claim_identity(session)) {
        return;
    }
    int64_t now_ns = hf_clock_now_ns();
    credit_begin(session);
    if (open_parts(session, now_ns - hello->now_ns) != HF_OK) {
        session_goaway(session, HF_WIRE_OVERLOADED, 10000, "The collector is out of memory");
        return;
    }
    session->state = SESSION_OPEN;
    rounds_heard(session);
    note_host_seen(session, hello);
    if (dictionaries) {
        ingest_session_take_dictionaries(session->ingest);
    }
    welcome(session, dictionaries);
    restore_wake(session->restore);
    hf_log_info("Host %s (%.*s) is online from %s", session->host_id, (int)hello->hostname.size,
                (const char *)hello->hostname.data, session->peer);
}

void session_close_parts(struct hf_session *session)
{
    if (session->registered) {
        hub_remove(session->sessions->options.hub, session->host_id, session);
        session->registered = false;
        hf_log_info("Host %s is offline", session->host_id);
    }
    restore_close(session->restore); /* first: it calls what needs the other */
    session->restore = NULL;
    if (session->ingest) {
        ingest_session_close(session->ingest);
        session->ingest = NULL;
    }
}
