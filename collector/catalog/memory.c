#include "collector/catalog/memory.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES ((size_t)16 * 1024)

struct block {
    struct block *next;
    size_t used, size;
    alignas(max_align_t) uint8_t data[];
};

static struct block *add_block(struct hf_catalog_memory *memory, size_t size)
{
    size_t whole;
    struct block *block = NULL;
    if (!__builtin_add_overflow(sizeof *block, size, &whole)) {
        block = malloc(whole);
    }
    if (!block) {
        memory->exhausted = true;
        return NULL;
    }
    block->used = 0;
    block->size = size;
    block->next = memory->blocks;
    memory->blocks = block;
    return block;
}

void *memory_take(struct hf_catalog_memory *memory, size_t size)
{
    struct block *block = memory->blocks;
    size_t rounded;
    if (__builtin_add_overflow(size, alignof(max_align_t) - 1, &rounded)) {
        memory->exhausted = true;
        return NULL;
    }
    rounded &= ~(alignof(max_align_t) - 1);
    if (!block || block->size - block->used < rounded) {
        block = add_block(memory, rounded > BLOCK_BYTES ? rounded : BLOCK_BYTES);
        if (!block) {
            return NULL;
        }
    }
    void *taken = block->data + block->used;
    block->used += rounded;
    memset(taken, 0, rounded);
    return taken;
}

void *memory_take_array(struct hf_catalog_memory *memory, size_t count, size_t size)
{
    size_t whole;
    if (__builtin_mul_overflow(count, size, &whole)) {
        memory->exhausted = true;
        return NULL;
    }
    return memory_take(memory, whole);
}

struct hf_bytes memory_copy_bytes(struct hf_catalog_memory *memory, const void *data, size_t size)
{
    /* A NUL follows, so that a path can be printed as it is. */
    uint8_t *copy = memory_take(memory, size + 1);
    if (!copy) {
        return (struct hf_bytes){.data = (const uint8_t *)"", .size = 0};
    }
    if (size > 0) {
        memcpy(copy, data, size);
    }
    return (struct hf_bytes){.data = copy, .size = size};
}

const char *memory_copy_text(struct hf_catalog_memory *memory, const void *data, size_t size)
{
    return (const char *)memory_copy_bytes(memory, data, size).data;
}

void *memory_add_row(struct hf_catalog_memory *memory, struct memory_rows *rows)
{
    if (rows->count == rows->capacity) {
        size_t capacity = rows->capacity ? rows->capacity * 2 : 16;
        void *grown = memory_take_array(memory, capacity, rows->size);
        if (!grown) {
            return NULL;
        }
        if (rows->count > 0) {
            memcpy(grown, rows->rows, rows->count * rows->size);
        }
        rows->rows = grown;
        rows->capacity = capacity;
    }
    return (uint8_t *)rows->rows + rows->size * rows->count++;
}

void catalog_memory_free(struct hf_catalog_memory *memory)
{
    struct block *block = memory->blocks;
    while (block) {
        struct block *next = block->next;
        free(block);
        block = next;
    }
    *memory = (struct hf_catalog_memory){0};
}
