// All of wasi:keyvalue without labels, passed on.
#define STORE "wasi:keyvalue/store@0.2.0-draft"
#include "forward.h"

#define ATOMICS "wasi:keyvalue/atomics@0.2.0-draft"
#define BATCH "wasi:keyvalue/batch@0.2.0-draft"

IMPORT(ATOMICS, "increment") void increment(u32, const u8 *, u32, u64, kv_wide_result *);
IMPORT(BATCH, "get-many") void get_many(u32, const void *, u32, kv_result *);
IMPORT(BATCH, "set-many") void set_many(u32, const void *, u32, kv_result *);
IMPORT(BATCH, "delete-many") void delete_many(u32, const void *, u32, kv_result *);

FORWARD("forward-more", "increment", do_increment)(BUCKET, const u8 *key, u32 size, u64 delta) {
    WITH_BUCKET_WIDE(increment(bucket, key, size, delta, &wide));
}
FORWARD("forward-more", "get-many", do_get_many)(BUCKET, const void *keys, u32 count) {
    WITH_BUCKET(get_many(bucket, keys, count, &result));
}
FORWARD("forward-more", "set-many", do_set_many)(BUCKET, const void *items, u32 count) {
    WITH_BUCKET(set_many(bucket, items, count, &result));
}
FORWARD("forward-more", "delete-many", do_delete_many)(BUCKET, const void *keys, u32 count) {
    WITH_BUCKET(delete_many(bucket, keys, count, &result));
}
