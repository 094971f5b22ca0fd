/* The one way between threads: a closable FIFO of owned messages. Messages are
 * intrusive: embed struct hf_queue_item first in the message. Pushing hands over
 * ownership. All functions may be called from any thread. */
#ifndef HF_COMMON_QUEUE_H
#define HF_COMMON_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hf_queue_item {
    struct hf_queue_item *next;
};

struct hf_queue;

struct hf_queue *hf_queue_new(void);
/* The queue must be empty or `release` given for what is left. */
void hf_queue_free(struct hf_queue *queue, void (*release)(struct hf_queue_item *item));

/* False when the queue is closed: the caller still owns the item. */
bool hf_queue_push(struct hf_queue *queue, struct hf_queue_item *item);
/* Called after a push found the queue empty, with no lock held; for waking an event loop. */
void hf_queue_set_wake(struct hf_queue *queue, void (*wake)(void *context), void *context);
/* Next item, or NULL when the queue is closed and empty, or after timeout_ms
 * (-1: wait for ever, 0: don't wait). */
struct hf_queue_item *hf_queue_pop(struct hf_queue *queue, int timeout_ms);
/* Everything at once as a linked list (oldest first), NULL when empty; the timeout as above. */
struct hf_queue_item *hf_queue_pop_all(struct hf_queue *queue, int timeout_ms);
/* No more pushes; waiting pops return. */
void hf_queue_close(struct hf_queue *queue);
size_t hf_queue_count(struct hf_queue *queue);

#endif
