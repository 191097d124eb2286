// Takes more than its share by WASI, in one way for each path, with the first part of `hostile.c`. A directory is
// granted that has `big`, a file of some mebibytes, and `many`, a directory of many entries.
#define ARENA (40 << 20)
#define HOSTILE_PARTS
#include "hostile.c"

#define CLI "wasi:cli/"
#define FS "wasi:filesystem/types@" WASI
#define SOCKETS "wasi:sockets/"

typedef struct {
    const void *data;
    u32 size;
} list;

typedef struct {
    u32 descriptor;
    text path;
} directory;

// result<handle, error-code>, where error-code is an enum
typedef struct {
    u8 failed, pad[3];
    u32 handle, second;
} code_result;

// result<_, error-code>, and results that are not looked at
typedef struct {
    _Alignas(8) u8 failed;
    u8 rest[127];
} any_result;

IMPORT("wasi:random/random@" WASI, "get-random-bytes") void random_bytes(u64, text *);
IMPORT("wasi:random/insecure@" WASI, "get-insecure-random-bytes") void insecure_bytes(u64, text *);
IMPORT("wasi:clocks/monotonic-clock@" WASI, "now") u64 clock_now(void);
IMPORT(CLI "stdout@" WASI, "get-stdout") u32 get_stdout(void);
IMPORT(CLI "environment@" WASI, "get-environment") void get_environment(list *);
IMPORT(STREAMS, "[method]output-stream.blocking-write-zeroes-and-flush") void output_zeroes(u32, u64, any_result *);
IMPORT(STREAMS, "[method]output-stream.splice") void output_splice(u32, u32, u64, any_result *);
IMPORT(STREAMS, "[method]input-stream.skip") void input_skip(u32, u64, any_result *);
IMPORT("wasi:filesystem/preopens@" WASI, "get-directories") void get_directories(list *);
IMPORT(FS, "[method]descriptor.open-at") void open_at(u32, u32, const u8 *, u32, u32, u32, code_result *);
IMPORT(FS, "[method]descriptor.stat-at") void stat_at(u32, u32, const u8 *, u32, any_result *);
IMPORT(FS, "[method]descriptor.rename-at") void rename_at(u32, const u8 *, u32, u32, const u8 *, u32, any_result *);
IMPORT(FS, "[method]descriptor.read") void file_read(u32, u64, u64, any_result *);
IMPORT(FS, "[method]descriptor.write") void file_write(u32, const u8 *, u32, u64, any_result *);
IMPORT(FS, "[method]descriptor.set-size") void file_resize(u32, u64, any_result *);
IMPORT(FS, "[method]descriptor.sync") void file_sync(u32, any_result *);
IMPORT(FS, "[method]descriptor.read-via-stream") void read_via_stream(u32, u64, code_result *);
IMPORT(FS, "[method]descriptor.read-directory") void read_directory(u32, code_result *);
IMPORT(FS, "[method]directory-entry-stream.read-directory-entry") void read_entry(u32, any_result *);
IMPORT(FS, "[resource-drop]directory-entry-stream") void entries_drop(u32);
IMPORT(SOCKETS "instance-network@" WASI, "instance-network") u32 instance_network(void);
IMPORT(SOCKETS "tcp-create-socket@" WASI, "create-tcp-socket") void create_tcp_socket(u32, code_result *);
IMPORT(SOCKETS "udp-create-socket@" WASI, "create-udp-socket") void create_udp_socket(u32, code_result *);
IMPORT(SOCKETS "udp@" WASI, "[method]udp-socket.start-bind")
void udp_start_bind(u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, any_result *);
IMPORT(SOCKETS "udp@" WASI, "[method]udp-socket.finish-bind") void udp_finish_bind(u32, any_result *);
IMPORT(SOCKETS "udp@" WASI, "[method]udp-socket.stream")
void udp_stream(u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, code_result *);
IMPORT(SOCKETS "udp@" WASI, "[method]udp-socket.local-address") void udp_local(u32, any_result *);
IMPORT(SOCKETS "udp@" WASI, "[method]incoming-datagram-stream.receive") void udp_receive(u32, u64, any_result *);
IMPORT(SOCKETS "udp@" WASI, "[method]outgoing-datagram-stream.check-send") void udp_check(u32, any_result *);
IMPORT(SOCKETS "udp@" WASI, "[method]outgoing-datagram-stream.send") void udp_send(u32, const void *, u32, any_result *);
IMPORT(SOCKETS "ip-name-lookup@" WASI, "resolve-addresses") void resolve(u32, const u8 *, u32, code_result *);

enum { READ = 1, WRITE = 2, CREATE = 1, DIRECTORY = 2 };
#define ALL (~0ull)

static any_result ignored;

static u32 root(void) {
    list found;
    get_directories(&found);
    return ((const directory *)found.data)->descriptor;
}

static u32 opened(text path, u32 how, u32 flags) {
    code_result r;
    open_at(root(), 1, path.data, path.size, how, flags, &r);
    if (r.failed) __builtin_trap();
    return r.handle;
}

static u32 big(void) {
    code_result r;
    read_via_stream(opened(TEXT("big"), 0, READ), 0, &r);
    if (r.failed) __builtin_trap();
    return r.handle;
}

static u8 *filled(u32 size, u8 with) {
    u8 *room = cabi_realloc(0, 0, 1, size);
    for (u32 i = 0; i < size; i++) room[i] = with;
    return room;
}

#define FOR_EVER(mark) for (u32 mark = arena_top;; arena_top = mark)

// ---------------------------------------------------------------- numbers

static void zeroes(exchange *x) {
    output_zeroes(get_stdout(), ALL, &ignored);
    done(x);
}

static void randoms(exchange *x) {
    text r;
    FOR_EVER(mark) random_bytes(x->n, &r);
}

static void insecures(exchange *x) {
    text r;
    FOR_EVER(mark) insecure_bytes(x->n, &r);
}

static void reads(exchange *x) {
    (void)x;
    u32 file = opened(TEXT("big"), 0, READ);
    FOR_EVER(mark) file_read(file, ALL, 0, &ignored);
}

static void streams(exchange *x) {
    (void)x;
    stream_result r;
    FOR_EVER(mark) {
        u32 stream = big();
        do {
            arena_top = mark;
            input_read(stream, ALL, &r);
        } while (!r.failed);
        input_drop(stream);
    }
}

static void skips(exchange *x) {
    (void)x;
    u32 stream = big();
    for (;;) input_skip(stream, ALL, &ignored);
}

static void splices(exchange *x) {
    (void)x;
    u32 out = get_stdout();
    FOR_EVER(mark) {
        u32 stream = big();
        do output_splice(out, stream, ALL, &ignored);
        while (!ignored.failed);
        input_drop(stream);
    }
}

static void sizes(exchange *x) {
    (void)x;
    u32 file = opened(TEXT("sparse"), CREATE, READ | WRITE);
    FOR_EVER(mark) {
        file_resize(file, 1ull << 62, &ignored);
        file_resize(file, ALL, &ignored);
        file_write(file, (const u8 *)"x", 1, 1ull << 40, &ignored);
        file_read(file, ALL, 1ull << 40, &ignored);
        file_resize(file, 0, &ignored);
    }
}

static void syncs(exchange *x) {
    (void)x;
    u32 file = opened(TEXT("synced"), CREATE, READ | WRITE);
    for (;;) {
        file_write(file, (const u8 *)"x", 1, 0, &ignored);
        file_sync(file, &ignored);
    }
}

// ---------------------------------------------------------------- lists and texts

// Write ?n= bytes at once: to a stream that takes fewer, or to a file.
static void writes(exchange *x) {
    stream_result r;
    output_put(get_stdout(), filled((u32)x->n, 'a'), (u32)x->n, &r);
    done(x);
}

static void stores(exchange *x) {
    u8 *data = filled((u32)x->n, 'a');
    u32 file = opened(TEXT("stored"), CREATE, READ | WRITE);
    for (;;) file_write(file, data + 1, (u32)x->n - 1, 0, &ignored);
}

// A path of ?n= bytes: longer than there are any, or winding.
static void paths(exchange *x) {
    u8 *path = filled((u32)x->n, 'a');
    u32 at = root();
    for (;;) stat_at(at, 1, path, (u32)x->n, &ignored);
}

static void winding(exchange *x) {
    u32 at = root(), size = (u32)x->n / 8 * 8;
    u8 *path = filled(size, '/');
    for (u32 i = 0; i < size; i += 8) {
        path[i] = 'm', path[i + 1] = 'a', path[i + 2] = 'n', path[i + 3] = 'y';
        path[i + 5] = path[i + 6] = '.';
    }
    for (;;) stat_at(at, 1, path, size, &ignored);
}

static void environment(exchange *x) {
    (void)x;
    list found;
    FOR_EVER(mark) get_environment(&found);
}

// ---------------------------------------------------------------- the log

static void lines(exchange *x) {
    (void)x;
    u8 *data = filled(4096, '\n');
    stream_result r;
    for (u32 out = get_stdout();;) output_write(out, data, 4096, &r);
}

static void line(exchange *x) {
    (void)x;
    u8 *data = filled(4096, '\x1b');
    stream_result r;
    for (u32 out = get_stdout();;) output_write(out, data, 4096, &r);
}

// ---------------------------------------------------------------- directories, files, sockets

static void entries(exchange *x) {
    (void)x;
    u32 many = opened(TEXT("many"), DIRECTORY, READ);
    FOR_EVER(mark) {
        code_result r;
        read_directory(many, &r);
        if (r.failed) __builtin_trap();
        do {
            arena_top = mark;
            read_entry(r.handle, &ignored);
        } while (!ignored.failed && ignored.rest[3]);
        entries_drop(r.handle);
    }
}

static void told(exchange *x, u32 count) {
    add_number(count);
    done(x);
}

// As many as there may be, for ?stay= milliseconds.
static void listings(exchange *x) {
    u32 many = opened(TEXT("many"), DIRECTORY, READ), count = 0;
    code_result r;
    for (u64 i = 0; i < x->n; i++) {
        read_directory(many, &r);
        if (r.failed) break;
        read_entry(r.handle, &ignored);
        count++;
    }
    told(x, count);
}

static void files(exchange *x) {
    u32 at = root(), count = 0;
    code_result r;
    for (u64 i = 0; i < x->n; i++) {
        open_at(at, 1, (const u8 *)"big", 3, 0, READ, &r);
        if (r.failed) break;
        count++;
    }
    told(x, count);
}

static void sockets(exchange *x) {
    u32 count = 0;
    code_result r;
    for (u64 i = 0; i < x->n; i++) {
        create_tcp_socket(0, &r);
        if (r.failed) break;
        count++;
    }
    told(x, count);
}

static void lookups(exchange *x) {
    (void)x;
    u32 network = instance_network();
    code_result r;
    for (;;) {
        resolve(network, (const u8 *)"nowhere.invalid", 15, &r);
        if (r.failed) nap(1);
    }
}

// Datagrams of 60,000 bytes, from a socket to itself.
static void datagrams(exchange *x) {
    (void)x;
    code_result r;
    create_udp_socket(0, &r);
    if (r.failed) __builtin_trap();
    u32 made = r.handle;
    udp_start_bind(made, instance_network(), 0, 0, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, &ignored);
    udp_finish_bind(made, &ignored);
    udp_local(made, &ignored);
    // result<ip-socket-address, error-code>: tag, tag, port, address
    u32 port = ignored.rest[7] | (u32)ignored.rest[8] << 8;
    udp_stream(made, 1, 0, port, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, &r);
    if (r.failed) __builtin_trap();
    u32 incoming = r.handle, outgoing = r.second;
    struct {
        text data;
        u32 some, rest[8];
    } datagram = {{filled(60000, 'd'), 60000}, 0, {0}};
    FOR_EVER(mark) {
        udp_check(outgoing, &ignored);
        udp_send(outgoing, &datagram, 1, &ignored);
        udp_receive(incoming, ALL, &ignored);
    }
}

static const way ways[] = {
    WAY(zeroes), WAY(randoms), WAY(insecures), WAY(reads), WAY(streams), WAY(skips), WAY(splices), WAY(sizes),
    WAY(syncs), WAY(writes), WAY(stores), WAY(paths), WAY(winding), WAY(environment), WAY(lines), WAY(line),
    WAY(entries), WAY(listings), WAY(files), WAY(sockets), WAY(lookups), WAY(datagrams),
};

EXPORT(HANDLE) void handle(u32 request, u32 param) { serve(request, param, ways, sizeof ways / sizeof *ways); }
