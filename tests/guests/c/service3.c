// The smallest service of wasi:http 0.3: says hello; with WAITING, 100 ms after it was asked; with YIELDING, when
// everybody else has had so many turns.
#include "service3.h"

#define YIELDS 100
#define WAITS 3

IMPORT(HTTP, "[stream-new-0]" NEW) u64 body_new(void);
IMPORT(HTTP, "[async-lower][stream-write-0]" NEW) u32 body_write(u32, const u8 *, u32);
IMPORT(HTTP, "[stream-drop-writable-0]" NEW) void body_drop(u32);
#ifdef WAITING
IMPORT("wasi:clocks/monotonic-clock@0.3.0", "[async-lower]wait-for") u32 wait_for(u64);
#endif

typedef struct {
    u32 used, set, body, trailers, turns;
} call;
static call calls[MOST];
// result<option<trailers>, error-code>: ok, and there are none
static const u64 no_trailers[8];

static u32 await(call *c, u32 waitable) {
    if (!c->set) c->set = set_new();
    join(waitable, c->set);
    return WAIT | c->set << 4;
}

static u32 leave(call *c) {
    trailers_drop(c->trailers);
    if (c->set) set_drop(c->set);
    *c = (call){0};
    return EXIT;
}

static u32 end(call *c) {
    body_drop(c->body);
    return trailers_write(c->trailers, no_trailers) == BLOCKED ? await(c, c->trailers) : leave(c);
}

static u32 respond(call *c) {
    u64 body = body_new(), trailers = trailers_new();
    u32 headers = fields_new(), made[2], failed[4];
    append(headers, TEXT("content-length").data, 14, TEXT("13").data, 2, failed);
    c->body = (u32)(body >> 32);
    c->trailers = (u32)(trailers >> 32);
    response_new(headers, 1, (u32)body, (u32)trailers, made);
    outcome_drop(made[1]);
    task_return(0, made[0], 0, 0, 0, 0, 0, 0);
    text hello = TEXT("hello, world\n");
    return body_write(c->body, hello.data, hello.size) == BLOCKED ? await(c, c->body) : end(c);
}

EXPORT("[async-lift]" HANDLER "#handle") u32 handle(u32 request) {
    u32 i = 0;
    while (calls[i].used)
        if (++i == MOST) __builtin_trap();
    call *c = &calls[i];
    c->used = 1;
    context_set(i);
    request_drop(request);
#ifdef WAITING
    // Several at once, so that it has several events to take.
    u32 code = 0;
    for (int n = 0; n < WAITS; n++) {
        u32 status = wait_for(100000000);
        if ((status & 15) != RETURNED) code = await(c, status >> 4), c->turns++;
    }
    if (code) return code;
#endif
#ifdef YIELDING
    return YIELD;
#else
    return respond(c);
#endif
}

EXPORT("[callback][async-lift]" HANDLER "#handle") u32 resume(u32 event, u32 waitable, u32 code) {
    call *c = &calls[context_get()];
    if (event == EVENT_NONE) return ++c->turns < YIELDS ? YIELD : respond(c);
    if (event != EVENT_SUBTASK || code == RETURNED) join(waitable, 0);
    switch (event) {
    case EVENT_SUBTASK:
        if (code != RETURNED) return WAIT | c->set << 4;
        subtask_drop(waitable);
        return --c->turns ? WAIT | c->set << 4 : respond(c);
    case EVENT_STREAM_WRITE: return end(c);
    case EVENT_FUTURE_WRITE: return leave(c);
    }
    __builtin_trap();
}
