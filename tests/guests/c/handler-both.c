// Handlers of both versions; the one of 0.3.0 counts under "new", the other under "old".
#define ARENA (4 << 20)
#include "messaging.h"
#include "wasmcloud.h"

IMPORT("wasmcloud:keyvalue/store@0.2.0", "open") void store_open(const u8 *, u32, kv_result *);
IMPORT("[export]wasmcloud:messaging/handler@0.3.0", "[stream-drop-readable-0]handle-message") void body_drop(u32);

static kv_result result;
static u32 answer[4];

EXPORT("wasmcloud:messaging/handler@0.3.0#handle-message")
void *handle(const u8 *subject, u32 size, u32 stream, u32 wants_reply, const u8 *reply, u32 n) {
    (void)subject, (void)size, (void)wants_reply, (void)reply, (void)n;
    body_drop(stream);
    store_open((const u8 *)"seen", 4, &result);
    increment(result.words[0], (const u8 *)"new", 3, 1, &result);
    arena_top = 0;
    return answer;
}

EXPORT("wasmcloud:messaging/handler@0.2.0#handle-message")
void *handle_old(const u8 *s, u32 size, const u8 *body, u32 length, u32 wants_reply, const u8 *reply, u32 n) {
    (void)s, (void)size, (void)body, (void)length, (void)wants_reply, (void)reply, (void)n;
    __builtin_trap();
}
