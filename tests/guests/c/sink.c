// Takes messages of wasmcloud:messaging@0.3.0, reads their bodies, and does nothing with them.
#define ARENA (1 << 20)
#include "messaging.h"

#define HANDLER "wasmcloud:messaging/handler@0.3.0"
IMPORT("[export]" HANDLER, "[async-lower][stream-read-0]handle-message") u32 body_read(u32, u8 *, u32);
IMPORT("[export]" HANDLER, "[stream-drop-readable-0]handle-message") void body_drop(u32);

static u8 body[1 << 17];
static u32 answer[4];

EXPORT(HANDLER "#handle-message")
void *handle(const u8 *subject, u32 size, u32 stream, u32 wants_reply, const u8 *reply, u32 n) {
    (void)subject, (void)size, (void)wants_reply, (void)reply, (void)n;
    u32 code = 0;
    while ((code & 15) != DROPPED) code = await_copy(stream, body_read(stream, body, sizeof body));
    body_drop(stream);
    arena_top = 0;
    return answer;
}
