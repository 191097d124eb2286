// A command-line program: each argument that names a command below is run, with the arguments after it as operands.
// Paths are looked up in the first directory that the host opened.
#define ARENA (1 << 20)
#include "streams.h"

#define CLI "wasi:cli/"
#define FS "wasi:filesystem/types@" WASI
#define SOCKETS "wasi:sockets/"

typedef struct {
    const void *data;
    u32 size;
} list;

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

// result<_, error-code>
typedef struct {
    u8 failed, code;
} done_result;

// result<option<directory-entry>, error-code>
typedef struct {
    u8 failed, pad[3];
    u8 some, pad1[3];
    u8 type, pad2[3];
    text name;
} entry_result;

// result<descriptor-stat, error-code>
typedef struct {
    u8 failed, pad[7];
    u8 type, pad1[7];
    u64 links, size;
    u64 times[9];
} stat_result;

IMPORT(CLI "environment@" WASI, "get-environment") void get_environment(list *);
IMPORT(CLI "environment@" WASI, "get-arguments") void get_arguments(list *);
IMPORT(CLI "stdin@" WASI, "get-stdin") u32 get_stdin(void);
IMPORT(CLI "stdout@" WASI, "get-stdout") u32 get_stdout(void);
IMPORT(CLI "stderr@" WASI, "get-stderr") u32 get_stderr(void);
IMPORT(CLI "exit@" WASI, "exit") void exit_with(u32 failed);
IMPORT("wasi:clocks/monotonic-clock@" WASI, "now") u64 monotonic_now(void);
IMPORT("wasi:clocks/monotonic-clock@" WASI, "subscribe-duration") u32 clock_after(u64 nanoseconds);
IMPORT("wasi:clocks/wall-clock@" WASI, "now") void wall_now(u64 *);
IMPORT("wasi:random/random@" WASI, "get-random-bytes") void random_bytes(u64, text *);
IMPORT("wasi:random/random@" WASI, "get-random-u64") u64 random_u64(void);
IMPORT("wasi:filesystem/preopens@" WASI, "get-directories") void get_directories(list *);
IMPORT(FS, "[method]descriptor.open-at") void open_at(u32, u32, const u8 *, u32, u32, u32, code_result *);
IMPORT(FS, "[method]descriptor.read-via-stream") void read_via_stream(u32, u64, code_result *);
IMPORT(FS, "[method]descriptor.write-via-stream") void write_via_stream(u32, u64, code_result *);
IMPORT(FS, "[method]descriptor.read-directory") void read_directory(u32, code_result *);
IMPORT(FS, "[method]descriptor.stat-at") void stat_at(u32, u32, const u8 *, u32, stat_result *);
IMPORT(FS, "[method]descriptor.create-directory-at") void create_directory_at(u32, const u8 *, u32, done_result *);
IMPORT(FS, "[method]descriptor.unlink-file-at") void unlink_file_at(u32, const u8 *, u32, done_result *);
IMPORT(FS, "[method]descriptor.symlink-at")
void symlink_at(u32, const u8 *, u32, const u8 *, u32, done_result *);
IMPORT(FS, "[method]descriptor.rename-at")
void rename_at(u32, const u8 *, u32, u32, const u8 *, u32, done_result *);
IMPORT(FS, "[resource-drop]descriptor") void descriptor_drop(u32);
IMPORT(FS, "[method]directory-entry-stream.read-directory-entry") void read_entry(u32, entry_result *);
IMPORT(FS, "[resource-drop]directory-entry-stream") void entries_drop(u32);
IMPORT(SOCKETS "instance-network@" WASI, "instance-network") u32 instance_network(void);
IMPORT(SOCKETS "network@" WASI, "[resource-drop]network") void network_drop(u32);
IMPORT(SOCKETS "tcp-create-socket@" WASI, "create-tcp-socket") void create_tcp_socket(u32, code_result *);
IMPORT(SOCKETS "tcp@" WASI, "[method]tcp-socket.start-connect")
void start_connect(u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, done_result *);
IMPORT(SOCKETS "tcp@" WASI, "[method]tcp-socket.finish-connect") void finish_connect(u32, code_result *);
IMPORT(SOCKETS "tcp@" WASI, "[method]tcp-socket.subscribe") u32 tcp_subscribe(u32);
IMPORT(SOCKETS "tcp@" WASI, "[resource-drop]tcp-socket") void tcp_drop(u32);

#define READ 1
#define WRITE 2
#define CREATE 1
#define DIRECTORY 2
#define TRUNCATE 8
#define WOULD_BLOCK 8  // the case of the sockets' error-code

static u32 console, root, failed;
static const text *operand, *last;

static text next(void) {
    return operand < last ? *operand++ : TEXT("");
}

static void say(text t) {
    write_all(console, t);
}

static void end_line(void) {
    add(TEXT("\n"));
    say((text){out.data, out.size});
    out.size = 0;
}

static void complain(u32 code) {
    add(TEXT("error "));
    add_number(code);
    end_line();
    failed = 1;
}

static void wait(u32 pollable) {
    poll_block(pollable);
    poll_drop(pollable);
}

// Copy a stream to standard output until it ends.
static void copy(u32 stream) {
    u32 mark = arena_top;
    for (;;) {
        stream_result r;
        arena_top = mark;
        input_read(stream, 65536, &r);
        if (r.failed) break;
        say(r.data);
    }
    arena_top = mark;
    input_drop(stream);
}

static int open_path(text path, u32 open_flags, u32 flags, u32 *descriptor) {
    code_result r;
    open_at(root, 1, path.data, path.size, open_flags, flags, &r);
    if (r.failed) complain(r.code);
    *descriptor = r.handle;
    return !r.failed;
}

static void args(void) {
    while (operand < last) {
        add(next());
        end_line();
    }
}

static void env(void) {
    list l;
    get_environment(&l);
    const variable *v = l.data;
    for (u32 i = 0; i < l.size; i++) {
        add(v[i].name);
        add(TEXT("="));
        add(v[i].value);
        end_line();
    }
}

static void dirs(void) {
    list l;
    get_directories(&l);
    const directory *d = l.data;
    for (u32 i = 0; i < l.size; i++) {
        add(d[i].path);
        end_line();
    }
}

static void cat(void) {
    u32 file;
    code_result r;
    if (!open_path(next(), 0, READ, &file)) return;
    read_via_stream(file, 0, &r);
    if (r.failed) complain(r.code);
    else copy(r.handle);
    descriptor_drop(file);
}

static void write(void) {
    u32 file;
    code_result r;
    if (!open_path(next(), CREATE | TRUNCATE, READ | WRITE, &file)) return;
    write_via_stream(file, 0, &r);
    if (r.failed) {
        complain(r.code);
    } else {
        if (!write_some(r.handle, next())) complain(255);
        output_drop(r.handle);
    }
    descriptor_drop(file);
}

static void ls(void) {
    u32 folder;
    code_result r;
    entry_result e;
    if (!open_path(next(), DIRECTORY, READ, &folder)) return;
    read_directory(folder, &r);
    if (r.failed) {
        complain(r.code);
        return;
    }
    for (;;) {
        read_entry(r.handle, &e);
        if (e.failed || !e.some) break;
        add(e.name);
        end_line();
    }
    entries_drop(r.handle);
    descriptor_drop(folder);
}

static void stat(void) {
    stat_result r;
    text path = next();
    stat_at(root, 1, path.data, path.size, &r);
    if (r.failed) {
        complain(r.type);
        return;
    }
    add(TEXT("type="));
    add_number(r.type);
    add(TEXT(" size="));
    add_number(r.size);
    end_line();
}

static void report(done_result r) {
    if (r.failed) complain(r.code);
}

static void mkdir(void) {
    done_result r;
    text path = next();
    create_directory_at(root, path.data, path.size, &r);
    report(r);
}

static void rm(void) {
    done_result r;
    text path = next();
    unlink_file_at(root, path.data, path.size, &r);
    report(r);
}

static void link(void) {
    done_result r;
    text target = next(), path = next();
    symlink_at(root, target.data, target.size, path.data, path.size, &r);
    report(r);
}

static void mv(void) {
    done_result r;
    text from = next(), to = next();
    rename_at(root, from.data, from.size, root, to.data, to.size, &r);
    report(r);
}

static void clock(void) {
    u64 wall[2], before = monotonic_now();
    wall_now(wall);
    add(TEXT("seconds="));
    add_number(wall[0]);
    add(monotonic_now() >= before ? TEXT(" forward") : TEXT(" backward"));
    end_line();
}

static void rest(void) {
    wait(clock_after(number(next()) * 1000000));
}

static void random(void) {
    text bytes;
    random_bytes(number(next()), &bytes);
    for (u32 i = 0; i < bytes.size; i++) {
        add((text){(const u8 *)"0123456789abcdef" + (bytes.data[i] >> 4), 1});
        add((text){(const u8 *)"0123456789abcdef" + (bytes.data[i] & 15), 1});
    }
    end_line();
    add_number(random_u64());
    end_line();
}

static void input(void) {
    copy(get_stdin());
}

static void warn(void) {
    u32 stream = get_stderr();
    add(next());
    add(TEXT("\n"));
    write_all(stream, (text){out.data, out.size});
    out.size = 0;
    output_drop(stream);
}

// Connect to 127.0.0.1:PORT, send a text, print what comes back until the other side closes.
static void tcp(void) {
    code_result r;
    done_result started;
    u32 port = (u32)number(next());
    create_tcp_socket(0, &r);
    if (r.failed) {
        complain(r.code);
        return;
    }
    u32 socket = r.handle, network = instance_network();
    start_connect(socket, network, 0, port, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, &started);
    if (started.failed) {
        complain(started.code);
    } else {
        for (;;) {
            finish_connect(socket, &r);
            if (!r.failed || r.code != WOULD_BLOCK) break;
            wait(tcp_subscribe(socket));
        }
        if (r.failed) {
            complain(r.code);
        } else {
            u32 in = r.handle, to = r.second;
            write_some(to, next());
            copy(in);
            output_drop(to);
        }
    }
    tcp_drop(socket);
    network_drop(network);
}

static void fail(void) {
    failed = 1;
}

static void leave(void) {
    exit_with((u32)number(next()));
}

static void trap(void) {
    __builtin_trap();
}

static const struct {
    text name;
    void (*run)(void);
} commands[] = {
    {{(const u8 *)"args", 4}, args},     {{(const u8 *)"env", 3}, env},       {{(const u8 *)"dirs", 4}, dirs},
    {{(const u8 *)"cat", 3}, cat},       {{(const u8 *)"write", 5}, write},   {{(const u8 *)"ls", 2}, ls},
    {{(const u8 *)"stat", 4}, stat},     {{(const u8 *)"mkdir", 5}, mkdir},   {{(const u8 *)"rm", 2}, rm},
    {{(const u8 *)"link", 4}, link},     {{(const u8 *)"mv", 2}, mv},         {{(const u8 *)"clock", 5}, clock},
    {{(const u8 *)"sleep", 5}, rest},    {{(const u8 *)"random", 6}, random}, {{(const u8 *)"stdin", 5}, input},
    {{(const u8 *)"warn", 4}, warn},     {{(const u8 *)"tcp", 3}, tcp},       {{(const u8 *)"fail", 4}, fail},
    {{(const u8 *)"exit", 4}, leave},    {{(const u8 *)"trap", 4}, trap},
};

EXPORT("wasi:cli/run@" WASI "#run") u32 run(void) {
    list arguments, directories;
    arena_top = out.size = failed = 0;
    console = get_stdout();
    get_directories(&directories);
    const directory *d = directories.data;
    if (directories.size) root = d[0].descriptor;
    get_arguments(&arguments);
    operand = arguments.data;
    last = operand + arguments.size;
    while (operand < last) {
        text name = next();
        for (u32 i = 0; i < sizeof commands / sizeof *commands; i++)
            if (same(commands[i].name, name)) commands[i].run();
    }
    for (u32 i = 0; i < directories.size; i++) descriptor_drop(d[i].descriptor);
    output_drop(console);
    return failed;
}
