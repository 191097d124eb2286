// Takes more than its share of async calls, in one way for each path.
#define ARENA (40 << 20)
#define HOSTILE_KV
#include "hostile.c"
#include "wasmcloud.h"

#define MOST 100000
enum { RETURNED = 2 };

IMPORT("wasmcloud:keyvalue/store@0.2.0", "open") void store_open(const u8 *, u32, kv_result *);
IMPORT("wasmcloud:keyvalue/store@0.2.0", "[async-lower]open") u32 start_open(const u8 *, u32, kv_result *);
IMPORT(TYPES, "[async-lower][method]bucket.get") u32 start_get(u32, const u8 *, u32, kv_result *);
IMPORT(TYPES, "[async-lower][method]bucket.set") u32 start_set(const void *, kv_result *);

typedef struct {
    u32 bucket;
    text key, value;
    u32 some_options;
    u64 some_ttl, ttl, if_not_exists;
} set_params;

static kv_result result;
static u32 pending;

static u32 opened(void) {
    store_open((const u8 *)"many", 4, &result);
    if (result.failed) __builtin_trap();
    return result.words[0];
}

static void note(u32 subtask) { pending += (subtask & 15) != RETURNED; }

static void told(exchange *x) {
    add_number(pending);
    done(x);
}

// ?n= gets that nobody waits for.
static void gets(exchange *x) {
    u32 bucket = opened();
    for (u64 i = 0; i < x->n; i++) note(start_get(bucket, (const u8 *)"k", 1, &result));
    told(x);
}

// ?n= sets of ?m= bytes that nobody waits for.
static void sets(exchange *x) {
    set_params params = {opened(), TEXT("k"), {cabi_realloc(0, 0, 1, (u32)x->m), (u32)x->m}, 0, 0, 0, 0};
    for (u64 i = 0; i < x->n; i++) note(start_set(&params, &result));
    told(x);
}

static void opens(exchange *x) {
    for (u64 i = 0; i < x->n; i++) note(start_open((const u8 *)"many", 4, &result));
    told(x);
}

// The same for ever.
static void floods(exchange *x) {
    (void)x;
    for (u32 bucket = opened();;) note(start_get(bucket, (const u8 *)"k", 1, &result));
}

// One value of ?m= bytes, asked for ?n= times.
static void answers(exchange *x) {
    u32 bucket = opened(), mark;
    u8 *value = cabi_realloc(0, 0, 1, (u32)x->m);
    bucket_set(bucket, (const u8 *)"big", 3, value, (u32)x->m, 0, 0, 0, 0, &result);
    mark = arena_top;
    for (u64 i = 0; i < x->n; i++, arena_top = mark) note(start_get(bucket, (const u8 *)"big", 3, &result));
    told(x);
}

static const way ways[] = {WAY(gets), WAY(sets), WAY(opens), WAY(floods), WAY(answers)};

EXPORT(HANDLE) void handle(u32 request, u32 param) {
    pending = 0;
    serve(request, param, ways, sizeof ways / sizeof *ways);
}
