// wasmcloud:keyvalue, called like plain functions: the guest waits for each, and so does its exported function.
#pragma once
#include "abi.h"

#define TYPES "wasmcloud:keyvalue/types@0.2.0"
#define ATOMICS "wasmcloud:keyvalue/atomics@0.2.0"
#define CAS "wasmcloud:keyvalue/cas@0.2.0"
#define BATCH "wasmcloud:keyvalue/batch@0.2.0"

// Any result; an error is its case in words[0] and the text of `other` in the two after it. Where the good case has
// 64 bits in it, both lie one word later.
typedef union {
    u8 failed;
    struct {
        u32 failed_word, words[7];
    };
    u64 align;
} kv_result;

IMPORT(TYPES, "[method]bucket.get") void bucket_get(u32, const u8 *, u32, kv_result *);
IMPORT(TYPES, "[method]bucket.set")
void bucket_set(u32, const u8 *, u32, const u8 *, u32, u32 options, u32 some_ttl, u64 ttl, u32 if_not_exists, kv_result *);
IMPORT(TYPES, "[method]bucket.delete") void bucket_delete(u32, const u8 *, u32, kv_result *);
IMPORT(TYPES, "[method]bucket.exists") void bucket_exists(u32, const u8 *, u32, kv_result *);
IMPORT(TYPES, "[method]bucket.list-keys")
void bucket_list_keys(u32, u32, const u8 *, u32, u32, const u8 *, u32, kv_result *);
IMPORT(TYPES, "[resource-drop]bucket") void bucket_drop(u32);
IMPORT(ATOMICS, "increment") void increment(u32, const u8 *, u32, u64, kv_result *);
IMPORT(CAS, "current") void current(u32, const u8 *, u32, kv_result *);
IMPORT(CAS, "swap")
void swap(u32, const u8 *, u32, const u8 *, u32, u32, const u8 *, u32, u32, const u8 *, u32, kv_result *);
IMPORT(BATCH, "get-many") void get_many(u32, const void *, u32, kv_result *);
IMPORT(BATCH, "set-many") void set_many(u32, const void *, u32, kv_result *);
IMPORT(BATCH, "delete-many") void delete_many(u32, const void *, u32, kv_result *);
