// wasmcloud:blobstore passed on: what comes in goes out, the result comes back as it lies. With LABELLED the store
// has two labels.
#define ARENA (8 << 20)
#include "abi.h"

#define CONTAINER "wasmcloud:blobstore/container@0.1.0"

// Any result; an error is its case in words[0] and the text of `other` in the two after it. Where the good case has
// 64 bits in it, both lie one word later.
typedef union {
    u8 failed;
    struct {
        u32 failed_word, words[11];
    };
    u64 align;
} blob_result;

#define STORE(module, as)                                                                           \
    IMPORT(module, "create-container") void as##_create(const u8 *, u32, blob_result *);            \
    IMPORT(module, "get-container") void as##_get(const u8 *, u32, blob_result *);                  \
    IMPORT(module, "delete-container") void as##_delete(const u8 *, u32, blob_result *);            \
    IMPORT(module, "container-exists") void as##_exists(const u8 *, u32, blob_result *);            \
    IMPORT(module, "copy-object")                                                                   \
    void as##_copy(const u8 *, u32, const u8 *, u32, const u8 *, u32, const u8 *, u32, blob_result *); \
    IMPORT(module, "move-object")                                                                   \
    void as##_move(const u8 *, u32, const u8 *, u32, const u8 *, u32, const u8 *, u32, blob_result *);

#ifdef LABELLED
STORE("kit", kit)
STORE("other", other)

static int is_other(const u8 **name, u32 *size) {
    const u32 prefix = sizeof "other:" - 1;
    if (*size < prefix || !same((text){*name, prefix}, TEXT("other:"))) return 0;
    *name += prefix;
    *size -= prefix;
    return 1;
}
#define ROUTE(call, name, size, ...) \
    (is_other(&name, &size) ? other_##call(name, size, __VA_ARGS__) : kit_##call(name, size, __VA_ARGS__))
#else
STORE("wasmcloud:blobstore/blobstore@0.1.0", store)
#define ROUTE(call, name, size, ...) store_##call(name, size, __VA_ARGS__)
#endif

#define METHOD(name) IMPORT(CONTAINER, "[method]container." name)
METHOD("name") void c_name(u32, blob_result *);
METHOD("info") void c_info(u32, blob_result *);
METHOD("get-data") void c_get_data(u32, const u8 *, u32, u64, u64, blob_result *);
METHOD("list-objects") void c_list(u32, blob_result *);
METHOD("delete-object") void c_delete(u32, const u8 *, u32, blob_result *);
METHOD("delete-objects") void c_delete_many(u32, const void *, u32, blob_result *);
METHOD("has-object") void c_has(u32, const u8 *, u32, blob_result *);
METHOD("object-info") void c_stat(u32, const u8 *, u32, blob_result *);
METHOD("clear") void c_clear(u32, blob_result *);
IMPORT(CONTAINER, "[resource-drop]container") void c_drop(u32);
IMPORT(CONTAINER, "[async-lower][method]container.write-data")
u32 c_write_data(u32, const u8 *, u32, u32 stream, blob_result *);

// Streams are read and written as if they were files: whoever does it waits. CODE is count << 4 | how it ended.
#define DROPPED 1
#define BLOCKED 0xffffffff
IMPORT(CONTAINER, "[async-lower][stream-read-0][method]container.get-data") u32 start_in_read(u32, u8 *, u32);
IMPORT(CONTAINER, "[stream-drop-readable-0][method]container.get-data") void in_drop(u32);
IMPORT(CONTAINER, "[async-lower][stream-read-0][method]container.list-objects") u32 start_names_read(u32, text *, u32);
IMPORT(CONTAINER, "[stream-drop-readable-0][method]container.list-objects") void names_drop(u32);
IMPORT(CONTAINER, "[stream-new-0][method]container.write-data") u64 out_new(void);
IMPORT(CONTAINER, "[async-lower][stream-write-0][method]container.write-data") u32 start_out_write(u32, const u8 *, u32);
IMPORT(CONTAINER, "[stream-drop-writable-0][method]container.write-data") void out_drop(u32);

enum { RETURNED = 2 };
IMPORT("$root", "[waitable-set-new]") u32 set_new(void);
IMPORT("$root", "[waitable-set-wait]") u32 set_wait(u32, u32 *);
IMPORT("$root", "[waitable-set-drop]") void set_drop(u32);
IMPORT("$root", "[waitable-join]") void join(u32, u32);
IMPORT("$root", "[subtask-drop]") void subtask_drop(u32);
IMPORT("$root", "[subtask-cancel]") u32 subtask_cancel(u32);

// Wait for what a handle, of a subtask or an end of a stream, has to tell.
static u32 told(u32 handle) {
    u32 set = set_new(), event[2];
    join(handle, set);
    set_wait(set, event);
    join(handle, 0);
    set_drop(set);
    return event[1];
}

static u32 in_read(u32 stream, u8 *at, u32 size) {
    u32 code = start_in_read(stream, at, size);
    return code == BLOCKED ? told(stream) : code;
}

static u32 names_read(u32 stream, text *at, u32 count) {
    u32 code = start_names_read(stream, at, count);
    return code == BLOCKED ? told(stream) : code;
}

static u32 out_write(u32 stream, const u8 *data, u32 size) {
    u32 code = start_out_write(stream, data, size);
    return code == BLOCKED ? told(stream) : code;
}

static blob_result result;
static u8 buffer[65536];

#define EXPORTED(in, name, as)                                                                               \
    EXPORT("cabi_post_tests:guests/" in "#" name) void as##_taken(const void *r) { (void)r, arena_top = 0; } \
    EXPORT("tests:guests/" in "#" name) void *as
#define FORWARD(name, as) EXPORTED("blobs", name, as)

// Find the container and use it; an error is shifted to where the error of this result belongs.
#define WITH_AT(shift, use)                                                             \
    do {                                                                                \
        ROUTE(get, name, name_size, &result);                                           \
        if (!result.failed) {                                                           \
            u32 container = result.words[0];                                            \
            use;                                                                        \
            c_drop(container);                                                          \
        } else if (shift) {                                                             \
            for (int i = 2; i >= 0; i--) result.words[i + 1] = result.words[i];         \
        }                                                                               \
        return &result;                                                                 \
    } while (0)
#define WITH(use) WITH_AT(0, use)
#define NAME const u8 *name, u32 name_size
#define KEY const u8 *key, u32 size

// ------------------------------------------------------------ content

// A write that is under way.
typedef struct {
    u32 stream, status;
    blob_result result;
} upload;

static upload start(u32 container, const u8 *key, u32 size, blob_result *at) {
    u64 ends = out_new();
    upload up = {.stream = (u32)(ends >> 32)};
    up.status = c_write_data(container, key, size, (u32)ends, at);
    return up;
}

// Write all of it; 0 if the reader has gone.
static int put_all(upload *up, const u8 *data, u32 size) {
    while (size) {
        u32 code = out_write(up->stream, data, size);
        data += code >> 4;
        size -= code >> 4;
        if ((code & 15) == DROPPED) return 0;
    }
    return 1;
}

static void wait_for(u32 status) {
    if ((status & 15) == RETURNED) return;
    u32 subtask = status >> 4;
    while (told(subtask) != RETURNED) continue;
    subtask_drop(subtask);
}

static void finish(upload *up) {
    out_drop(up->stream);
    wait_for(up->status);
}

static void put(u32 container, const u8 *key, u32 size, const u8 *data, u32 data_size) {
    upload up = start(container, key, size, &result);
    put_all(&up, data, data_size);
    finish(&up);
}

static void abandon(u32 container, const u8 *key, u32 size, const u8 *data, u32 data_size) {
    upload up = start(container, key, size, &result);
    put_all(&up, data, data_size);
    if ((up.status & 15) == RETURNED) {
        out_drop(up.stream);
        return;
    }
    if (subtask_cancel(up.status >> 4) != RETURNED) result.failed_word = 0;
    subtask_drop(up.status >> 4);
    out_drop(up.stream);
}

static void get(u32 container, const u8 *key, u32 size, u64 from, u64 to) {
    c_get_data(container, key, size, from, to, &result);
    if (result.failed) return;
    u32 stream = result.words[0], code, room = 1 << 16;
    u8 *found = arena + arena_top;
    do {
        if (arena_top + room > sizeof arena) __builtin_trap();
        code = in_read(stream, arena + arena_top, room);
        arena_top += code >> 4;
    } while ((code & 15) != DROPPED);
    in_drop(stream);
    result.words[0] = (u32)found;
    result.words[1] = (u32)(arena + arena_top - found);
}

static void list(u32 container) {
    static text names[4096];
    c_list(container, &result);
    if (result.failed) return;
    u32 stream = result.words[0], code, count = 0;
    do {
        if (count == 4096) __builtin_trap();
        code = names_read(stream, names + count, 4096 - count);
        count += code >> 4;
    } while ((code & 15) != DROPPED);
    names_drop(stream);
    result.words[0] = (u32)names;
    result.words[1] = count;
}

// ------------------------------------------------------------ blobs

FORWARD("create", do_create)(NAME) {
    ROUTE(create, name, name_size, &result);
    if (!result.failed) c_drop(result.words[0]);
    return &result;
}
FORWARD("open", do_open)(NAME) { WITH(result.words[0] = 0); }
FORWARD("remove", do_remove)(NAME) {
    ROUTE(delete, name, name_size, &result);
    return &result;
}
FORWARD("there", do_there)(NAME) {
    ROUTE(exists, name, name_size, &result);
    return &result;
}
// Two places in one store.
#ifdef LABELLED
#define BOTH(call)                                                                                         \
    do {                                                                                                   \
        int first = is_other(&name, &name_size), second = is_other(&to, &to_size);                         \
        if (first != second) __builtin_trap();                                                             \
        if (first) other_##call(name, name_size, key, size, to, to_size, as, as_size, &result);            \
        else kit_##call(name, name_size, key, size, to, to_size, as, as_size, &result);                    \
        return &result;                                                                                    \
    } while (0)
#else
#define BOTH(call)                                                                   \
    do {                                                                             \
        store_##call(name, name_size, key, size, to, to_size, as, as_size, &result); \
        return &result;                                                              \
    } while (0)
#endif
FORWARD("copy", do_copy)(NAME, KEY, const u8 *to, u32 to_size, const u8 *as, u32 as_size) { BOTH(copy); }
FORWARD("move", do_move)(NAME, KEY, const u8 *to, u32 to_size, const u8 *as, u32 as_size) { BOTH(move); }

FORWARD("name", do_name)(NAME) { WITH(c_name(container, &result)); }
FORWARD("info", do_info)(NAME) { WITH_AT(1, c_info(container, &result)); }
FORWARD("get", do_get)(NAME, KEY, u64 from, u64 to) { WITH(get(container, key, size, from, to)); }
FORWARD("put", do_put)(NAME, KEY, const u8 *data, u32 data_size) { WITH(put(container, key, size, data, data_size)); }
FORWARD("abandon", do_abandon)(NAME, KEY, const u8 *data, u32 data_size) {
    WITH(abandon(container, key, size, data, data_size));
}
FORWARD("names", do_names)(NAME) { WITH(list(container)); }
FORWARD("delete", do_delete)(NAME, KEY) { WITH(c_delete(container, key, size, &result)); }
FORWARD("delete-many", do_delete_many)(NAME, const void *keys, u32 count) {
    WITH(c_delete_many(container, keys, count, &result));
}
FORWARD("has", do_has)(NAME, KEY) { WITH(c_has(container, key, size, &result)); }
FORWARD("stat", do_stat)(NAME, KEY) { WITH_AT(1, c_stat(container, key, size, &result)); }
FORWARD("clear", do_clear)(NAME) { WITH(c_clear(container, &result)); }

// ------------------------------------------------------------ masses

// FNV-1a.
static u64 sum;

static void add_sum(const u8 *data, u32 size) {
    u64 s = sum;
    for (; size; data++, size--) s = (s ^ *data) * 1099511628211ull;
    sum = s;
}

// Leave the checksum in the result, or its error where one with 64 bits has it.
static void *summed(void) {
    if (result.failed) {
        for (int i = 2; i >= 0; i--) result.words[i + 1] = result.words[i];
    } else {
        *(u64 *)&result.words[1] = sum;
    }
    return &result;
}

EXPORTED("masses", "fill", do_fill)(NAME, KEY, u64 total, u32 traps, u64 trap) {
    ROUTE(get, name, name_size, &result);
    if (result.failed) return summed();
    u32 container = result.words[0];
    upload up = start(container, key, size, &result);
    sum = 14695981039346656037ull;
    u64 value = total, written = 0;
    while (written < total) {
        u32 part = total - written < sizeof buffer ? (u32)(total - written) : sizeof buffer;
        if (traps && trap - written < part) part = (u32)(trap - written);
        for (u32 i = 0; i < part; i += 8) *(u64 *)(buffer + i) = value = value * 6364136223846793005ull + 1442695040888963407ull;
        add_sum(buffer, part);
        if (!put_all(&up, buffer, part)) break;
        written += part;
        if (traps && written == trap) __builtin_trap();
    }
    if (traps && written == trap) __builtin_trap();
    finish(&up);
    c_drop(container);
    return summed();
}

EXPORTED("masses", "drain", do_drain)(NAME, KEY, u64 most) {
    ROUTE(get, name, name_size, &result);
    if (result.failed) return summed();
    u32 container = result.words[0];
    c_get_data(container, key, size, 0, ~0ull, &result);
    if (!result.failed) {
        u32 stream = result.words[0], code = 0;
        sum = 14695981039346656037ull;
        while (most && (code & 15) != DROPPED) {
            code = in_read(stream, buffer, most < sizeof buffer ? (u32)most : sizeof buffer);
            add_sum(buffer, code >> 4);
            most -= code >> 4;
        }
        in_drop(stream);
    }
    c_drop(container);
    return summed();
}

// What moves bytes and looks at none of them.
static u8 bulk[1 << 18];

EXPORTED("masses", "send", do_send)(NAME, KEY, u64 total) {
    ROUTE(get, name, name_size, &result);
    if (result.failed) return summed();
    u32 container = result.words[0];
    upload up = start(container, key, size, &result);
    for (sum = 0; sum < total;) {
        u32 part = total - sum < sizeof bulk ? (u32)(total - sum) : sizeof bulk;
        if (!put_all(&up, bulk, part)) break;
        sum += part;
    }
    finish(&up);
    c_drop(container);
    return summed();
}

EXPORTED("masses", "take", do_take)(NAME, KEY) {
    ROUTE(get, name, name_size, &result);
    if (result.failed) return summed();
    u32 container = result.words[0];
    c_get_data(container, key, size, 0, ~0ull, &result);
    if (!result.failed) {
        u32 stream = result.words[0], code;
        sum = 0;
        do {
            code = in_read(stream, bulk, sizeof bulk);
            sum += code >> 4;
        } while ((code & 15) != DROPPED);
        in_drop(stream);
    }
    c_drop(container);
    return summed();
}

EXPORTED("masses", "pass", do_pass)(NAME, KEY, const u8 *to, u32 to_size, const u8 *as, u32 as_size) {
    static blob_result written;
    ROUTE(get, name, name_size, &result);
    if (result.failed) return summed();
    u32 from = result.words[0];
    ROUTE(get, to, to_size, &result);
    if (result.failed) return summed();
    u32 target = result.words[0];
    c_get_data(from, key, size, 0, ~0ull, &result);
    if (!result.failed) {
        u32 stream = result.words[0], code;
        upload up = start(target, as, as_size, &written);
        sum = 14695981039346656037ull;
        do {
            code = in_read(stream, buffer, sizeof buffer);
            add_sum(buffer, code >> 4);
            if (!put_all(&up, buffer, code >> 4)) break;
        } while ((code & 15) != DROPPED);
        in_drop(stream);
        finish(&up);
        result = written;
    }
    c_drop(target);
    c_drop(from);
    return summed();
}
