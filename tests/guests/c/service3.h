// What services of wasi:http 0.3 have in common.
#include "abi.h"

#define HTTP "wasi:http/types@0.3.0"
#define HANDLER "wasi:http/handler@0.3.0"
#define NEW "[static]response.new"
#define MOST 512  // calls under way

enum { RETURNED = 2, BLOCKED = ~0u };                       // of a subtask, of a copy
enum { EXIT = 0, YIELD = 1, WAIT = 2 };                     // what a callback returns
enum { EVENT_NONE = 0, EVENT_SUBTASK = 1, EVENT_STREAM_WRITE = 3, EVENT_FUTURE_WRITE = 5 };

IMPORT(HTTP, "[constructor]fields") u32 fields_new(void);
IMPORT(HTTP, "[method]fields.append") void append(u32, const u8 *, u32, const u8 *, u32, void *);
IMPORT(HTTP, NEW) void response_new(u32, u32, u32, u32, u32 *);
IMPORT(HTTP, "[resource-drop]request") void request_drop(u32);
IMPORT(HTTP, "[future-new-1]" NEW) u64 trailers_new(void);
IMPORT(HTTP, "[async-lower][future-write-1]" NEW) u32 trailers_write(u32, const void *);
IMPORT(HTTP, "[future-drop-writable-1]" NEW) void trailers_drop(u32);
IMPORT(HTTP, "[future-drop-readable-2]" NEW) void outcome_drop(u32);
IMPORT("$root", "[waitable-set-new]") u32 set_new(void);
IMPORT("$root", "[waitable-set-drop]") void set_drop(u32);
IMPORT("$root", "[waitable-join]") void join(u32, u32);
IMPORT("$root", "[subtask-drop]") void subtask_drop(u32);
IMPORT("$root", "[context-get-0]") u32 context_get(void);
IMPORT("$root", "[context-set-0]") void context_set(u32);
IMPORT("[export]" HANDLER, "[task-return]handle") void task_return(u32, u32, u32, u64, u32, u32, u32, u32);
