// wasmcloud:postgres@0.1.1-draft under a label, passed on.
#define ARENA (8 << 20)
#include "abi.h"

typedef struct {
    u32 words[16];
} any_result;

IMPORT("kit", "query") void kit_query(const u8 *, u32, const void *, u32, any_result *);
IMPORT("kit", "query-batch") void kit_batch(const u8 *, u32, any_result *);
IMPORT("statements", "prepare") void prepare(const u8 *, u32, any_result *);
IMPORT("statements", "exec") void execute(const u8 *, u32, const void *, u32, any_result *);

static any_result result __attribute__((aligned(8)));

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
    return execute(token, size, params, count, &result), &result;
}
