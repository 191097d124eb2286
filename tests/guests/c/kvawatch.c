// Told of changes of a bucket; notes them in the unlabelled store: bucket "seen", keys "1", "2", ...
#define ARENA (4 << 20)
#include "wasmcloud.h"

IMPORT("wasmcloud:keyvalue/store@0.2.0", "open") void store_open(const u8 *, u32, kv_result *);
IMPORT("watched", "open") void watched_open(const u8 *, u32, kv_result *);

#define WATCHER "wasmcloud:keyvalue/watcher@0.2.0"

static kv_result result;

static u32 good(u32 word) {
    if (result.failed) __builtin_trap();
    return result.words[word];
}

static u32 seen(void) {
    store_open((const u8 *)"seen", 4, &result);
    return good(0);
}

static u32 count(u32 bucket, text key) {
    increment(bucket, key.data, key.size, 1, &result);
    return good(1);
}

// Set the next number to `out`; a key "fail..." traps the first time, before it is noted.
static void note(text key) {
    u32 bucket = seen();
    if (key.size > 4 && same((text){key.data, 4}, TEXT("fail")) && count(bucket, key) == 1) __builtin_trap();
    u32 line = out.size, number = count(bucket, TEXT("count"));
    add_number(number);
    bucket_set(bucket, out.data + line, out.size - line, out.data, line, 0, 0, 0, 0, &result);
    good(0);
    bucket_drop(bucket);
    arena_top = 0;
}

// "set KEY VALUE now NOW": what the bucket that comes with the news says itself
EXPORT(WATCHER "#on-set") void on_set(u32 bucket, const u8 *key, u32 size, const u8 *value, u32 value_size) {
    out.size = 0;
    add(TEXT("set "));
    add((text){key, size});
    add(TEXT(" "));
    add((text){value, value_size});
    bucket_get(bucket, key, size, &result);
    add(TEXT(" now "));
    if ((u8)good(0)) add((text){(const u8 *)result.words[1], result.words[2]});
    bucket_drop(bucket);
    note((text){key, size});
}

EXPORT(WATCHER "#on-delete") void on_delete(u32 bucket, const u8 *key, u32 size) {
    out.size = 0;
    add(TEXT("delete "));
    add((text){key, size});
    bucket_drop(bucket);
    note((text){key, size});
}

// write: async func(bucket: string, key: string, value: option<string>)
EXPORT("write") void write(const u8 *name, u32 size, const u8 *key, u32 key_size, u32 some, const u8 *value, u32 n) {
    watched_open(name, size, &result);
    u32 bucket = good(0);
    if (some)
        bucket_set(bucket, key, key_size, value, n, 0, 0, 0, 0, &result);
    else
        bucket_delete(bucket, key, key_size, &result);
    good(0);
    bucket_drop(bucket);
    arena_top = 0;
}

// noted: async func(number: string) -> option<string>
EXPORT("noted") u32 *noted(const u8 *number, u32 size) {
    static u32 answer[3];
    u32 bucket = seen();
    bucket_get(bucket, number, size, &result);
    answer[0] = (u8)good(0), answer[1] = result.words[1], answer[2] = result.words[2];
    bucket_drop(bucket);
    return answer;
}
EXPORT("cabi_post_noted") void noted_taken(const void *r) { (void)r, arena_top = 0; }
