/* Sessions that say nothing: asked whether they live, kept when they answer, ended when not. */
#include "tests/unit/collector/session/session_fixture.h"

static void wait_offline(struct site *site)
{
    for (int i = 0; i < PATIENCE_MS / 5 && hub_count(site->hub) > 0; i++) {
        usleep(5000);
    }
    assert_int_equal(hub_count(site->hub), 0);
}

static void a_silent_agent_is_pinged_and_without_an_answer_its_connection_ends(void **state)
{
    (void)state;
    struct site site = site_pinging(256u << 20, 1);
    struct agent agent = agent_enrol(&site);
    agent.mute = true;
    agent_open(&agent, &site);
    assert_false(agent_message(&agent, PATIENCE_MS)); /* nothing but the end comes */
    assert_int_equal(agent.pings, 1);
    wait_offline(&site);
    agent_free(&agent);
    site_free(&site);
}

static void an_agent_that_answers_pings_stays_however_silent_it_is(void **state)
{
    (void)state;
    struct site site = site_pinging(256u << 20, 3);
    struct agent agent = agent_enrol(&site);
    agent.pings_max = 3; /* a mute one ends before its second */
    agent_open(&agent, &site);
    assert_false(agent_message(&agent, PATIENCE_MS));
    assert_int_equal(agent.pings, 3);
    agent_open_source(&agent, 1, "config", 0);
    assert_int_equal(hub_count(site.hub), 1);
    agent_free(&agent);
    site_free(&site);
}

static void an_agent_that_sends_is_not_pinged(void **state)
{
    (void)state;
    struct site site = site_pinging(256u << 20, 2);
    struct agent agent = agent_enrol(&site);
    agent_open(&agent, &site);
    agent_open_source(&agent, 1, "config", 0);
    struct hf_frame mark = {.type = HF_FRAME_MARK,
                            .mark = {.stream = 1, .state = HF_SOURCE_WATCHING}};
    for (int i = 0; i < 20; i++) {
        mark.mark.until_ns = hf_clock_now_ns();
        assert_true(agent_send(&agent, &mark));
        assert_false(agent_message(&agent, 200));
    }
    assert_int_equal(agent.pings, 0);
    agent_free(&agent);
    site_free(&site);
}

/* A copy of an identity must not end the session of its owner, nor a connection that is dead keep
 * the owner out for long. */
static struct agent copy_comes(struct site *site, const struct agent *owner)
{
    struct agent copy = *owner;
    copy.input = copy.message = (struct hf_buf){0};
    copy.frame = (struct hf_frame){0};
    copy.sent_seq = copy.received_seq = 0;
    hf_random(copy.instance, sizeof copy.instance);
    agent_connect(&copy, site);
    struct hf_frame hello = hello_of(&copy);
    assert_true(agent_send(&copy, &hello));
    agent_expect_goaway(&copy, HF_WIRE_DUPLICATE);
    return copy;
}

static void a_session_that_a_copy_comes_up_against_stays_when_it_answers(void **state)
{
    (void)state;
    struct site site = site_new(256u << 20);
    struct agent owner = agent_enrol(&site);
    agent_open(&owner, &site);
    struct agent copy = copy_comes(&site, &owner);
    owner.pings_max = 1;
    assert_false(agent_message(&owner, PATIENCE_MS));
    assert_int_equal(owner.pings, 1);
    assert_false(agent_message(&owner, 7000)); /* longer than one that is dead would have */
    agent_open_source(&owner, 1, "config", 0);
    agent_hang_up(&copy);
    agent_free(&owner);
    site_free(&site);
}

static void a_session_that_a_copy_comes_up_against_ends_when_it_does_not(void **state)
{
    (void)state;
    struct site site = site_new(256u << 20);
    struct agent owner = agent_enrol(&site);
    owner.mute = true;
    agent_open(&owner, &site);
    struct agent copy = copy_comes(&site, &owner);
    assert_false(agent_message(&owner, PATIENCE_MS));
    wait_offline(&site);
    agent_hang_up(&copy);
    agent_free(&owner);
    site_free(&site);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_silent_agent_is_pinged_and_without_an_answer_its_connection_ends),
        cmocka_unit_test(an_agent_that_answers_pings_stays_however_silent_it_is),
        cmocka_unit_test(an_agent_that_sends_is_not_pinged),
        cmocka_unit_test(a_session_that_a_copy_comes_up_against_stays_when_it_answers),
        cmocka_unit_test(a_session_that_a_copy_comes_up_against_ends_when_it_does_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
