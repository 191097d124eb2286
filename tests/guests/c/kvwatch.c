// Told of changes of a bucket; notes each under its key in the bucket "seen" of the unlabelled store.
#define ARENA (1 << 20)
#include "abi.h"

#define STORE "wasi:keyvalue/store@0.2.0-draft"
#define WATCHER "wasi:keyvalue/watcher@0.2.0-draft"

typedef struct {
    u8 failed, pad[3];
    u32 first, second, third;
} kv_result;

#define IMPORTED(from, as)                                                                                      \
    IMPORT(from, "open") void as##_open(const u8 *, u32, kv_result *);                                          \
    IMPORT(from, "[method]bucket.get") void as##_get(u32, const u8 *, u32, kv_result *);                        \
    IMPORT(from, "[method]bucket.set") void as##_set(u32, const u8 *, u32, const u8 *, u32, kv_result *);       \
    IMPORT(from, "[method]bucket.delete") void as##_delete(u32, const u8 *, u32, kv_result *);                  \
    IMPORT(from, "[resource-drop]bucket") void as##_drop(u32);

IMPORTED(STORE, own)
IMPORTED("watched", watched)

static kv_result result;

static u32 good(u32 value) {
    if (result.failed) __builtin_trap();
    return value;
}

static u32 seen(void) {
    own_open((const u8 *)"seen", 4, &result);
    return good(result.first);
}

static void note(const u8 *key, u32 size) {
    u32 bucket = seen();
    own_set(bucket, key, size, out.data, out.size, &result);
    good(0);
    own_drop(bucket);
    arena_top = 0;
}

EXPORT(WATCHER "#on-set") void on_set(u32 bucket, const u8 *key, u32 size, const u8 *value, u32 value_size) {
    out.size = 0;
    add((text){value, value_size});
    own_get(bucket, key, size, &result);
    add(TEXT(" now "));
    if ((u8)good(result.first)) add((text){(const u8 *)result.second, result.third});
    own_drop(bucket);
    note(key, size);
}

EXPORT(WATCHER "#on-delete") void on_delete(u32 bucket, const u8 *key, u32 size) {
    out.size = 0;
    add(TEXT("deleted"));
    own_drop(bucket);
    note(key, size);
}

EXPORT("write") void write(const u8 *name, u32 size, const u8 *key, u32 key_size, u32 some, const u8 *value, u32 n) {
    watched_open(name, size, &result);
    u32 bucket = good(result.first);
    if (some)
        watched_set(bucket, key, key_size, value, n, &result);
    else
        watched_delete(bucket, key, key_size, &result);
    good(0);
    watched_drop(bucket);
    arena_top = 0;
}

EXPORT("noted") u32 *noted(const u8 *key, u32 size) {
    static u32 answer[3];
    u32 bucket = seen();
    own_get(bucket, key, size, &result);
    answer[0] = (u8)good(result.first), answer[1] = result.second, answer[2] = result.third;
    own_drop(bucket);
    return answer;
}
EXPORT("cabi_post_noted") void noted_taken(const void *r) { (void)r, arena_top = 0; }
