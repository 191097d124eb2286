// Handles messages of wasmcloud:messaging@0.3.0 as their bodies say, and counts them; see wit/messaging.wit.
#define ARENA (4 << 20)
#include "messaging.h"
#include "wasmcloud.h"
#include "orders.h"

#define HANDLER "wasmcloud:messaging/handler@0.3.0"

CONSUMER(audit)

IMPORT("wasmcloud:keyvalue/store@0.2.0", "open") void store_open(const u8 *, u32, kv_result *);
IMPORT("[export]" HANDLER, "[async-lower][stream-read-0]handle-message") u32 body_read(u32, u8 *, u32);
IMPORT("[export]" HANDLER, "[stream-drop-readable-0]handle-message") void body_drop(u32);

static kv_result result;
static u8 body[1 << 20];
static struct {
    u32 failed, error;
    text said;
} answer;

// Count the message and return how often it has been seen.
static u32 count(text key) {
    store_open((const u8 *)"seen", 4, &result);
    if (result.failed) __builtin_trap();
    u32 bucket = result.words[0];
    increment(bucket, key.data, key.size < 1000 ? key.size : 1000, 1, &result);
    if (result.failed) __builtin_trap();
    bucket_drop(bucket);
    return result.words[1];
}

EXPORT("cabi_post_" HANDLER "#handle-message") void taken(const void *r) { (void)r, arena_top = 0; }
EXPORT(HANDLER "#handle-message")
void *handle(const u8 *subject, u32 size, u32 stream, u32 wants_reply, const u8 *reply, u32 n) {
    (void)subject, (void)size;
    u32 total = 0, code = 0;
    while ((code & 15) != DROPPED && total < sizeof body) {
        code = await_copy(stream, body_read(stream, body + total, sizeof body - total));
        total += code >> 4;
    }
    body_drop(stream);
    text said = {body, total};
    u32 tries = count(said);
    message_result sent;
    if (wants_reply) audit_publish((text){reply, n}, said, 0, TEXT(""), &sent);
    u32 outcome = obey(said, tries);
    answer.failed = outcome != HANDLED;
    answer.error = outcome == REJECT ? 0 : outcome == RETRY ? 1 : 2;
    answer.said = TEXT("as I was told");
    return &answer;
}
