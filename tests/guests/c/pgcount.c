// Reads rows of wasmcloud:postgres in the guest, 64 at a time at most.
#define ARENA (1 << 20)
#include "pga.h"

QUERY("wasmcloud:postgres/query@0.2.0", pg)

static pg_result result, ended;
static row rows[64];

IMPORT("wasmcloud:postgres/prepared@0.2.0", "prepare") void prepare(const u8 *, u32, pg_result *);
IMPORT("wasmcloud:postgres/prepared@0.2.0", "exec") void execute(const u8 *, u32, const void *, u32, pg_wide_result *);

EXPORT("count") u64 count(const u8 *sql, u32 size, u64 most) {
    pg_query(sql, size, 0, 0, &result);
    arena_top = 0;
    if (result.failed) return 1000 + result.words[0];
    u64 seen = 0;
    while (seen < most) {
        u64 left = most - seen;
        u32 code = pg_read(result.words[ROWS], rows, left < 64 ? (u32)left : 64);
        seen += code >> 4;
        arena_top = 0;
        if ((code & 15) == DROPPED) break;
    }
    pg_drop_rows(result.words[ROWS]);
    pg_complete(result.words[COMPLETION], &ended);
    pg_drop_completion(result.words[COMPLETION]);
    arena_top = 0;
    return ended.failed ? 2000 + ended.words[0] : seen;
}

EXPORT("hold") u32 hold(const u8 *sql, u32 size) {
    pg_query(sql, size, 0, 0, &result);
    arena_top = 0;
    return result.failed ? 1000 + result.words[0] : 0;
}

EXPORT("queries") u64 queries(const u8 *sql, u32 size, u32 times) {
    static u8 kept[4096];
    u64 seen = 0;
    memcpy(kept, sql, size);
    for (u32 i = 0; i < times; i++) seen += count(kept, size, ~0ull);
    return seen;
}

EXPORT("execs") u64 execs(const u8 *sql, u32 size, u32 times) {
    static pg_wide_result wide;
    static u8 token[64];
    u64 sum = 0;
    prepare(sql, size, &result);
    if (result.failed) __builtin_trap();
    u32 length = result.words[1];
    memcpy(token, (const u8 *)result.words[0], length);
    for (u32 i = 0; i < times; i++) {
        arena_top = 0;
        execute(token, length, 0, 0, &wide);
        if (wide.failed) __builtin_trap();
        sum += *(u64 *)wide.words;
    }
    arena_top = 0;
    return sum;
}
