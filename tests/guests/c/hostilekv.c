// Takes more than its share of async calls, told to by changes of a bucket: a key is what to do, and how often,
// "gets;n=1000;m=1;". What it calls goes to the unlabelled store.
#define ARENA (40 << 20)
#include "wasmcloud.h"

#define WATCHER "wasmcloud:keyvalue/watcher@0.2.0"

IMPORT("wasmcloud:keyvalue/store@0.2.0", "open") void store_open(const u8 *, u32, kv_result *);
IMPORT("wasmcloud:keyvalue/store@0.2.0", "[async-lower]open") u32 start_open(const u8 *, u32, kv_result *);
IMPORT("watched", "open") void watched_open(const u8 *, u32, kv_result *);
IMPORT(TYPES, "[async-lower][method]bucket.get") u32 start_get(u32, const u8 *, u32, kv_result *);
IMPORT(TYPES, "[async-lower][method]bucket.set") u32 start_set(const void *, kv_result *);
IMPORT("$root", "[waitable-set-new]") u32 set_new(void);
IMPORT("$root", "[waitable-set-wait]") u32 set_wait(u32, u32 *);

typedef struct {
    u32 bucket;
    text key, value;
    u32 pad;
    u64 options, some_ttl, ttl, if_not_exists;
} set_params;

static kv_result result, ignored;
static u64 n, m;

// The value after ";name=" in a key.
static u64 asked(text key, u8 name) {
    for (u32 i = 0; i + 3 < key.size; i++)
        if (key.data[i] == ';' && key.data[i + 1] == name && key.data[i + 2] == '=')
            return number((text){key.data + i + 3, key.size - i - 3});
    return 0;
}

static u32 opened(void) {
    store_open((const u8 *)"many", 4, &result);
    if (result.failed) __builtin_trap();
    return result.words[0];
}

// Wait for what never comes, so that what was begun stays under way.
static void wait(void) {
    u32 event[2];
    set_wait(set_new(), event);
}

// n gets that nobody waits for.
static void gets(void) {
    u32 bucket = opened();
    for (u64 i = 0; i < n; i++) start_get(bucket, (const u8 *)"k", 1, &ignored);
    wait();
}

// n sets of m bytes that nobody waits for.
static void sets(void) {
    set_params params = {.bucket = opened(), .key = TEXT("k"), .value = {cabi_realloc(0, 0, 1, (u32)m), (u32)m}};
    for (u64 i = 0; i < n; i++) start_set(&params, &ignored);
    wait();
}

static void opens(void) {
    for (u64 i = 0; i < n; i++) start_open((const u8 *)"many", 4, &ignored);
    wait();
}

// Calls for ever.
static void floods(void) {
    for (u32 bucket = opened();;) start_get(bucket, (const u8 *)"k", 1, &ignored);
}

static void floodsets(void) {
    set_params params = {.bucket = opened(), .key = TEXT("k"), .value = TEXT("v")};
    for (;;) start_set(&params, &ignored);
}

// Calls for ever that are waited for.
static void calls(void) {
    for (u32 bucket = opened();; arena_top = 0) bucket_get(bucket, (const u8 *)"none", 4, &result);
}

// One value of m bytes, asked for n times.
static void answers(void) {
    u32 bucket = opened(), mark;
    u8 *value = cabi_realloc(0, 0, 1, (u32)m);
    bucket_set(bucket, (const u8 *)"big", 3, value, (u32)m, 0, 0, 0, 0, &result);
    mark = arena_top;
    for (u64 i = 0; i < n; i++, arena_top = mark) start_get(bucket, (const u8 *)"big", 3, &ignored);
    wait();
}

// Change n keys of the bucket that tells it, which tells it to do so again.
static void echoes(void) {
    watched_open((const u8 *)"kv", 2, &result);
    u32 bucket = result.words[0];
    if (result.failed) __builtin_trap();
    for (u64 i = 0; i < n; i++) {
        out.size = 0;
        add(TEXT("echoes;n=2;"));
        add_number(i);
        bucket_set(bucket, out.data, out.size, (const u8 *)"v", 1, 0, 0, 0, 0, &result);
    }
    bucket_drop(bucket);
}

#define WAY(name) {{(const u8 *)#name, sizeof(#name) - 1}, name}

static const struct {
    text name;
    void (*take)(void);
} ways[] = {WAY(gets), WAY(sets), WAY(opens), WAY(floods), WAY(floodsets), WAY(calls), WAY(answers), WAY(echoes)};

EXPORT(WATCHER "#on-set") void on_set(u32 bucket, const u8 *key, u32 size, const u8 *value, u32 value_size) {
    text whole = {key, size}, name = {key, 0};
    (void)value, (void)value_size;
    while (name.size < size && key[name.size] != ';') name.size++;
    n = asked(whole, 'n');
    m = asked(whole, 'm');
    bucket_drop(bucket);
    arena_top = 0;
    for (u32 i = 0; i < sizeof ways / sizeof *ways; i++)
        if (same(ways[i].name, name)) ways[i].take();
}

EXPORT(WATCHER "#on-delete") void on_delete(u32 bucket, const u8 *key, u32 size) {
    (void)key, (void)size;
    bucket_drop(bucket);
    arena_top = 0;
}
