// acme:counter under the label `hits`, passed on; notes the last total that it was told.
#include "abi.h"

typedef struct {
    u8 failed, pad[7];
    u64 value;  // or an error's text: address and size
} wide_result;

typedef struct {
    u8 failed, pad[3];
    u32 stream, size;  // or an error's text
} stream_result;

IMPORT("hits", "add") void hits_add(const u8 *, u32, u32, wide_result *);
IMPORT("hits", "total") void hits_total(const u8 *, u32, wide_result *);
IMPORT("hits", "history") void hits_history(const u8 *, u32, stream_result *);

static wide_result wide;
static stream_result stream;
static u64 last;

#define COUNTER(name, as)                                                                     \
    EXPORT("cabi_post_acme:counter/counter@0.1.0#" name) void as##_taken(const void *r) { (void)r, arena_top = 0; } \
    EXPORT("acme:counter/counter@0.1.0#" name) void *as

COUNTER("add", do_add)(const u8 *name, u32 size, u32 by) { return hits_add(name, size, by, &wide), &wide; }
COUNTER("total", do_total)(const u8 *name, u32 size) { return hits_total(name, size, &wide), &wide; }
COUNTER("history", do_history)(const u8 *name, u32 size) { return hits_history(name, size, &stream), &stream; }

EXPORT("acme:counter/listener@0.1.0#on-count") void on_count(const u8 *name, u32 size, u64 total) {
    (void)name, (void)size;
    last = total;
    arena_top = 0;
}

EXPORT("noted") u64 noted(void) { return last; }
