// wasmcloud:postgres under labels, passed on: what comes in goes out, the result comes back as it lies.
#define ARENA (4 << 20)
#include "pga.h"

IMPORT("kit", "query") void kit_query(const u8 *, u32, const void *, u32, pg_result *);
IMPORT("kit", "query-batch") void kit_batch(const u8 *, u32, pg_result *);
IMPORT("statements", "prepare") void prepare(const u8 *, u32, pg_result *);
IMPORT("statements", "exec") void execute(const u8 *, u32, const void *, u32, pg_wide_result *);
IMPORT("others", "exec") void execute_other(const u8 *, u32, const void *, u32, pg_wide_result *);

static pg_result result;
static pg_wide_result wide;

#define FORWARD(name, as)                                                                                    \
    EXPORT("cabi_post_tests:guests/forward-postgres#" name)                                                  \
    void as##_taken(const void *r) { (void)r, arena_top = 0; }                                               \
    EXPORT("tests:guests/forward-postgres#" name) void *as

FORWARD("query", do_query)(const u8 *sql, u32 size, const void *params, u32 count) {
    return kit_query(sql, size, params, count, &result), &result;
}
FORWARD("query-batch", do_batch)(const u8 *sql, u32 size) { return kit_batch(sql, size, &result), &result; }
FORWARD("prepare", do_prepare)(const u8 *sql, u32 size) { return prepare(sql, size, &result), &result; }
FORWARD("exec", do_exec)(const u8 *token, u32 size, const void *params, u32 count) {
    return execute(token, size, params, count, &wide), &wide;
}
FORWARD("exec-other", do_exec_other)(const u8 *token, u32 size, const void *params, u32 count) {
    return execute_other(token, size, params, count, &wide), &wide;
}
