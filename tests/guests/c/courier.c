// Sends what it is told through wasmcloud:messaging@0.3.0, under the label `kit`.
#define ARENA (4 << 20)
#include "messaging.h"

CONSUMER(kit)

static message_result result;
static u8 answer[1 << 20];

#define SEND(name, as)                                                                                   \
    EXPORT("cabi_post_tests:guests/send#" name) void as##_taken(const void *r) { (void)r, arena_top = 0; } \
    EXPORT("tests:guests/send#" name) void *as

SEND("publish", do_publish)(const u8 *subject, u32 size, const u8 *body, u32 length, u32 some, const u8 *reply, u32 n) {
    kit_publish((text){subject, size}, (text){body, length}, some, (text){reply, n}, &result);
    return &result;
}

SEND("request", do_request)(const u8 *subject, u32 size, const u8 *body, u32 length, u32 timed, u32 timeout) {
    u64 ends = kit_new();
    sent_request request = {{subject, size}, (u32)ends, timed, timeout};
    u32 status = kit_start_request(&request, &result), total = 0, code = 0;
    kit_send_body((u32)(ends >> 32), (text){body, length});
    await_call(status);
    if (result.failed) return &result;
    u32 stream = result.words[3];
    while ((code & 15) != DROPPED && total < sizeof answer) {
        code = await_copy(stream, kit_read(stream, answer + total, sizeof answer - total));
        total += code >> 4;
    }
    kit_drop(stream);
    result.words[3] = (u32)answer, result.words[4] = total;
    return &result;
}
