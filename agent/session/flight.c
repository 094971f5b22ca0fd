#include "agent/session/flight.h"

#include <stdlib.h>
#include <string.h>

#include "common/hash.h"

void flights_init(struct hf_flights *flights)
{
    *flights = (struct hf_flights){0};
    flights->last = &flights->first;
}

void flight_free(struct hf_flight *flight)
{
    if (!flight)
        return;
    free(flight->needed);
    free(flight);
}

static struct hf_flight *take_out(struct hf_flights *flights, struct hf_flight **at)
{
    struct hf_flight *flight = *at;
    *at = flight->next;
    if (flights->last == &flight->next)
        flights->last = at;
    flights->count--;
    flights->bytes -= flight->unit->bytes;
    if (flight->request && !flight->answered)
        flights->asked_bytes -= flight->unit->chunk_count * HF_HASH_BYTES;
    return flight;
}

void flights_clear(struct hf_flights *flights)
{
    while (flights->first)
        flight_free(take_out(flights, &flights->first));
}

struct hf_flight *flights_add(struct hf_flights *flights, const struct hf_unit *unit, unsigned rank,
                              bool asks)
{
    struct hf_flight *flight = calloc(1, sizeof(*flight));
    if (!flight)
        return NULL;
    flight->unit = unit;
    flight->rank = rank;
    flights->count++;
    flights->bytes += unit->bytes;
    if (asks) {
        flight->request = ++flights->last_request;
        flights->asked_bytes += unit->chunk_count * HF_HASH_BYTES;
    }
    *flights->last = flight;
    flights->last = &flight->next;
    return flight;
}

bool flights_answer(struct hf_flights *flights, uint64_t request, const uint8_t *bitmap,
                    size_t size)
{
    struct hf_flight *flight = flights->first;
    while (flight && (flight->request != request || flight->answered || request == 0))
        flight = flight->next;
    if (!flight) /* of a unit that was dropped meanwhile, or never asked */
        return request != 0 && request <= flights->last_request;
    if (size != (flight->unit->chunk_count + 7) / 8)
        return false;
    flight->needed = malloc(size);
    if (flight->needed) /* without memory for the answer, send everything: it is only slower */
        memcpy(flight->needed, bitmap, size);
    flight->answered = true;
    flights->asked_bytes -= flight->unit->chunk_count * HF_HASH_BYTES;
    return true;
}

static bool waits(const struct hf_flight *flight)
{
    return flight->request && !flight->answered;
}

struct hf_flight *flights_take_ready(struct hf_flights *flights, unsigned last_rank)
{
    struct hf_flight **best = NULL;
    for (struct hf_flight **at = &flights->first; *at; at = &(*at)->next) {
        const struct hf_flight *earlier = flights->first;
        while (earlier != *at && !(earlier->unit->source == (*at)->unit->source))
            earlier = earlier->next;
        if (earlier == *at && !waits(*at) && (*at)->rank <= last_rank &&
            (!best || (*at)->rank < (*best)->rank))
            best = at;
    }
    return best ? take_out(flights, best) : NULL;
}

void flights_drop_source(struct hf_flights *flights, size_t source)
{
    struct hf_flight **at = &flights->first;
    while (*at) {
        if ((*at)->unit->source == source)
            flight_free(take_out(flights, at));
        else
            at = &(*at)->next;
    }
}
