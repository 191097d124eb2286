// Passes a request on to ?to=HOST:PORT, with the path ?path=, and the response back; bodies stream both ways.
// An error is answered with 200 and the number of its case, "error=6".
#define ARENA (1 << 18)
#include "http.h"

#define OUT "wasi:http/outgoing-handler@" WASI
#define CHUNK 32768

// result<own<future-incoming-response>, error-code>
typedef struct {
    u8 failed, pad[7];
    union {
        u32 future;
        u8 error;
    };
    u64 rest[4];
} handle_outcome;

// option<result<result<own<incoming-response>, error-code>>>
typedef struct {
    u8 some, pad[7];
    u8 taken, pad1[7];
    u8 failed, pad2[7];
    union {
        u32 response;
        u8 error;
    };
    u64 rest[4];
} response_outcome;

IMPORT(HTTP, "[constructor]outgoing-request") u32 out_new(u32);
IMPORT(HTTP, "[method]outgoing-request.set-method") u32 out_set_method(u32, u32, const u8 *, u32);
IMPORT(HTTP, "[method]outgoing-request.set-scheme") u32 out_set_scheme(u32, u32, u32, const u8 *, u32);
IMPORT(HTTP, "[method]outgoing-request.set-authority") u32 out_set_authority(u32, u32, const u8 *, u32);
IMPORT(HTTP, "[method]outgoing-request.set-path-with-query") u32 out_set_path(u32, u32, const u8 *, u32);
IMPORT(HTTP, "[method]outgoing-request.body") void out_body(u32, handle_result *);
IMPORT(OUT, "handle") void out_handle(u32, u32, u32, handle_outcome *);
IMPORT(HTTP, "[method]future-incoming-response.subscribe") u32 future_subscribe(u32);
IMPORT(HTTP, "[method]future-incoming-response.get") void future_get(u32, response_outcome *);
IMPORT(HTTP, "[resource-drop]future-incoming-response") void future_drop(u32);
IMPORT(HTTP, "[method]incoming-response.status") u32 in_status(u32);
IMPORT(HTTP, "[method]incoming-response.headers") u32 in_headers(u32);
IMPORT(HTTP, "[method]incoming-response.consume") void in_consume(u32, handle_result *);
IMPORT(HTTP, "[resource-drop]incoming-response") void in_drop(u32);

static u32 copied(u32 headers) {
    text entries;
    u32 copy = fields_new();
    fields_entries(headers, &entries);
    const header *h = (const header *)entries.data;
    for (u32 i = 0; i < entries.size; i++)
        if (h[i].name.size > 2 && h[i].name.data[0] == 'x' && h[i].name.data[1] == '-') append(copy, h[i].name, h[i].value);
    fields_drop(headers);
    return copy;
}

// Copy a body to its end, or until nobody takes it; 1 if it came whole.
static int pass(u32 from_body, u32 to_body) {
    handle_result h;
    incoming_body_stream(from_body, &h);
    u32 from = must(h), to = body_stream(to_body), mark = arena_top;
    int whole = 0;
    for (;;) {
        stream_result r;
        arena_top = mark;
        input_read(from, CHUNK, &r);
        whole = r.failed && r.closed;
        if (r.failed || !write_all(to, r.data)) break;
    }
    input_drop(from);
    output_drop(to);
    return whole;
}

static void answer_error(u32 param, u8 error) {
    add(TEXT("error="));
    add_number(error);
    add(TEXT("\n"));
    answer_text(param, 200, (text){out.data, out.size});
}

static u32 request_for(u32 incoming, text path) {
    text_option method;
    u32 request = out_new(copied(request_headers(incoming)));
    text to = query(path, TEXT("to")), target = query(path, TEXT("path"));
    request_method(incoming, &method);
    if (out_set_method(request, method.some, method.value.data, method.value.size)) __builtin_trap();
    if (out_set_scheme(request, 1, 0, 0, 0)) __builtin_trap();
    if (out_set_authority(request, 1, to.data, to.size)) __builtin_trap();
    if (out_set_path(request, 1, target.data, target.size)) __builtin_trap();
    return request;
}

static void forward(u32 incoming, u32 param, u32 request) {
    handle_result h;
    handle_outcome sent;
    response_outcome got;
    u64 r[5];
    out_body(request, &h);
    u32 body = must(h);
    out_handle(request, 0, 0, &sent);
    if (sent.failed) {
        outgoing_body_drop(body);
        answer_error(param, sent.error);
        return;
    }
    request_consume(incoming, &h);
    u32 asked = must(h);
    if (pass(asked, body))
        outgoing_body_finish(body, 0, 0, r);
    else
        outgoing_body_drop(body);
    incoming_body_drop(asked);
    u32 pollable = future_subscribe(sent.future);
    poll_block(pollable);
    poll_drop(pollable);
    future_get(sent.future, &got);
    future_drop(sent.future);
    if (got.failed) {
        answer_error(param, got.error);
        return;
    }
    u32 back = answer(param, in_status(got.response), copied(in_headers(got.response)));
    in_consume(got.response, &h);
    u32 answered = must(h);
    if (pass(answered, back))
        finish(back, 0, 0);
    else
        outgoing_body_drop(back);
    incoming_body_drop(answered);
    in_drop(got.response);
}

EXPORT(HANDLE) void handle(u32 incoming, u32 param) {
    arena_top = 0;
    out.size = 0;
    forward(incoming, param, request_for(incoming, requested_path(incoming)));
    request_drop(incoming);
}
