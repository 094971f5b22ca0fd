/* Errors: a code for the program, a sentence for people.
 *
 * Functions that can fail return 0 or a negative enum hf_err and, when the
 * caller passed a struct hf_error, leave there what failed, on what and why.
 * The struct is plain data and owned by the caller; it may be NULL.
 */
#ifndef HF_COMMON_ERROR_H
#define HF_COMMON_ERROR_H

enum hf_err {
    HF_OK = 0,
    HF_ERR_NO_MEMORY = -1,
    HF_ERR_IO = -2,      /* the operating system failed us; see sys_errno */
    HF_ERR_INVALID = -3, /* input that breaks its own rules */
    HF_ERR_LIMIT = -4,   /* input within its rules but over a limit */
    HF_ERR_CORRUPT = -5, /* stored data that does not verify */
    HF_ERR_NOT_FOUND = -6,
    HF_ERR_EXISTS = -7,
    HF_ERR_DENIED = -8,    /* authentication or authorisation */
    HF_ERR_AGAIN = -9,     /* not now; trying later is right */
    HF_ERR_PROTOCOL = -10, /* the peer broke the wire protocol */
    HF_ERR_CRYPTO = -11,   /* a cryptographic library call failed */
    HF_ERR_NO_SPACE = -12, /* disk, quota or budget is full */
    HF_ERR_TIMEOUT = -13,
    HF_ERR_CLOSED = -14, /* the other end or this object is closed */
    HF_ERR_UNSUPPORTED = -15,
    HF_ERR_CONFLICT = -16, /* the state does not allow it */
    HF_ERR_RACED = -17     /* the thing changed while it was read */
};

#define HF_ERROR_MESSAGE_BYTES 512

struct hf_error {
    enum hf_err code;
    int sys_errno; /* 0 when no system call was involved */
    char message[HF_ERROR_MESSAGE_BYTES];
};

/* Fill *error and return code, so that `return hf_error_set(...)` reads well.
 * When sys_errno is not 0 its text is appended after ": ". Cuts at the buffer's end. */
int hf_error_set(struct hf_error *error, enum hf_err code, int sys_errno, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Put "context: " before the message already in *error; returns error->code
 * (HF_ERR_INVALID when error is NULL). */
int hf_error_prefix(struct hf_error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Short fixed name of a code, "no space" for HF_ERR_NO_SPACE; never NULL. */
const char *hf_error_name(enum hf_err code);

#endif
