// Many operations of wasmcloud:keyvalue in flight at once, in one instance.
#define ARENA (4 << 20)
#include "wasmcloud.h"

#define MOST 1000

enum { RETURNED = 2, CANCELLED_BEFORE_STARTED, CANCELLED_BEFORE_RETURNED };
enum { EVENT_SUBTASK = 1 };

IMPORT("wasmcloud:keyvalue/store@0.2.0", "open") void store_open(const u8 *, u32, kv_result *);
IMPORT(TYPES, "[async-lower][method]bucket.get") u32 start_get(u32, const u8 *, u32, kv_result *);
IMPORT(TYPES, "[async-lower][method]bucket.set") u32 start_set(const void *, kv_result *);
IMPORT("$root", "[waitable-set-new]") u32 set_new(void);
IMPORT("$root", "[waitable-set-wait]") u32 set_wait(u32, u32 *);
IMPORT("$root", "[waitable-set-drop]") void set_drop(u32);
IMPORT("$root", "[waitable-join]") void join(u32, u32);
IMPORT("$root", "[subtask-drop]") void subtask_drop(u32);
IMPORT("$root", "[subtask-cancel]") u32 subtask_cancel(u32);

// The parameters of bucket.set as they lie in memory
typedef struct {
    u32 bucket;
    text key, value;
    u32 pad;
    u64 options, some_ttl, ttl, if_not_exists;
} set_params;

static kv_result results[MOST], opened;
static set_params params[MOST];
static u8 names[MOST][4];
static u32 subtasks[MOST];

static text name(u32 i) {
    names[i][0] = 'k';
    for (int at = 3, rest = (int)i; at; at--, rest /= 10) names[i][at] = (u8)('0' + rest % 10);
    return (text){names[i], 4};
}

static u32 open_bucket(void) {
    store_open((const u8 *)"many", 4, &opened);
    if (opened.failed) __builtin_trap();
    return opened.words[0];
}

// Add what has not returned at once to the set.
static u32 pending(u32 set, u32 status) {
    if ((status & 15) == RETURNED) return 0;
    join(status >> 4, set);
    return 1;
}

static void wait_for(u32 set, u32 count) {
    while (count) {
        u32 event[2];
        if (set_wait(set, event) != EVENT_SUBTASK || event[1] != RETURNED) continue;
        join(event[0], 0);
        subtask_drop(event[0]);
        count--;
    }
}

static u32 start_gets(u32 bucket, u32 i) {
    text key = name(i);
    results[i].failed = 1;
    return start_get(bucket, key.data, key.size, &results[i]);
}

EXPORT("gets") u32 gets(u32 count) {
    u32 bucket = open_bucket(), set = set_new(), left = 0, good = 0;
    arena_top = 0;
    for (u32 i = 0; i < count; i++) {
        params[i] = (set_params){.bucket = bucket, .key = name(i), .value = name(i)};
        left += pending(set, start_set(&params[i], &results[i]));
    }
    wait_for(set, left);
    left = 0;
    for (u32 i = 0; i < count; i++) left += pending(set, start_gets(bucket, i));
    wait_for(set, left);
    for (u32 i = 0; i < count; i++) {
        const kv_result *r = &results[i];
        good += !r->failed && (u8)r->words[0] && same((text){(const u8 *)r->words[1], r->words[2]}, name(i));
    }
    set_drop(set);
    bucket_drop(bucket);
    return good;
}

EXPORT("cancelled") u32 cancelled(u32 count) {
    u32 bucket = open_bucket(), stopped = 0;
    for (u32 i = 0; i < count; i++) {
        u32 status = start_gets(bucket, i);
        subtasks[i] = (status & 15) == RETURNED ? 0 : status >> 4;
    }
    for (u32 i = 0; i < count; i++) {
        if (!subtasks[i]) continue;
        u32 status = subtask_cancel(subtasks[i]);
        stopped += status == CANCELLED_BEFORE_STARTED || status == CANCELLED_BEFORE_RETURNED;
        subtask_drop(subtasks[i]);
    }
    bucket_drop(bucket);
    arena_top = 0;
    return stopped;
}

// Leave calls behind, whose results arrive in places of their own whenever they do.
EXPORT("left") void left(u32 count) {
    static kv_result abandoned[MOST];
    u32 bucket = open_bucket();
    for (u32 i = 0; i < count; i++) {
        text key = name(i);
        start_get(bucket, key.data, key.size, &abandoned[i]);
    }
}
