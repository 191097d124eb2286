// wasi:http/types, as far as the guests use it.
#pragma once
#include "streams.h"

#define HTTP "wasi:http/types@" WASI
#define HANDLE "wasi:http/incoming-handler@" WASI "#handle"

// option<string>
typedef struct {
    u8 some, pad[3];
    text value;
} text_option;

// option<result<result<option<trailers>, error-code>>>
typedef struct {
    u8 some, pad[7];
    u8 taken, pad1[7];
    u8 failed, pad2[7];
    u8 has_trailers, pad3[3];
    u32 trailers;
    u64 rest[3];
} trailers_result;

typedef struct {
    text name, value;
} header;

IMPORT(HTTP, "[constructor]fields") u32 fields_new(void);
IMPORT(HTTP, "[method]fields.append") void fields_append(u32, const u8 *, u32, const u8 *, u32, u8 *);
IMPORT(HTTP, "[method]fields.entries") void fields_entries(u32, text *);
IMPORT(HTTP, "[resource-drop]fields") void fields_drop(u32);
IMPORT(HTTP, "[method]incoming-request.method") void request_method(u32, text_option *);
IMPORT(HTTP, "[method]incoming-request.path-with-query") void request_path(u32, text_option *);
IMPORT(HTTP, "[method]incoming-request.authority") void request_authority(u32, text_option *);
IMPORT(HTTP, "[method]incoming-request.headers") u32 request_headers(u32);
IMPORT(HTTP, "[method]incoming-request.consume") void request_consume(u32, handle_result *);
IMPORT(HTTP, "[resource-drop]incoming-request") void request_drop(u32);
IMPORT(HTTP, "[method]incoming-body.stream") void incoming_body_stream(u32, handle_result *);
IMPORT(HTTP, "[static]incoming-body.finish") u32 incoming_body_finish(u32);
IMPORT(HTTP, "[resource-drop]incoming-body") void incoming_body_drop(u32);
IMPORT(HTTP, "[method]future-trailers.subscribe") u32 trailers_subscribe(u32);
IMPORT(HTTP, "[method]future-trailers.get") void trailers_get(u32, trailers_result *);
IMPORT(HTTP, "[resource-drop]future-trailers") void trailers_drop(u32);
IMPORT(HTTP, "[constructor]outgoing-response") u32 response_new(u32);
IMPORT(HTTP, "[method]outgoing-response.set-status-code") u32 response_set_status(u32, u32);
IMPORT(HTTP, "[method]outgoing-response.body") void response_body(u32, handle_result *);
IMPORT(HTTP, "[method]outgoing-body.write") void outgoing_body_write(u32, handle_result *);
IMPORT(HTTP, "[static]outgoing-body.finish") void outgoing_body_finish(u32, u32, u32, u64 *);
IMPORT(HTTP, "[resource-drop]outgoing-body") void outgoing_body_drop(u32);
// param, result tag, then the response's handle or the flattened error-code
IMPORT(HTTP, "[static]response-outparam.set")
void outparam_set(u32, u32, u32, u32, u64, u32, u32, u32, u32);
IMPORT(HTTP, "[resource-drop]response-outparam") void outparam_drop(u32);

#define INTERNAL_ERROR 38  // the case of error-code

static void append(u32 fields, text name, text value) {
    u8 r[2];
    fields_append(fields, name.data, name.size, value.data, value.size, r);
    if (r[0]) __builtin_trap();
}

// Answer with a status and hand out the body. The headers are given away.
static u32 answer(u32 param, u32 status, u32 headers) {
    handle_result r;
    u32 response = response_new(headers);
    if (response_set_status(response, status)) __builtin_trap();
    response_body(response, &r);
    outparam_set(param, 0, response, 0, 0, 0, 0, 0, 0);
    return must(r);
}

static u32 body_stream(u32 body) {
    handle_result r;
    outgoing_body_write(body, &r);
    return must(r);
}

static void finish(u32 body, u32 has_trailers, u32 trailers) {
    u64 r[5];
    outgoing_body_finish(body, has_trailers, trailers, r);
}

// Answer with a status and a text of at most 4096 bytes.
static void answer_text(u32 param, u32 status, text t) {
    u32 body = answer(param, status, fields_new());
    u32 stream = body_stream(body);
    write_some(stream, t);
    output_drop(stream);
    finish(body, 0, 0);
}

static text requested_path(u32 request) {
    text_option path;
    request_path(request, &path);
    return path.some ? path.value : TEXT("/");
}

// The value after `name=` in the query of a path, or nothing.
static text query(text path, text name) {
    for (u32 i = 0; i + name.size < path.size; i++) {
        if (path.data[i] != '?' && path.data[i] != '&') continue;
        text found = {path.data + i + 1, name.size};
        if (!same(found, name) || path.data[i + 1 + name.size] != '=') continue;
        u32 start = i + 2 + name.size, end = start;
        while (end < path.size && path.data[end] != '&') end++;
        return (text){path.data + start, end - start};
    }
    return (text){0, 0};
}
