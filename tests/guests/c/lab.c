// Everything an HTTP guest may do, right or wrong: one path each, see `paths` at the end.
#define ARENA (1 << 17)
#include "http.h"

#define CLI "wasi:cli/"
IMPORT("wasi:clocks/monotonic-clock@" WASI, "subscribe-duration") u32 clock_after(u64 nanoseconds);
IMPORT(CLI "stdout@" WASI, "get-stdout") u32 get_stdout(void);
IMPORT(CLI "stderr@" WASI, "get-stderr") u32 get_stderr(void);
IMPORT(CLI "exit@" WASI, "exit") void leave(u32 failed);

#define CHUNK 65536

typedef struct {
    u32 request, param;
    text path;
} exchange;

static u64 served;

static void nap(u64 milliseconds) {
    u32 pollable = clock_after(milliseconds * 1000000);
    poll_block(pollable);
    poll_drop(pollable);
}

// Adler-32, as zlib has it.
typedef struct {
    u32 a, b;
} checksum;

static void sum(checksum *c, text t) {
    for (u32 i = 0; i < t.size; i++) {
        c->a = (c->a + t.data[i]) % 65521;
        c->b = (c->b + c->a) % 65521;
    }
}

// The request's body, read to its end by turns.
typedef struct {
    u32 body, stream, mark;
} source;

static source open_body(u32 request) {
    handle_result r;
    source s;
    request_consume(request, &r);
    s.body = must(r);
    incoming_body_stream(s.body, &r);
    s.stream = must(r);
    s.mark = arena_top;
    return s;
}

// Read the next chunk; 0 at the end. The chunk lives until the next call.
static int next_chunk(source *s, text *chunk) {
    stream_result r;
    arena_top = s->mark;
    input_read(s->stream, CHUNK, &r);
    if (!r.failed) *chunk = r.data;
    if (r.failed && !r.closed) __builtin_trap();
    return !r.failed;
}

// Close the body and wait for its trailers; 0 if it has none.
static u32 close_body(source *s, u32 *trailers) {
    trailers_result r;
    input_drop(s->stream);
    u32 future = incoming_body_finish(s->body);
    u32 pollable = trailers_subscribe(future);
    poll_block(pollable);
    poll_drop(pollable);
    trailers_get(future, &r);
    trailers_drop(future);
    *trailers = r.trailers;
    return r.some && !r.taken && !r.failed && r.has_trailers;
}

static void hello(exchange *x) {
    answer_text(x->param, 200, TEXT("hello, world\n"));
}

// Send the body back while it comes in, and its trailers after it.
static void echo(exchange *x) {
    source in = open_body(x->request);
    u32 body = answer(x->param, 200, fields_new()), stream = body_stream(body), trailers;
    text chunk;
    while (next_chunk(&in, &chunk))
        if (!write_all(stream, chunk)) break;
    output_drop(stream);
    u32 some = close_body(&in, &trailers);
    finish(body, some, some ? trailers : 0);
}

// Read the body and say how many bytes it had and their checksum; ?ms= rests after each chunk.
static void count(exchange *x) {
    source in = open_body(x->request);
    checksum c = {1, 0};
    u64 bytes = 0, rest = number(query(x->path, TEXT("ms")));
    text chunk;
    u32 trailers;
    while (next_chunk(&in, &chunk)) {
        sum(&c, chunk);
        bytes += chunk.size;
        if (rest) nap(rest);
    }
    if (close_body(&in, &trailers)) fields_drop(trailers);
    add(TEXT("bytes="));
    add_number(bytes);
    add(TEXT(" adler32="));
    add_number((u64)c.b << 16 | c.a);
    add(TEXT("\n"));
    answer_text(x->param, 200, (text){out.data, out.size});
}

// Send ?n= bytes, and their checksum as a trailer; ?ms= rests after each 64 KiB.
static void big(exchange *x) {
    static u8 data[CHUNK];
    u64 left = number(query(x->path, TEXT("n"))), rest = number(query(x->path, TEXT("ms")));
    u32 headers = fields_new();
    append(headers, TEXT("trailer"), TEXT("x-adler32"));
    u32 body = answer(x->param, 200, headers), stream = body_stream(body);
    checksum c = {1, 0};
    for (u32 i = 0; i < CHUNK; i++) data[i] = (u8)(i ^ i >> 8);
    while (left) {
        text chunk = {data, left < CHUNK ? (u32)left : CHUNK};
        sum(&c, chunk);
        if (!write_all(stream, chunk)) break;
        left -= chunk.size;
        if (rest) nap(rest);
    }
    output_drop(stream);
    u32 trailers = fields_new();
    add_number((u64)c.b << 16 | c.a);
    append(trailers, TEXT("x-adler32"), (text){out.data, out.size});
    finish(body, 1, trailers);
}

// Send for as long as someone reads.
static void endless(exchange *x) {
    u32 body = answer(x->param, 200, fields_new()), stream = body_stream(body);
    while (write_some(stream, TEXT("and so on\n"))) nap(1);
    output_drop(stream);
    finish(body, 0, 0);
}

static void loop(exchange *x) {
    volatile u32 turns = 0;
    (void)x;
    for (;;) turns++;
}

static void trap(exchange *x) {
    (void)x;
    __builtin_trap();
}

// Trap after ?n= bytes of the body were sent.
static void half(exchange *x) {
    u32 stream = body_stream(answer(x->param, 200, fields_new()));
    for (u64 left = number(query(x->path, TEXT("n"))); left; left--) write_some(stream, TEXT("x"));
    __builtin_trap();
}

// Say 100 bytes, send 5.
static void shorter(exchange *x) {
    u32 headers = fields_new();
    append(headers, TEXT("content-length"), TEXT("100"));
    u32 body = answer(x->param, 200, headers), stream = body_stream(body);
    write_some(stream, TEXT("only5"));
    output_drop(stream);
    finish(body, 0, 0);
}

// Drop the body instead of finishing it.
static void unfinished(exchange *x) {
    u32 body = answer(x->param, 200, fields_new()), stream = body_stream(body);
    write_some(stream, TEXT("begun\n"));
    output_drop(stream);
    outgoing_body_drop(body);
}

static void none(exchange *x) {
    outparam_drop(x->param);
}

static void error(exchange *x) {
    outparam_set(x->param, 1, INTERNAL_ERROR, 1, (u64)(u32) "lab says no", 11, 0, 0, 0);
}

static void trailers(exchange *x) {
    u32 headers = fields_new();
    append(headers, TEXT("trailer"), TEXT("x-last"));
    u32 body = answer(x->param, 200, headers), stream = body_stream(body);
    write_some(stream, TEXT("body, then trailers\n"));
    output_drop(stream);
    u32 fields = fields_new();
    append(fields, TEXT("x-last"), TEXT("word"));
    finish(body, 1, fields);
}

// Ask for memory until there is none left.
static void grow(exchange *x) {
    u32 pages = 0;
    while (__builtin_wasm_memory_grow(0, 16) != (__SIZE_TYPE__)-1) pages += 16;
    add(TEXT("pages="));
    add_number(pages);
    add(TEXT("\n"));
    answer_text(x->param, 200, (text){out.data, out.size});
}

static void status(exchange *x) {
    finish(answer(x->param, (u32)number(query(x->path, TEXT("n"))), fields_new()), 0, 0);
}

// Say what was asked: method, path, authority, headers, a line each.
static void request(exchange *x) {
    static const char *methods[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"};
    text_option method, authority;
    text entries;
    request_method(x->request, &method);
    add(TEXT("method: "));
    if (method.some < 9)  // the case of the variant; the tenth has a text
        for (const char *c = methods[method.some]; *c; c++) add((text){(const u8 *)c, 1});
    else
        add(method.value);
    add(TEXT("\npath: "));
    add(x->path);
    request_authority(x->request, &authority);
    add(TEXT("\nauthority: "));
    add(authority.some ? authority.value : TEXT("-"));
    add(TEXT("\n"));
    u32 headers = request_headers(x->request);
    fields_entries(headers, &entries);
    const header *h = (const header *)entries.data;
    for (u32 i = 0; i < entries.size; i++) {
        add(h[i].name);
        add(TEXT(": "));
        add(h[i].value);
        add(TEXT("\n"));
    }
    fields_drop(headers);
    answer_text(x->param, 200, (text){out.data, out.size < 4096 ? out.size : 4096});
}

// Answer with the headers that came in.
static void headers(exchange *x) {
    text entries;
    u32 asked = request_headers(x->request), headers = fields_new();
    fields_entries(asked, &entries);
    const header *h = (const header *)entries.data;
    for (u32 i = 0; i < entries.size; i++)
        if (h[i].name.size > 2 && h[i].name.data[0] == 'x' && h[i].name.data[1] == '-')
            append(headers, h[i].name, h[i].value);
    fields_drop(asked);
    finish(answer(x->param, 200, headers), 0, 0);
}

static void rest(exchange *x) {
    nap(number(query(x->path, TEXT("ms"))));
    answer_text(x->param, 200, TEXT("rested\n"));
}

// Answer first, then go on for ?ms=.
static void after(exchange *x) {
    answer_text(x->param, 200, TEXT("answered\n"));
    nap(number(query(x->path, TEXT("ms"))));
}

// Answer whole, then end: ?n=0 exit well, 1 exit with an error, 2 trap. ?ms= in between.
static void whole(exchange *x) {
    answer_text(x->param, 200, TEXT("whole\n"));
    u64 ms = number(query(x->path, TEXT("ms"))), how = number(query(x->path, TEXT("n")));
    if (ms) nap(ms);
    if (how < 2) leave((u32)how);
    __builtin_trap();
}

// How many requests this instance has served, this one included.
static void instance(exchange *x) {
    add_number(served);
    add(TEXT("\n"));
    answer_text(x->param, 200, (text){out.data, out.size});
}

static void print(exchange *x) {
    u32 to = get_stdout(), error = get_stderr();
    write_some(to, TEXT("a line on stdout\n"));
    write_some(error, TEXT("a line on stderr\n"));
    output_drop(to);
    output_drop(error);
    answer_text(x->param, 200, TEXT("printed\n"));
}

static void missing(exchange *x) {
    answer_text(x->param, 404, TEXT("no such path\n"));
}

static const struct {
    text name;
    void (*serve)(exchange *);
} paths[] = {
    {{(const u8 *)"/hello", 6}, hello},     {{(const u8 *)"/echo", 5}, echo},
    {{(const u8 *)"/count", 6}, count},     {{(const u8 *)"/big", 4}, big},
    {{(const u8 *)"/endless", 8}, endless}, {{(const u8 *)"/loop", 5}, loop},
    {{(const u8 *)"/trap", 5}, trap},       {{(const u8 *)"/half", 5}, half},
    {{(const u8 *)"/short", 6}, shorter},   {{(const u8 *)"/unfinished", 11}, unfinished},
    {{(const u8 *)"/none", 5}, none},       {{(const u8 *)"/error", 6}, error},
    {{(const u8 *)"/trailers", 9}, trailers}, {{(const u8 *)"/grow", 5}, grow},
    {{(const u8 *)"/status", 7}, status},   {{(const u8 *)"/request", 8}, request},
    {{(const u8 *)"/headers", 8}, headers}, {{(const u8 *)"/sleep", 6}, rest},
    {{(const u8 *)"/after", 6}, after},     {{(const u8 *)"/instance", 9}, instance},
    {{(const u8 *)"/print", 6}, print},     {{(const u8 *)"/whole", 6}, whole},
};

EXPORT(HANDLE) void handle(u32 incoming, u32 param) {
    arena_top = 0;
    out.size = 0;
    served++;
    exchange x = {incoming, param, requested_path(incoming)};
    text path = {x.path.data, 0};
    while (path.size < x.path.size && path.data[path.size] != '?') path.size++;
    void (*serve)(exchange *) = missing;
    for (u32 i = 0; i < sizeof paths / sizeof *paths; i++)
        if (same(paths[i].name, path)) serve = paths[i].serve;
    serve(&x);
    request_drop(incoming);
}
