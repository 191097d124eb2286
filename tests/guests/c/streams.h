// wasi:io: streams, and waiting for them.
#pragma once
#include "abi.h"

#define STREAMS "wasi:io/streams@" WASI
#define POLL "wasi:io/poll@" WASI

// result<own<T>>: a tag of one byte, and a handle
typedef struct {
    u8 failed, pad[3];
    u32 handle;
} handle_result;

// result<list<u8>, stream-error> and result<_, stream-error>
typedef struct {
    u8 failed, pad[3];
    union {
        text data;
        struct {
            u8 closed, pad1[3];
            u32 error;
        };
    };
} stream_result;

// result<u64, stream-error>
typedef struct {
    u8 failed, pad[7];
    union {
        u64 count;
        struct {
            u8 closed, pad1[3];
            u32 error;
        };
    };
} count_result;

IMPORT(STREAMS, "[method]input-stream.blocking-read") void input_read(u32, u64, stream_result *);
IMPORT(STREAMS, "[resource-drop]input-stream") void input_drop(u32);
IMPORT(STREAMS, "[method]output-stream.blocking-write-and-flush")
void output_write(u32, const u8 *, u32, stream_result *);
IMPORT(STREAMS, "[resource-drop]output-stream") void output_drop(u32);
IMPORT(STREAMS, "[method]output-stream.check-write") void output_check(u32, count_result *);
IMPORT(STREAMS, "[method]output-stream.write") void output_put(u32, const u8 *, u32, stream_result *);
IMPORT(STREAMS, "[method]output-stream.flush") void output_flush(u32, stream_result *);
IMPORT(STREAMS, "[method]output-stream.subscribe") u32 output_subscribe(u32);
IMPORT(POLL, "[method]pollable.block") void poll_block(u32);
IMPORT(POLL, "[resource-drop]pollable") void poll_drop(u32);

static u32 must(handle_result r) {
    if (r.failed) __builtin_trap();
    return r.handle;
}

// Write up to 4096 bytes; 0 if the reader has gone.
static int write_some(u32 stream, text t) {
    stream_result r;
    output_write(stream, t.data, t.size, &r);
    return !r.failed;
}

// Write all of it as the stream takes it; 0 if the reader has gone.
static int write_all(u32 stream, text t) {
    while (t.size) {
        count_result room;
        stream_result r;
        output_check(stream, &room);
        if (room.failed) return 0;
        if (!room.count) {
            u32 pollable = output_subscribe(stream);
            poll_block(pollable);
            poll_drop(pollable);
            continue;
        }
        u32 size = room.count < t.size ? (u32)room.count : t.size;
        output_put(stream, t.data, size, &r);
        if (r.failed) return 0;
        t.data += size;
        t.size -= size;
    }
    return 1;
}
