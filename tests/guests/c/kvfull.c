// wasi:keyvalue without labels: store, atomics and batch on one bucket. run() takes a line: the bucket, a command and
// its operands, "orders set k v", and returns what came of it as a line.
#define ARENA (1 << 20)
#include "abi.h"

#define STORE "wasi:keyvalue/store@0.2.0-draft"
#define ATOMICS "wasi:keyvalue/atomics@0.2.0-draft"
#define BATCH "wasi:keyvalue/batch@0.2.0-draft"

// variant error
typedef struct {
    u8 kind, pad[3];
    text other;
} kv_error;

typedef struct {
    u8 failed, pad[3];
    union {
        u32 handle;
        u8 yes;
        struct {
            u8 some, pad1[3];
            text value;
        };
        text list;
        kv_error error;
    };
} kv_result;

// The results with something 64 bits wide in them
typedef struct {
    u8 failed, pad[7];
    union {
        u64 number;
        struct {
            text keys;
            u8 some, pad1[7];
            u64 cursor;
        };
        kv_error error;
    };
} kv_wide_result;

typedef struct {
    text key, value;
} pair;

typedef struct {
    u8 some, pad[3];
    pair found;
} pair_option;

IMPORT(STORE, "open") void store_open(const u8 *, u32, kv_result *);
IMPORT(STORE, "[method]bucket.get") void bucket_get(u32, const u8 *, u32, kv_result *);
IMPORT(STORE, "[method]bucket.set") void bucket_set(u32, const u8 *, u32, const u8 *, u32, kv_result *);
IMPORT(STORE, "[method]bucket.delete") void bucket_delete(u32, const u8 *, u32, kv_result *);
IMPORT(STORE, "[method]bucket.exists") void bucket_exists(u32, const u8 *, u32, kv_result *);
IMPORT(STORE, "[method]bucket.list-keys") void bucket_list_keys(u32, u32, u64, kv_wide_result *);
IMPORT(STORE, "[resource-drop]bucket") void bucket_drop(u32);
IMPORT(ATOMICS, "increment") void increment(u32, const u8 *, u32, u64, kv_wide_result *);
IMPORT(BATCH, "get-many") void get_many(u32, const text *, u32, kv_result *);
IMPORT(BATCH, "set-many") void set_many(u32, const pair *, u32, kv_result *);
IMPORT(BATCH, "delete-many") void delete_many(u32, const text *, u32, kv_result *);

static text line;

// Take the next word off the line.
static text word(void) {
    text w = {line.data, 0};
    while (w.size < line.size && line.data[w.size] != ' ') w.size++;
    u32 taken = w.size < line.size ? w.size + 1 : w.size;
    line = (text){line.data + taken, line.size - taken};
    return w;
}

static void say_error(const kv_error *e) {
    add(e->kind == 0 ? TEXT("no-such-store") : e->kind == 1 ? TEXT("access-denied") : TEXT("other: "));
    if (e->kind == 2) add(e->other);
}

static int good(const kv_result *r) {
    if (r->failed) say_error(&r->error);
    return !r->failed;
}

static int good_wide(const kv_wide_result *r) {
    if (r->failed) say_error(&r->error);
    return !r->failed;
}

static void get(u32 bucket) {
    kv_result r;
    text key = word();
    bucket_get(bucket, key.data, key.size, &r);
    if (!good(&r)) return;
    add(r.some ? TEXT("some ") : TEXT("none"));
    if (r.some) add(r.value);
}

static void set(u32 bucket) {
    kv_result r;
    text key = word();
    bucket_set(bucket, key.data, key.size, line.data, line.size, &r);
    if (good(&r)) add(TEXT("ok"));
}

static void delete(u32 bucket) {
    kv_result r;
    text key = word();
    bucket_delete(bucket, key.data, key.size, &r);
    if (good(&r)) add(TEXT("ok"));
}

static void exists(u32 bucket) {
    kv_result r;
    text key = word();
    bucket_exists(bucket, key.data, key.size, &r);
    if (good(&r)) add(r.yes ? TEXT("true") : TEXT("false"));
}

// One page: the keys, and the cursor of the next if there is one; the operand is a cursor.
static void keys(u32 bucket) {
    kv_wide_result r;
    text cursor = word();
    bucket_list_keys(bucket, cursor.size != 0, number(cursor), &r);
    if (!good_wide(&r)) return;
    const text *k = (const text *)r.keys.data;
    for (u32 i = 0; i < r.keys.size; i++) {
        if (i) add(TEXT(" "));
        add(k[i]);
    }
    if (r.some) {
        add(TEXT(" next "));
        add_number(r.cursor);
    }
}

static void count(u32 bucket) {
    kv_wide_result r;
    text key = word();
    increment(bucket, key.data, key.size, number(word()), &r);
    if (good_wide(&r)) add_number(r.number);
}

static void get_all(u32 bucket) {
    static text keys[1024];
    kv_result r;
    u32 n = 0;
    while (line.size && n < 1024) keys[n++] = word();
    get_many(bucket, keys, n, &r);
    if (!good(&r)) return;
    const pair_option *p = (const pair_option *)r.list.data;
    for (u32 i = 0; i < r.list.size; i++) {
        if (i) add(TEXT(" "));
        if (p[i].some) {
            add(p[i].found.key);
            add(TEXT("="));
            add(p[i].found.value);
        } else {
            add(TEXT("-"));
        }
    }
}

static void set_all(u32 bucket) {
    static pair pairs[1024];
    kv_result r;
    u32 n = 0;
    while (line.size && n < 1024) {
        pairs[n].key = word();
        pairs[n++].value = word();
    }
    set_many(bucket, pairs, n, &r);
    if (good(&r)) add(TEXT("ok"));
}

static void delete_all(u32 bucket) {
    static text keys[1024];
    kv_result r;
    u32 n = 0;
    while (line.size && n < 1024) keys[n++] = word();
    delete_many(bucket, keys, n, &r);
    if (good(&r)) add(TEXT("ok"));
}

static const struct {
    text name;
    void (*run)(u32);
} commands[] = {
    {{(const u8 *)"get", 3}, get},           {{(const u8 *)"set", 3}, set},
    {{(const u8 *)"delete", 6}, delete},     {{(const u8 *)"exists", 6}, exists},
    {{(const u8 *)"keys", 4}, keys},         {{(const u8 *)"increment", 9}, count},
    {{(const u8 *)"get-many", 8}, get_all},  {{(const u8 *)"set-many", 8}, set_all},
    {{(const u8 *)"delete-many", 11}, delete_all},
};

// run: func(command: string) -> string
EXPORT("run") text *run(const u8 *data, u32 size) {
    static text result;
    kv_result r;
    line = (text){data, size};
    out.size = 0;
    text name = word(), command = word();
    store_open(name.data, name.size, &r);
    if (good(&r)) {
        u32 bucket = r.handle;
        for (u32 i = 0; i < sizeof commands / sizeof *commands; i++)
            if (same(commands[i].name, command)) commands[i].run(bucket);
        bucket_drop(bucket);
    }
    result = (text){out.data, out.size};
    return &result;
}

EXPORT("cabi_post_run") void post_run(text *result) {
    (void)result;
    arena_top = 0;
}
