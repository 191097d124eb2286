// GET /?n=100: makes so many pairs of set and get, of 16 bytes under one of 16 keys, and says how many were found. The
// exports do the same without HTTP.
#define ARENA (1 << 16)
#include "http.h"
#include "store.h"

STORE(cache)

static u8 key[8] = "key-00";

static u32 operations(u32 count, int set, int get) {
    text value = TEXT("0123456789abcdef"), found, name = {key, 6};
    u32 bucket = cache_open_bucket(TEXT("kv")), hits = 0, top = arena_top;
    for (u32 i = 0; i < count; i++, arena_top = top) {
        key[4] = (u8)('0' + i % 4);
        key[5] = (u8)('0' + i / 4 % 4);
        if (set) cache_set_value(bucket, name, value);
        if (get && cache_get_value(bucket, name, &found)) hits += found.size == 16;
    }
    cache_drop(bucket);
    return hits;
}

EXPORT("pairs") u32 pairs(u32 count) { return operations(count, 1, 1); }
EXPORT("sets") u32 sets(u32 count) { return operations(count, 1, 0); }
EXPORT("gets") u32 gets(u32 count) { return operations(count, 0, 1); }

EXPORT(HANDLE) void handle(u32 request, u32 param) {
    arena_top = out.size = 0;
    u32 hits = operations((u32)number(query(requested_path(request), TEXT("n"))), 1, 1);
    add_number(hits);
    add(TEXT("\n"));
    request_drop(request);
    answer_text(param, 200, (text){out.data, out.size});
}
