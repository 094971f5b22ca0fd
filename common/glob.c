#include "common/glob.h"

#include <stdint.h>
#include <string.h>

#define PATTERN_BYTES_MAX 1024

enum token_kind { TOKEN_END, TOKEN_BYTE, TOKEN_ANY_BYTE, TOKEN_CLASS, TOKEN_STAR, TOKEN_DEEP };

struct token {
    enum token_kind kind;
    unsigned char byte;
    const char *class_text; /* after '[' */
    const char *next;
};

/* Past a class's ']', NULL when unclosed; "[]a]" and "[!]a]" hold a ']'. */
static const char *class_end(const char *p)
{
    p += *p == '!' || *p == '^';
    p += *p == ']';
    for (; *p && *p != ']'; p++) {
        if (*p == '\\' && p[1]) {
            p++;
        }
    }
    return *p ? p + 1 : NULL;
}

static struct token read_token(const char *p)
{
    struct token token = {.kind = TOKEN_BYTE, .byte = (unsigned char)*p, .next = p + 1};
    switch (*p) {
    case '\0':
        token.kind = TOKEN_END;
        token.next = p;
        break;
    case '?':
        token.kind = TOKEN_ANY_BYTE;
        break;
    case '\\':
        token.byte = (unsigned char)p[1];
        token.next = p + 2;
        break;
    case '[':
        token.kind = TOKEN_CLASS;
        token.class_text = p + 1;
        token.next = class_end(p + 1);
        break;
    case '*':
        token.kind = p[1] == '*' ? TOKEN_DEEP : TOKEN_STAR;
        token.next = p + strspn(p, "*");
        break;
    default:
        break;
    }
    return token;
}

static bool class_has(const char *p, unsigned char byte)
{
    bool negated = *p == '!' || *p == '^';
    bool found = false;
    p += negated;
    for (bool first = true; first || *p != ']'; first = false) {
        p += *p == '\\';
        unsigned char low = (unsigned char)*p++;
        unsigned char high = low;
        if (*p == '-' && p[1] != ']') {
            p++;
            p += *p == '\\';
            high = (unsigned char)*p++;
        }
        found = found || (byte >= low && byte <= high);
    }
    return found != negated && byte != '/';
}

static bool token_takes(const struct token *token, unsigned char byte)
{
    switch (token->kind) {
    case TOKEN_BYTE:
        return token->byte == byte;
    case TOKEN_ANY_BYTE:
        return byte != '/';
    case TOKEN_CLASS:
        return class_has(token->class_text, byte);
    default:
        return false;
    }
}

/* The positions in the pattern at which a match may stand, as a bit set: the pattern's bytes are at
 * most PATTERN_BYTES_MAX, so each byte of the path costs a bounded sweep and nothing backtracks. */
struct states {
    uint64_t words[PATTERN_BYTES_MAX / 64 + 1];
};

static bool has(const struct states *states, size_t index)
{
    return states->words[index / 64] >> (index % 64) & 1;
}

static void add(struct states *states, size_t index)
{
    states->words[index / 64] |= UINT64_C(1) << (index % 64);
}

enum place { PLACE_INSIDE, PLACE_COMPONENT_START };

/* Stars may match nothing: step over them. Where a component begins, "**" followed by '/' may match
 * nothing together with it, so that a slash-star-star-slash spans zero directories too. Elsewhere
 * it may not: the "**" has begun a component that only a '/' ends, or else it would match the front
 * part of a name. */
static void close_over(const char *pattern, size_t length, enum place place, struct states *states)
{
    for (size_t i = 0; i < length; i++) {
        if (!has(states, i)) {
            continue;
        }
        struct token token = read_token(pattern + i);
        if (token.kind != TOKEN_STAR && token.kind != TOKEN_DEEP) {
            continue;
        }
        size_t next = (size_t)(token.next - pattern);
        add(states, next);
        bool at_start = i == 0 || pattern[i - 1] == '/';
        if (token.kind == TOKEN_DEEP && place == PLACE_COMPONENT_START && at_start &&
            pattern[next] == '/') {
            add(states, next + 1);
        }
    }
}

static void step(const char *pattern, size_t length, const struct states *from, unsigned char byte,
                 struct states *to)
{
    memset(to, 0, sizeof *to);
    for (size_t i = 0; i < length; i++) {
        if (!has(from, i)) {
            continue;
        }
        struct token token = read_token(pattern + i);
        if (token.kind == TOKEN_DEEP || (token.kind == TOKEN_STAR && byte != '/')) {
            add(to, i);
        } else if (token_takes(&token, byte)) {
            add(to, (size_t)(token.next - pattern));
        }
    }
    close_over(pattern, length, byte == '/' ? PLACE_COMPONENT_START : PLACE_INSIDE, to);
}

int hf_glob_check(const char *pattern, struct hf_error *error)
{
    size_t length = strlen(pattern);
    if (length == 0) {
        return hf_error_set(error, HF_ERR_INVALID, 0, "a pattern is empty");
    }
    if (length > PATTERN_BYTES_MAX) {
        return hf_error_set(error, HF_ERR_INVALID, 0, "a pattern is longer than %d bytes",
                            PATTERN_BYTES_MAX);
    }
    if (pattern[0] == '/' || pattern[length - 1] == '/' || strstr(pattern, "//")) {
        return hf_error_set(error, HF_ERR_INVALID, 0,
                            "pattern '%.200s' begins or ends with '/' or has '//', as no path does "
                            "that it is compared with; write cache/** for all beneath a directory",
                            pattern);
    }
    for (const char *p = pattern; *p;) {
        if (*p == '\\' && !p[1]) {
            return hf_error_set(error, HF_ERR_INVALID, 0,
                                "pattern '%.200s' ends with a backslash that escapes nothing",
                                pattern);
        }
        struct token token = read_token(p);
        if (!token.next) {
            return hf_error_set(error, HF_ERR_INVALID, 0,
                                "pattern '%.200s' has a '[' without its ']'", pattern);
        }
        p = token.next;
    }
    return HF_OK;
}

static const char *last_component(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Run the pattern over the path; *final gets the states after its last byte. */
static size_t run(const char *pattern, const char *path, struct states *final)
{
    struct states other;
    size_t length = strlen(pattern);
    memset(final, 0, sizeof *final);
    add(final, 0);
    close_over(pattern, length, PLACE_COMPONENT_START, final);
    for (; *path; path++) {
        step(pattern, length, final, (unsigned char)*path, &other);
        *final = other;
    }
    return length;
}

bool hf_glob_match(const char *pattern, const char *path)
{
    struct states final;
    if (hf_glob_check(pattern, NULL) != HF_OK) {
        return false;
    }
    if (!strchr(pattern, '/')) {
        path = last_component(path);
    }
    size_t length = run(pattern, path, &final);
    return has(&final, length);
}

bool hf_glob_may_match_beneath(const char *pattern, const char *path)
{
    struct states final;
    struct states beneath;
    if (hf_glob_check(pattern, NULL) != HF_OK) {
        return false;
    }
    if (!strchr(pattern, '/')) {
        return true; /* matches a last component at any depth */
    }
    size_t length = run(pattern, path, &final);
    if (*path) {
        step(pattern, length, &final, '/', &beneath);
        final = beneath;
    }
    for (size_t i = 0; i < length; i++) {
        if (has(&final, i)) {
            return true; /* something of the pattern is left to match what is beneath */
        }
    }
    return false;
}
