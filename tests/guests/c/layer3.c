// A middleware of wasi:http 0.3: answers /private itself with 401, traps for /trap, and says `via: NAME` of what the
// next one answers, whose body and trailers it hands on. NAME is in its environment; without one it is nobody.
#include "service3.h"

#define CONSUME "[static]response.consume-body"

enum { INTERNAL_ERROR = 38 };

IMPORT(HTTP, "[method]fields.clone") u32 fields_clone(u32);
IMPORT(HTTP, "[resource-drop]fields") void fields_drop(u32);
IMPORT(HTTP, "[method]request.get-path-with-query") void get_path(u32, void *);
IMPORT(HTTP, "[method]response.get-status-code") u32 get_status(u32);
IMPORT(HTTP, "[method]response.set-status-code") u32 set_status(u32, u32);
IMPORT(HTTP, "[method]response.get-headers") u32 get_headers(u32);
IMPORT(HTTP, CONSUME) void consume(u32, u32, u32 *);
IMPORT(HTTP, "[future-new-0]" CONSUME) u64 taken_new(void);
IMPORT(HTTP, "[async-lower][future-write-0]" CONSUME) u32 taken_write(u32, const void *);
IMPORT(HTTP, "[future-drop-writable-0]" CONSUME) void taken_drop(u32);
IMPORT(HANDLER, "[async-lower]handle") u32 next(u32, void *);
IMPORT("wasi:cli/environment@0.3.0", "get-environment") void get_environment(text *);

typedef struct {
    u64 answer[8];                      // result<response, error-code>
    u32 used, set, trailers, taken;     // the last two: what is still to be written
} call;
static call calls[MOST];
static const u64 nothing[8];            // ok, and nothing in it

static text name(void) {
    static text found;
    if (found.data) return found;
    text all;
    get_environment(&all);
    const text *pairs = (const text *)all.data;
    found = TEXT("nobody");
    for (u32 i = 0; i < all.size; i++)
        if (same(pairs[2 * i], TEXT("NAME"))) found = pairs[2 * i + 1];
    return found;
}

static u32 await(call *c, u32 waitable) {
    if (!c->set) c->set = set_new();
    join(waitable, c->set);
    return WAIT | c->set << 4;
}

static u32 leave(call *c) {
    if (c->trailers) trailers_drop(c->trailers);
    if (c->taken) taken_drop(c->taken);
    if (c->set) set_drop(c->set);
    *c = (call){0};
    return EXIT;
}

static u32 refuse(call *c) {
    u64 trailers = trailers_new();
    u32 made[2];
    c->trailers = (u32)(trailers >> 32);
    response_new(fields_new(), 0, 0, (u32)trailers, made);
    set_status(made[0], 401);
    outcome_drop(made[1]);
    task_return(0, made[0], 0, 0, 0, 0, 0, 0);
    return trailers_write(c->trailers, nothing) == BLOCKED ? await(c, c->trailers) : leave(c);
}

static u32 hand_on(call *c) {
    if (*(u8 *)c->answer) {
        task_return(1, INTERNAL_ERROR, 0, 0, 0, 0, 0, 0);
        return leave(c);
    }
    u32 response = *(u32 *)&c->answer[1], body[2], made[2], failed[4];
    u32 status = get_status(response), theirs = get_headers(response), headers = fields_clone(theirs);
    text via = name();
    append(headers, TEXT("via").data, 3, via.data, via.size, failed);
    fields_drop(theirs);
    u64 taken = taken_new();
    c->taken = (u32)(taken >> 32);
    consume(response, (u32)taken, body);
    response_new(headers, 1, body[0], body[1], made);
    set_status(made[0], status);
    outcome_drop(made[1]);
    task_return(0, made[0], 0, 0, 0, 0, 0, 0);
    return taken_write(c->taken, nothing) == BLOCKED ? await(c, c->taken) : leave(c);
}

static int asks_for(u32 request, text wanted) {
    u32 path[3], mark = arena_top;
    get_path(request, path);
    int is = *(u8 *)path && same((text){(const u8 *)path[1], path[2]}, wanted);
    arena_top = mark;
    return is;
}

EXPORT("[async-lift]" HANDLER "#handle") u32 handle(u32 request) {
    u32 i = 0;
    while (calls[i].used)
        if (++i == MOST) __builtin_trap();
    call *c = &calls[i];
    c->used = 1;
    context_set(i);
    if (asks_for(request, TEXT("/trap"))) __builtin_trap();
    if (asks_for(request, TEXT("/private"))) {
        request_drop(request);
        return refuse(c);
    }
    u32 status = next(request, c->answer);
    return (status & 15) == RETURNED ? hand_on(c) : await(c, status >> 4);
}

EXPORT("[callback][async-lift]" HANDLER "#handle") u32 resume(u32 event, u32 waitable, u32 code) {
    call *c = &calls[context_get()];
    if (event != EVENT_SUBTASK) {
        join(waitable, 0);
        return leave(c);
    }
    if (code != RETURNED) return WAIT | c->set << 4;
    join(waitable, 0);
    subtask_drop(waitable);
    return hand_on(c);
}
