// wasi:keyvalue/store under a label: STORE(cache) declares its imports and calls that trap on an error.
#pragma once
#include "abi.h"

// result<own<bucket>, error>, result<_, error> and result<option<list<u8>>, error>, as they lie in memory
typedef struct {
    u8 failed, pad[3];
    union {
        u32 bucket;
        struct {
            u8 some, pad1[3];
            text value;
        };
    };
    u32 rest;
} store_result;

#define STORE(label)                                                                                        \
    IMPORT(#label, "open") void label##_open(const u8 *, u32, store_result *);                              \
    IMPORT(#label, "[method]bucket.get") void label##_get(u32, const u8 *, u32, store_result *);            \
    IMPORT(#label, "[method]bucket.set")                                                                    \
    void label##_set(u32, const u8 *, u32, const u8 *, u32, store_result *);                                \
    IMPORT(#label, "[resource-drop]bucket") void label##_drop(u32);                                         \
    static u32 label##_open_bucket(text name) {                                                             \
        store_result r;                                                                                     \
        label##_open(name.data, name.size, &r);                                                             \
        if (r.failed) __builtin_trap();                                                                     \
        return r.bucket;                                                                                    \
    }                                                                                                       \
    static int label##_get_value(u32 bucket, text key, text *value) {                                       \
        store_result r;                                                                                     \
        label##_get(bucket, key.data, key.size, &r);                                                        \
        if (r.failed) __builtin_trap();                                                                     \
        if (r.some) *value = r.value;                                                                       \
        return r.some;                                                                                      \
    }                                                                                                       \
    static void label##_set_value(u32 bucket, text key, text value) {                                       \
        store_result r;                                                                                     \
        label##_set(bucket, key.data, key.size, value.data, value.size, &r);                                \
        if (r.failed) __builtin_trap();                                                                     \
    }
