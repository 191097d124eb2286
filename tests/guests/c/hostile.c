// Takes more than its share, in one way for each path: of the processor, of handles, of memory. ?n= and ?m= say how
// often.
#define ARENA (1 << 20)
#include "http.h"

IMPORT("wasi:clocks/monotonic-clock@" WASI, "subscribe-duration") u32 clock_after(u64 nanoseconds);

typedef struct {
    u32 request, param;
    text path;
    u64 n, m;
} exchange;

static void nap(u64 milliseconds) {
    u32 pollable = clock_after(milliseconds * 1000000);
    poll_block(pollable);
    poll_drop(pollable);
}

// Answer with what was noted, and stay for ?stay= milliseconds.
static void done(exchange *x) {
    u64 stay = number(query(x->path, TEXT("stay")));
    if (stay) nap(stay);
    if (!out.size) add(TEXT("done"));
    answer_text(x->param, 200, (text){out.data, out.size});
}

typedef struct {
    text name;
    void (*serve)(exchange *);
} way;

#define WAY(name) {{(const u8 *)"/" #name, sizeof(#name)}, name}

static void hello(exchange *x) { done(x); }

static void serve(u32 request, u32 param, const way *ways, u32 count) {
    arena_top = 0;
    out.size = 0;
    exchange x = {request, param, requested_path(request), 0, 0};
    x.n = number(query(x.path, TEXT("n")));
    x.m = number(query(x.path, TEXT("m")));
    text path = {x.path.data, 0};
    while (path.size < x.path.size && path.data[path.size] != '?') path.size++;
    for (u32 i = 0; i < count; i++)
        if (same(ways[i].name, path)) {
            ways[i].serve(&x);
            return;
        }
    hello(&x);
}


IMPORT("wasi:clocks/monotonic-clock@" WASI, "now") u64 clock_now(void);
IMPORT("wasi:cli/stdout@" WASI, "get-stdout") u32 get_stdout(void);
IMPORT(POLL, "[method]pollable.ready") u32 poll_ready(u32);
IMPORT(POLL, "poll") void poll_list(const u32 *, u32, text *);
IMPORT(HTTP, "[static]fields.from-list") void fields_list(const header *, u32, u32 *);
IMPORT(HTTP, "[method]fields.clone") u32 fields_clone(u32);

// ---------------------------------------------------------------- the processor

static void spin(exchange *x) {
    (void)x;
    for (volatile u32 i = 0;; i++) {}
}

// Compute for about ?n= milliseconds and answer: never long enough to be interrupted.
static void brief(exchange *x) {
    u64 until = clock_now() + x->n * 1000000;
    while (clock_now() < until)
        for (volatile u32 i = 0; i < 2000; i++) {}
    done(x);
}

// Do nothing but call the host: a function that does not wait ...
static void calls(exchange *x) {
    (void)x;
    for (;;) fields_drop(fields_new());
}

static void polls(exchange *x) {
    (void)x;
    u32 never = clock_after(~0ull >> 1);
    for (;;) poll_ready(never);
}

// ... one that could, and never has to ...
static void readies(exchange *x) {
    (void)x;
    u32 now = clock_after(0);
    for (;;) poll_block(now);
}

// ... and one that does, for a moment.
static void naps(exchange *x) {
    (void)x;
    for (;;) nap(0);
}

// Many pollables in one call, again and again.
static void choirs(exchange *x) {
    u32 *all = (u32 *)cabi_realloc(0, 0, 4, (u32)x->n * 4), mark;
    for (u32 i = 0; i < x->n; i++) all[i] = clock_after(i ? ~0ull >> 1 : 0);
    mark = arena_top;
    for (text ready;; arena_top = mark) poll_list(all, (u32)x->n, &ready);
}

// A list of ?n= headers that are all the same, ?m= times.
static void lists(exchange *x) {
    header *all = (header *)cabi_realloc(0, 0, 4, (u32)x->n * sizeof(header));
    u32 r[4];
    for (u32 i = 0; i < x->n; i++) all[i] = (header){TEXT("a"), {0, 0}};
    for (u64 i = 0; i < x->m; i++) fields_list(all, (u32)x->n, r);
    done(x);
}

static void recurse(exchange *x) {
    fields_drop(fields_new());
    recurse(x);
    out.size++;
}

// ---------------------------------------------------------------- handles

static void handles(exchange *x) {
    for (u64 i = 0; i < x->n; i++) get_stdout();
    done(x);
}

static void fields(exchange *x) {
    for (u64 i = 0; i < x->n; i++) fields_new();
    done(x);
}

static void pollables(exchange *x) {
    for (u64 i = 0; i < x->n; i++) clock_after(~0ull >> 1);
    done(x);
}

// One object that is large, and ?n= copies of it.
static void clones(exchange *x) {
    u8 *long_one = cabi_realloc(0, 0, 1, 100000), r[2];
    u32 one = fields_new();
    for (u32 i = 0; i < 100000; i++) long_one[i] = 'a';
    fields_append(one, (const u8 *)"x", 1, long_one, 100000, r);
    for (u64 i = 0; i < x->n; i++) fields_clone(one);
    done(x);
}

// As many as there may be, dropped and taken anew for ever.
static void churn(exchange *x) {
    u32 first = fields_new();
    for (u64 i = 1; i < x->n; i++) fields_new();
    for (u32 i = 0;; i++) {
        fields_drop(first + i % (u32)x->n);
        fields_new();
    }
}

// ---------------------------------------------------------------- memory

// Take all there is, a mebibyte at a time, and write to every page of it.
static void grow(exchange *x) {
    u32 pages = 0;
    for (u32 old; (old = (u32)__builtin_wasm_memory_grow(0, 16)) != ~0u; pages += 16)
        for (u32 at = old << 16; at < (old + 16) << 16; at += 4096) *(volatile u8 *)at = 1;
    add_number(pages);
    done(x);
}

// Fill a memory of ?n= mebibytes in one instruction, ?m= times.
static void fill(exchange *x) {
    u32 size = (u32)x->n << 20, old = (u32)__builtin_wasm_memory_grow(0, size >> 16);
    if (old == ~0u) __builtin_trap();
    for (u64 i = 0; i < x->m; i++) __builtin_memset((void *)(old << 16), (int)i, size);
    done(x);
}

#ifndef HOSTILE_PARTS  // hostilewasi.c takes what is above, and has ways of its own
static const way ways[] = {
    WAY(spin), WAY(brief), WAY(calls), WAY(polls), WAY(readies), WAY(naps), WAY(choirs), WAY(lists), WAY(recurse),
    WAY(handles), WAY(fields), WAY(pollables), WAY(clones), WAY(churn), WAY(grow), WAY(fill),
};

EXPORT(HANDLE) void handle(u32 request, u32 param) { serve(request, param, ways, sizeof ways / sizeof *ways); }
#endif
