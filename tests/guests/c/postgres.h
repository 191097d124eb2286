// wasmcloud:postgres, as far as the guests look into it.
#pragma once
#include "abi.h"

// pg-value
typedef struct {
    u8 which, pad[7];
    union {
        u64 wide;
        u32 word;
        u8 byte;
        text words;
        struct {
            u32 some, limit;
            text characters;
        };
        u8 room[64];
    };
} pg_value;

// Some of its cases
enum { PG_NULL = 0, PG_INT8 = 2, PG_BOOL = 6, PG_INT4 = 17, PG_NUMERIC = 19, PG_INT2 = 25, PG_VARCHAR = 40, PG_TEXT = 88 };
