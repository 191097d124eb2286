// wasmcloud:messaging@0.3.0: sending bodies as streams, reading them, and waiting meanwhile.
#pragma once
#include "abi.h"

enum { RETURNED = 2 };
#define BLOCKED 0xffffffffu
enum { DROPPED = 1 };  // in the low bits of what a read or write returns; the count is above them

// A message as its parameters lie in memory
typedef struct {
    text subject;
    u32 body;
    u32 wants_reply;
    text reply_to;
} sent_message;

// result<_, error> and result<broker-message, error>; an error is its case in words[0], and a text after it
typedef union {
    u8 failed;
    u32 words[8];
} message_result;

typedef struct {
    text subject;
    u32 body;
    u32 timed, timeout;
} sent_request;

IMPORT("$root", "[waitable-set-new]") u32 set_new(void);
IMPORT("$root", "[waitable-set-wait]") u32 set_wait(u32, u32 *);
IMPORT("$root", "[waitable-set-drop]") void set_drop(u32);
IMPORT("$root", "[waitable-join]") void join(u32, u32);
IMPORT("$root", "[subtask-drop]") void subtask_drop(u32);

// Wait until a call has returned that was begun.
static void await_call(u32 status) {
    u32 set, event[2];
    if ((status & 15) == RETURNED) return;
    set = set_new();
    join(status >> 4, set);
    do set_wait(set, event);
    while (event[1] != RETURNED);
    join(status >> 4, 0);
    subtask_drop(status >> 4);
    set_drop(set);
}

// Return what a read or write did, once it is done.
static u32 await_copy(u32 stream, u32 code) {
    u32 set, event[2];
    if (code != BLOCKED) return code;
    set = set_new();
    join(stream, set);
    set_wait(set, event);
    join(stream, 0);
    set_drop(set);
    return event[1];
}

// The functions `NAME_publish` and `NAME_request` for a label
#define CONSUMER(name)                                                                                          \
    IMPORT(#name, "[async-lower]publish") u32 name##_start_publish(const sent_message *, message_result *);     \
    IMPORT(#name, "[async-lower]request") u32 name##_start_request(const sent_request *, message_result *);     \
    IMPORT(#name, "[stream-new-0]publish") u64 name##_new(void);                                                \
    IMPORT(#name, "[async-lower][stream-write-0]publish") u32 name##_write(u32, const u8 *, u32);                            \
    IMPORT(#name, "[stream-drop-writable-0]publish") void name##_close(u32);                                    \
    IMPORT(#name, "[async-lower][stream-read-1]request") u32 name##_read(u32, u8 *, u32);                                    \
    IMPORT(#name, "[stream-drop-readable-1]request") void name##_drop(u32);                                     \
    static void name##_send_body(u32 stream, text body) {                                                       \
        while (body.size) {                                                                                     \
            u32 code = await_copy(stream, name##_write(stream, body.data, body.size));                                              \
            body.data += code >> 4, body.size -= code >> 4;                                                     \
            if ((code & 15) == DROPPED) break;                                                                  \
        }                                                                                                       \
        name##_close(stream);                                                                                   \
    }                                                                                                           \
    static void name##_publish(text subject, text body, u32 wants_reply, text reply_to, message_result *r) {    \
        u64 ends = name##_new();                                                                                \
        sent_message message = {subject, (u32)ends, wants_reply, reply_to};                                     \
        u32 status = name##_start_publish(&message, r);                                                         \
        name##_send_body((u32)(ends >> 32), body);                                                              \
        await_call(status);                                                                                     \
    }
