// tests:guests/forward over wasmcloud:keyvalue: what comes in goes out, the result comes back as it lies.
// Before it is included, store_open() has to be there.
#pragma once

static kv_result result;

// An exported function; the arena is empty again when its result was taken.
#define FORWARD(name, as)                                                                                       \
    EXPORT("cabi_post_tests:guests/forward#" name) void as##_taken(const void *r) { (void)r, arena_top = 0; }   \
    EXPORT("tests:guests/forward#" name) void *as

// Open the bucket and use it; an error of opening is shifted to where the error of this result belongs.
#define WITH_BUCKET_AT(shift, use)                                                                              \
    do {                                                                                                        \
        store_open(name, name_size, &result);                                                                   \
        if (!result.failed) {                                                                                   \
            u32 bucket = result.words[0];                                                                       \
            use;                                                                                                \
            bucket_drop(bucket);                                                                                \
        } else if (shift) {                                                                                     \
            for (int i = 2; i >= 0; i--) result.words[i + 1] = result.words[i];                                 \
        }                                                                                                       \
        return &result;                                                                                         \
    } while (0)

#define WITH_BUCKET(use) WITH_BUCKET_AT(0, use)
#define BUCKET const u8 *name, u32 name_size
#define KEY const u8 *key, u32 size

FORWARD("open", do_open)(BUCKET) { WITH_BUCKET(result.words[0] = 0); }
FORWARD("get", do_get)(BUCKET, KEY) { WITH_BUCKET(bucket_get(bucket, key, size, &result)); }
FORWARD("set", do_set)(BUCKET, KEY, const u8 *value, u32 value_size, u32 options, u32 some, u64 ttl, u32 absent) {
    WITH_BUCKET(bucket_set(bucket, key, size, value, value_size, options, some, ttl, absent, &result));
}
FORWARD("delete", do_delete)(BUCKET, KEY) { WITH_BUCKET(bucket_delete(bucket, key, size, &result)); }
FORWARD("exists", do_exists)(BUCKET, KEY) { WITH_BUCKET(bucket_exists(bucket, key, size, &result)); }
FORWARD("list-keys", do_list)(BUCKET, u32 some, const u8 *prefix, u32 size, u32 more, const u8 *cursor, u32 length) {
    WITH_BUCKET(bucket_list_keys(bucket, some, prefix, size, more, cursor, length, &result));
}
FORWARD("increment", do_increment)(BUCKET, KEY, u64 delta) {
    WITH_BUCKET_AT(1, increment(bucket, key, size, delta, &result));
}
FORWARD("current", do_current)(BUCKET, KEY) { WITH_BUCKET(current(bucket, key, size, &result)); }
FORWARD("swap", do_swap)(BUCKET, KEY, const u8 *value, u32 value_size, u32 by_version, const u8 *version,
                         u32 version_size, u32 by_value, const u8 *old, u32 old_size) {
    WITH_BUCKET(swap(bucket, key, size, value, value_size, by_version, version, version_size, by_value, old, old_size,
                     &result));
}
FORWARD("get-many", do_get_many)(BUCKET, const void *keys, u32 count) {
    WITH_BUCKET(get_many(bucket, keys, count, &result));
}
FORWARD("set-many", do_set_many)(BUCKET, const void *items, u32 count) {
    WITH_BUCKET(set_many(bucket, items, count, &result));
}
FORWARD("delete-many", do_delete_many)(BUCKET, const void *keys, u32 count) {
    WITH_BUCKET(delete_many(bucket, keys, count, &result));
}
