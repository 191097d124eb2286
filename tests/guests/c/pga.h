// wasmcloud:postgres@0.2.0: rows that stream.
#pragma once
#include "postgres.h"

// result<tuple<list<column-name>, stream<row>, future<result<_, error>>>, error>, and results without a u64
typedef struct {
    u32 failed, words[12];
} pg_result;

// result<u64, error>
typedef struct {
    u64 failed;
    u32 words[12];
} pg_wide_result;

// What a pg_result has in its words when it did not fail
enum { COLUMNS, COLUMN_COUNT, ROWS, COMPLETION };

typedef struct {
    const pg_value *values;
    u32 count;
} row;

enum { DROPPED = 1, BLOCKED = -1 };

IMPORT("$root", "[waitable-set-new]") u32 set_new(void);
IMPORT("$root", "[waitable-set-wait]") u32 set_wait(u32, u32 *);
IMPORT("$root", "[waitable-join]") void join(u32, u32);

// Wait for a read that has not returned at once; return how it ended.
static u32 finished(u32 code, u32 handle) {
    static u32 set;
    if (code != (u32)BLOCKED) return code;
    if (!set) set = set_new();
    u32 event[2];
    join(handle, set);
    do set_wait(set, event);
    while (event[0] != handle);
    join(handle, 0);
    return event[1];
}

#define QUERY(label, as)                                                                                     \
    IMPORT(label, "query") void as##_query(const u8 *, u32, const void *, u32, pg_result *);                 \
    IMPORT(label, "query-batch") void as##_batch(const u8 *, u32, pg_result *);                              \
    IMPORT(label, "[async-lower][stream-read-0]query") u32 as##_start_read(u32, void *, u32);                \
    IMPORT(label, "[stream-drop-readable-0]query") void as##_drop_rows(u32);                                 \
    IMPORT(label, "[async-lower][future-read-1]query") u32 as##_start_complete(u32, pg_result *);            \
    IMPORT(label, "[future-drop-readable-1]query") void as##_drop_completion(u32);                           \
    static u32 as##_read(u32 rows, void *to, u32 count) {                                                    \
        return finished(as##_start_read(rows, to, count), rows);                                             \
    }                                                                                                        \
    static u32 as##_complete(u32 future, pg_result *to) {                                                    \
        return finished(as##_start_complete(future, to), future);                                            \
    }
