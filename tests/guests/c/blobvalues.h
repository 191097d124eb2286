// wasi:blobstore: containers, and values that are streamed in and out.
#pragma once
#include "streams.h"

#define CONTAINER "wasi:blobstore/container@0.2.0-draft"
#define VALUES "wasi:blobstore/types@0.2.0-draft"

// A result; an error is a text in words[0] and words[1].
typedef union {
    u8 failed;
    u32 failed_word;
    struct {
        u32 pad, words[5];
    };
    u64 align;
} blob_result;

#define METHOD(name) IMPORT(CONTAINER, "[method]container." name)
METHOD("get-data") void get_data(u32, const u8 *, u32, u64, u64, blob_result *);
METHOD("write-data") void write_data(u32, const u8 *, u32, u32 value, blob_result *);
METHOD("list-objects") void list_objects(u32, blob_result *);
METHOD("delete-object") void delete_object(u32, const u8 *, u32, blob_result *);
IMPORT(CONTAINER, "[resource-drop]container") void container_drop(u32);
IMPORT(CONTAINER, "[method]stream-object-names.read-stream-object-names") void names_read(u32, u64, blob_result *);
IMPORT(CONTAINER, "[resource-drop]stream-object-names") void names_drop(u32);
IMPORT(VALUES, "[static]outgoing-value.new-outgoing-value") u32 value_new(void);
IMPORT(VALUES, "[method]outgoing-value.outgoing-value-write-body") void value_body(u32, handle_result *);
IMPORT(VALUES, "[static]outgoing-value.finish") void value_finish(u32, blob_result *);
IMPORT(VALUES, "[resource-drop]outgoing-value") void value_drop(u32);
IMPORT(VALUES, "[static]incoming-value.incoming-value-consume-async") void value_stream(u32, blob_result *);
IMPORT(STREAMS, "[method]output-stream.blocking-splice") void splice(u32, u32, u64, count_result *);
IMPORT("wasi:io/error@" WASI, "[resource-drop]error") void error_drop(u32);
