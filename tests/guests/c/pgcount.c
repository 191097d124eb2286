// Reads rows of wasmcloud:postgres in the guest, 64 at a time at most.
#define ARENA (1 << 20)
#include "pga.h"

QUERY("wasmcloud:postgres/query@0.2.0", pg)

static pg_result result, ended;
static row rows[64];

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
