// All of WASI, a package each path: /io /clocks /random /cli /filesystem /sockets /http; the answer is a line that says
// what was found. ?port= is where /sockets and /http find someone on 127.0.0.1.
#define ARENA (1 << 18)
#include "http.h"

#define FS "wasi:filesystem/types@" WASI
#define SOCKETS "wasi:sockets/"

typedef struct {
    text name, value;
} variable;

typedef struct {
    u32 descriptor;
    text path;
} directory;

// result<handle, error-code>, where error-code is an enum
typedef struct {
    u8 failed, pad[3];
    union {
        u32 handle;
        u8 code;
    };
    u32 second;
} code_result;

// result<own<future-incoming-response>, error-code> and option<result<result<own<incoming-response>, error-code>>>
typedef struct {
    u8 failed, pad[7];
    u32 future, pad1;
    u64 rest[4];
} sent_result;

typedef struct {
    u8 some, pad[7];
    u8 taken, pad1[7];
    u8 failed, pad2[7];
    u32 response, pad3;
    u64 rest[4];
} answered_result;

IMPORT("wasi:cli/environment@" WASI, "get-environment") void get_environment(text *);
IMPORT("wasi:cli/environment@" WASI, "get-arguments") void get_arguments(text *);
IMPORT("wasi:cli/stderr@" WASI, "get-stderr") u32 get_stderr(void);
IMPORT("wasi:clocks/monotonic-clock@" WASI, "now") u64 monotonic_now(void);
IMPORT("wasi:clocks/monotonic-clock@" WASI, "subscribe-duration") u32 clock_after(u64 nanoseconds);
IMPORT("wasi:clocks/wall-clock@" WASI, "now") void wall_now(u64 *);
IMPORT("wasi:random/random@" WASI, "get-random-bytes") void random_bytes(u64, text *);
IMPORT("wasi:random/insecure@" WASI, "get-insecure-random-u64") u64 insecure_u64(void);
IMPORT("wasi:filesystem/preopens@" WASI, "get-directories") void get_directories(text *);
IMPORT(FS, "[method]descriptor.open-at") void open_at(u32, u32, const u8 *, u32, u32, u32, code_result *);
IMPORT(FS, "[method]descriptor.read-via-stream") void read_via_stream(u32, u64, code_result *);
IMPORT(FS, "[method]descriptor.write-via-stream") void write_via_stream(u32, u64, code_result *);
IMPORT(FS, "[resource-drop]descriptor") void descriptor_drop(u32);
IMPORT(SOCKETS "instance-network@" WASI, "instance-network") u32 instance_network(void);
IMPORT(SOCKETS "network@" WASI, "[resource-drop]network") void network_drop(u32);
IMPORT(SOCKETS "tcp-create-socket@" WASI, "create-tcp-socket") void create_tcp_socket(u32, code_result *);
IMPORT(SOCKETS "tcp@" WASI, "[method]tcp-socket.start-connect")
void start_connect(u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u8 *);
IMPORT(SOCKETS "tcp@" WASI, "[method]tcp-socket.finish-connect") void finish_connect(u32, code_result *);
IMPORT(SOCKETS "tcp@" WASI, "[method]tcp-socket.subscribe") u32 tcp_subscribe(u32);
IMPORT(SOCKETS "tcp@" WASI, "[resource-drop]tcp-socket") void tcp_drop(u32);
IMPORT(POLL, "poll") void poll_all(const u32 *, u32, text *);
IMPORT(HTTP, "[constructor]outgoing-request") u32 out_new(u32);
IMPORT(HTTP, "[method]outgoing-request.set-scheme") u32 out_set_scheme(u32, u32, u32, const u8 *, u32);
IMPORT(HTTP, "[method]outgoing-request.set-authority") u32 out_set_authority(u32, u32, const u8 *, u32);
IMPORT("wasi:http/outgoing-handler@" WASI, "handle") void out_handle(u32, u32, u32, sent_result *);
IMPORT(HTTP, "[method]future-incoming-response.subscribe") u32 future_subscribe(u32);
IMPORT(HTTP, "[method]future-incoming-response.get") void future_get(u32, answered_result *);
IMPORT(HTTP, "[resource-drop]future-incoming-response") void future_drop(u32);
IMPORT(HTTP, "[method]incoming-response.status") u32 in_status(u32);
IMPORT(HTTP, "[method]incoming-response.consume") void in_consume(u32, handle_result *);
IMPORT(HTTP, "[resource-drop]incoming-response") void in_drop(u32);

#define READ 1
#define WRITE 2
#define CREATE 1
#define TRUNCATE 8
#define WOULD_BLOCK 8  // the case of the sockets' error-code

static u32 request;
static text path;

static void wait(u32 pollable) {
    poll_block(pollable);
    poll_drop(pollable);
}

static u32 must_code(code_result r) {
    if (r.failed) __builtin_trap();
    return r.handle;
}

// Read a stream to its end into the line.
static void take(u32 stream) {
    stream_result r;
    for (;;) {
        input_read(stream, 4096, &r);
        if (r.failed) break;
        add(r.data);
    }
    if (!r.closed) __builtin_trap();
    input_drop(stream);
}

// Which of two clocks is first, and the request's body.
static void io(void) {
    handle_result r;
    text ready;
    u32 pollables[2] = {clock_after(60000000000), clock_after(1000000)};
    poll_all(pollables, 2, &ready);
    add(TEXT("ready="));
    for (u32 i = 0; i < ready.size; i++) add_number(((const u32 *)ready.data)[i]);
    poll_drop(pollables[0]);
    poll_drop(pollables[1]);
    add(TEXT(" body="));
    request_consume(request, &r);
    u32 body = must(r);
    incoming_body_stream(body, &r);
    take(must(r));
    incoming_body_drop(body);
}

static void clocks(void) {
    u64 wall[2], before = monotonic_now();
    wait(clock_after(5000000));
    u64 slept = monotonic_now() - before;
    wall_now(wall);
    add(slept >= 5000000 ? TEXT("slept") : TEXT("too short"));
    add(TEXT(" seconds="));
    add_number(wall[0]);
}

static void random(void) {
    text bytes;
    random_bytes(16, &bytes);
    add(TEXT("bytes="));
    add_number(bytes.size);
    u64 one = insecure_u64(), two = insecure_u64();
    add(one != two ? TEXT(" different") : TEXT(" the same"));
}

static void cli(void) {
    text all;
    get_environment(&all);
    const variable *v = (const variable *)all.data;
    for (u32 i = 0; i < all.size; i++) {
        add(v[i].name);
        add(TEXT("="));
        add(v[i].value);
        add(TEXT(" "));
    }
    get_arguments(&all);
    add_number(all.size);
    u32 stream = get_stderr();
    write_some(stream, TEXT("said by the tour\n"));
    output_drop(stream);
}

static void filesystem(void) {
    text all, name = TEXT("file");
    code_result r;
    get_directories(&all);
    if (!all.size) __builtin_trap();
    const directory *root = (const directory *)all.data;
    open_at(root->descriptor, 0, name.data, name.size, CREATE | TRUNCATE, READ | WRITE, &r);
    u32 file = must_code(r);
    write_via_stream(file, 0, &r);
    u32 stream = must_code(r);
    write_some(stream, TEXT("written"));
    output_drop(stream);
    read_via_stream(file, 0, &r);
    take(must_code(r));
    descriptor_drop(file);
    for (u32 i = 0; i < all.size; i++) descriptor_drop(root[i].descriptor);
}

// Connect, send "ping", and take what comes until the other side closes.
static void sockets(void) {
    code_result r;
    u8 started[2];
    u32 port = (u32)number(query(path, TEXT("port"))), network = instance_network();
    create_tcp_socket(0, &r);
    u32 socket = must_code(r);
    start_connect(socket, network, 0, port, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, started);
    if (started[0]) __builtin_trap();
    for (;;) {
        finish_connect(socket, &r);
        if (!r.failed || r.code != WOULD_BLOCK) break;
        wait(tcp_subscribe(socket));
    }
    u32 in = must_code(r), to = r.second;
    write_some(to, TEXT("ping"));
    take(in);
    output_drop(to);
    tcp_drop(socket);
    network_drop(network);
}

static void http(void) {
    static u8 authority[16] = "127.0.0.1:";
    sent_result sent;
    answered_result got;
    handle_result r;
    text port = query(path, TEXT("port"));
    for (u32 i = 0; i < port.size && i < 5; i++) authority[10 + i] = port.data[i];
    u32 asked = out_new(fields_new());
    if (out_set_scheme(asked, 1, 0, 0, 0)) __builtin_trap();
    if (out_set_authority(asked, 1, authority, 10 + port.size)) __builtin_trap();
    out_handle(asked, 0, 0, &sent);
    if (sent.failed) __builtin_trap();
    wait(future_subscribe(sent.future));
    future_get(sent.future, &got);
    future_drop(sent.future);
    if (got.failed) __builtin_trap();
    add_number(in_status(got.response));
    add(TEXT(" "));
    in_consume(got.response, &r);
    u32 body = must(r);
    incoming_body_stream(body, &r);
    take(must(r));
    incoming_body_drop(body);
    in_drop(got.response);
}

static const struct {
    text path;
    void (*run)(void);
} stops[] = {
    {{(const u8 *)"/io", 3}, io},           {{(const u8 *)"/clocks", 7}, clocks},
    {{(const u8 *)"/random", 7}, random},   {{(const u8 *)"/cli", 4}, cli},
    {{(const u8 *)"/filesystem", 11}, filesystem}, {{(const u8 *)"/sockets", 8}, sockets},
    {{(const u8 *)"/http", 5}, http},
};

EXPORT(HANDLE) void handle(u32 incoming, u32 param) {
    arena_top = out.size = 0;
    request = incoming;
    path = requested_path(incoming);
    text stop = {path.data, 0};
    while (stop.size < path.size && path.data[stop.size] != '?') stop.size++;
    for (u32 i = 0; i < sizeof stops / sizeof *stops; i++)
        if (same(stops[i].path, stop)) stops[i].run();
    add(TEXT("\n"));
    request_drop(incoming);
    answer_text(param, 200, (text){out.data, out.size});
}
