// Sends what it is told through wasmcloud:messaging@0.2.0, under the label `kit`.
#define ARENA (4 << 20)
#include "abi.h"

typedef union {
    u8 failed;
    u32 words[8];
} result_words;

IMPORT("kit", "publish")
void kit_publish(const u8 *, u32, const u8 *, u32, u32, const u8 *, u32, result_words *);
IMPORT("kit", "request") void kit_request(const u8 *, u32, const u8 *, u32, u32, result_words *);

static result_words result;

#define SEND(name, as)                                                                                       \
    EXPORT("cabi_post_tests:guests/send-old#" name) void as##_taken(const void *r) { (void)r, arena_top = 0; } \
    EXPORT("tests:guests/send-old#" name) void *as

SEND("publish", do_publish)(const u8 *subject, u32 size, const u8 *body, u32 length, u32 some, const u8 *reply, u32 n) {
    kit_publish(subject, size, body, length, some, reply, n, &result);
    return &result;
}

SEND("request", do_request)(const u8 *subject, u32 size, const u8 *body, u32 length, u32 timeout) {
    kit_request(subject, size, body, length, timeout, &result);
    return &result;
}
