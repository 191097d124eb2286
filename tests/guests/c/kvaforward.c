// All of wasmcloud:keyvalue without labels, passed on.
#define ARENA (8 << 20)
#include "wasmcloud.h"

IMPORT("wasmcloud:keyvalue/store@0.2.0", "open") void store_open(const u8 *, u32, kv_result *);

#include "kva.h"
