// wasi:keyvalue/store, from the import STORE, passed on: what comes in goes out, the result comes back as it lies.
#pragma once
#define ARENA (8 << 20)
#include "abi.h"

// Every result whose parts are at most 32 bits wide. The types on both sides are the same, and so is their layout.
typedef struct {
    u8 failed, pad[3];
    u32 first, second, third;  // an error: its case, and the text of `other`
} kv_result;

// A result with 64 bits in it: a number, or keys and a cursor.
typedef struct {
    u8 failed, pad[7];
    u32 first, second, third, fourth;
    u64 last;
} kv_wide_result;

IMPORT(STORE, "open") void store_open(const u8 *, u32, kv_result *);
IMPORT(STORE, "[method]bucket.get") void bucket_get(u32, const u8 *, u32, kv_result *);
IMPORT(STORE, "[method]bucket.set") void bucket_set(u32, const u8 *, u32, const u8 *, u32, kv_result *);
IMPORT(STORE, "[method]bucket.delete") void bucket_delete(u32, const u8 *, u32, kv_result *);
IMPORT(STORE, "[method]bucket.exists") void bucket_exists(u32, const u8 *, u32, kv_result *);
IMPORT(STORE, "[method]bucket.list-keys") void bucket_list_keys(u32, u32, u64, kv_wide_result *);
IMPORT(STORE, "[resource-drop]bucket") void bucket_drop(u32);

static kv_result result;
static kv_wide_result wide;

// An exported function NAME of interface IN; the arena is empty again when its result was taken.
#define FORWARD(in, name, as)                                                                                \
    EXPORT("cabi_post_tests:guests/" in "#" name) void as##_taken(const void *r) { (void)r, arena_top = 0; } \
    EXPORT("tests:guests/" in "#" name) void *as

// Open the bucket, or leave the error in the result.
static int opened(const u8 *bucket, u32 size, u32 *handle) {
    store_open(bucket, size, &result);
    *handle = result.first;
    return !result.failed;
}

static int opened_wide(const u8 *bucket, u32 size, u32 *handle) {
    int is = opened(bucket, size, handle);
    wide = (kv_wide_result){.failed = result.failed, .first = result.first, .second = result.second, .third = result.third};
    return is;
}

#define WITH_BUCKET(use)                             \
    do {                                             \
        u32 bucket;                                  \
        if (opened(name, name_size, &bucket)) {      \
            use;                                     \
            bucket_drop(bucket);                     \
        }                                            \
        return &result;                              \
    } while (0)

#define WITH_BUCKET_WIDE(use)                        \
    do {                                             \
        u32 bucket;                                  \
        if (opened_wide(name, name_size, &bucket)) { \
            use;                                     \
            bucket_drop(bucket);                     \
        }                                            \
        return &wide;                                \
    } while (0)

#define BUCKET const u8 *name, u32 name_size

FORWARD("forward", "open", do_open)(BUCKET) { WITH_BUCKET(result.first = 0); }
FORWARD("forward", "get", do_get)(BUCKET, const u8 *key, u32 size) {
    WITH_BUCKET(bucket_get(bucket, key, size, &result));
}
FORWARD("forward", "set", do_set)(BUCKET, const u8 *key, u32 size, const u8 *value, u32 value_size) {
    WITH_BUCKET(bucket_set(bucket, key, size, value, value_size, &result));
}
FORWARD("forward", "delete", do_delete)(BUCKET, const u8 *key, u32 size) {
    WITH_BUCKET(bucket_delete(bucket, key, size, &result));
}
FORWARD("forward", "exists", do_exists)(BUCKET, const u8 *key, u32 size) {
    WITH_BUCKET(bucket_exists(bucket, key, size, &result));
}
FORWARD("forward", "list-keys", do_list_keys)(BUCKET, u32 some, u64 cursor) {
    WITH_BUCKET_WIDE(bucket_list_keys(bucket, some, cursor, &wide));
}
