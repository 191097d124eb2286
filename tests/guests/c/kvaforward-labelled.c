// Two stores under labels, and atomics, cas and batch without one, passed on. A bucket named "other:..." comes from the
// store of that label, without the prefix; any other from `kit`.
#define ARENA (8 << 20)
#include "wasmcloud.h"

IMPORT("kit", "open") void kit_open(const u8 *, u32, kv_result *);
IMPORT("other", "open") void other_open(const u8 *, u32, kv_result *);

static void store_open(const u8 *name, u32 size, kv_result *opened) {
    const u32 prefix = sizeof "other:" - 1;
    if (size >= prefix && same((text){name, prefix}, TEXT("other:")))
        other_open(name + prefix, size - prefix, opened);
    else
        kit_open(name, size, opened);
}

#include "kva.h"
