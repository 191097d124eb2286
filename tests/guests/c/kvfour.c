// HTTP in front of four labels: /LABEL/BUCKET/KEY reads, ?set=VALUE writes; LABEL is first, second, third, fourth, or all
// of them in turn. "plain" is the store without a label, which atomics go with: ?add=N increments there.
// PLAIN has only that one: /BUCKET/KEY. Each answers with a line. An error of a store is a line too, with status 503.
#define ARENA (1 << 20)
#include "http.h"

// result<own<bucket>, error>, result<option<list<u8>>, error> and result<_, error>
typedef struct {
    u8 failed, pad[3];
    union {
        u32 bucket;
        struct {
            u8 tag, pad1[3];  // of the option, or of the error
            text value;       // of the option, or of error.other
        };
    };
} kv_result;

// result<u64, error>
typedef struct {
    u8 failed, pad[7];
    union {
        u64 number;
        struct {
            u8 tag, pad1[3];
            text value;
        };
    };
} count_of;

IMPORT("wasi:keyvalue/atomics@0.2.0-draft", "increment") void increment(u32, const u8 *, u32, u64, count_of *);

static u32 status;

static void refuse(u8 tag, text other) {
    add(tag == 0 ? TEXT("no-such-store") : tag == 1 ? TEXT("access-denied") : other);
    status = 503;
}

static void count(u32 bucket, text key, text delta) {
    count_of r;
    increment(bucket, key.data, key.size, number(delta), &r);
    if (r.failed) refuse(r.tag, r.value);
    else add_number(r.number);
}

#define STORE(label, module)                                                                                \
    IMPORT(module, "open") void label##_open(const u8 *, u32, kv_result *);                                 \
    IMPORT(module, "[method]bucket.get") void label##_get(u32, const u8 *, u32, kv_result *);               \
    IMPORT(module, "[method]bucket.set") void label##_set(u32, const u8 *, u32, const u8 *, u32, kv_result *); \
    IMPORT(module, "[resource-drop]bucket") void label##_drop(u32);                                         \
    static void label##_use(text name, text key, text path) {                                               \
        kv_result r;                                                                                        \
        text value = query(path, TEXT("set")), delta = query(path, TEXT("add"));                            \
        label##_open(name.data, name.size, &r);                                                             \
        u32 bucket = r.bucket, opened = !r.failed;                                                          \
        if (!opened) {                                                                                      \
            refuse(r.tag, r.value);                                                                         \
        } else if (delta.size) {                                                                            \
            count(bucket, key, delta);                                                                      \
        } else if (value.size) {                                                                            \
            label##_set(bucket, key.data, key.size, value.data, value.size, &r);                            \
            if (r.failed) refuse(r.tag, r.value);                                                           \
            else add(TEXT("ok"));                                                                           \
        } else {                                                                                            \
            label##_get(bucket, key.data, key.size, &r);                                                    \
            if (r.failed) refuse(r.tag, r.value);                                                           \
            else add(r.tag ? r.value : TEXT("none"));                                                       \
        }                                                                                                   \
        add(TEXT("\n"));                                                                                    \
        if (opened) label##_drop(bucket);                                                                   \
    }

#ifndef PLAIN
STORE(first, "first")
STORE(second, "second")
STORE(third, "third")
STORE(fourth, "fourth")
#endif
STORE(plain, "wasi:keyvalue/store@0.2.0-draft")

// Take the next part of a path off it.
static text part(text *path) {
    text p = {path->data, 0};
    while (p.size < path->size && p.data[p.size] != '/' && p.data[p.size] != '?') p.size++;
    u32 taken = p.size < path->size ? p.size + 1 : p.size;
    *path = (text){path->data + taken, path->size - taken};
    return p;
}

EXPORT(HANDLE) void handle(u32 request, u32 param) {
    arena_top = out.size = 0;
    status = 200;
    text path = requested_path(request), rest = path;
    part(&rest);  // what is before the first slash
#ifdef PLAIN
    text bucket = part(&rest), key = part(&rest);
    plain_use(bucket, key, path);
#else
    text label = part(&rest), bucket = part(&rest), key = part(&rest);
    int all = same(label, TEXT("all"));
    if (all || same(label, TEXT("first"))) first_use(bucket, key, path);
    if (all || same(label, TEXT("second"))) second_use(bucket, key, path);
    if (all || same(label, TEXT("third"))) third_use(bucket, key, path);
    if (all || same(label, TEXT("fourth"))) fourth_use(bucket, key, path);
    if (same(label, TEXT("plain"))) plain_use(bucket, key, path);
#endif
    request_drop(request);
    answer_text(param, status, (text){out.data, out.size});
}
