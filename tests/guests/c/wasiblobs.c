// wasi:blobstore passed on: what comes in goes out, the result comes back as it lies. With LABELLED the store has a
// label.
#define ARENA (8 << 20)
#include "streams.h"

#define TYPES "wasi:blobstore/types@0.2.0-draft"
#define CONTAINER "wasi:blobstore/container@0.2.0-draft"
#ifdef LABELLED
#define STORE "kit"
#else
#define STORE "wasi:blobstore/blobstore@0.2.0-draft"
#endif

// Any result; an error is a text in words[0] and words[1]. Where the good case has 64 bits in it, both lie one word
// later.
typedef union {
    u8 failed;
    struct {
        u32 failed_word, words[11];
    };
    u64 align;
} blob_result;

IMPORT(STORE, "create-container") void store_create(const u8 *, u32, blob_result *);
IMPORT(STORE, "get-container") void store_get(const u8 *, u32, blob_result *);
IMPORT(STORE, "delete-container") void store_delete(const u8 *, u32, blob_result *);
IMPORT(STORE, "container-exists") void store_exists(const u8 *, u32, blob_result *);
IMPORT(STORE, "copy-object")
void store_copy(const u8 *, u32, const u8 *, u32, const u8 *, u32, const u8 *, u32, blob_result *);
IMPORT(STORE, "move-object")
void store_move(const u8 *, u32, const u8 *, u32, const u8 *, u32, const u8 *, u32, blob_result *);

#define METHOD(name) IMPORT(CONTAINER, "[method]container." name)
METHOD("name") void c_name(u32, blob_result *);
METHOD("info") void c_info(u32, blob_result *);
METHOD("get-data") void c_get_data(u32, const u8 *, u32, u64, u64, blob_result *);
METHOD("write-data") void c_write_data(u32, const u8 *, u32, u32 value, blob_result *);
METHOD("list-objects") void c_list(u32, blob_result *);
METHOD("delete-object") void c_delete(u32, const u8 *, u32, blob_result *);
METHOD("delete-objects") void c_delete_many(u32, const void *, u32, blob_result *);
METHOD("has-object") void c_has(u32, const u8 *, u32, blob_result *);
METHOD("object-info") void c_stat(u32, const u8 *, u32, blob_result *);
METHOD("clear") void c_clear(u32, blob_result *);
IMPORT(CONTAINER, "[resource-drop]container") void c_drop(u32);
IMPORT(CONTAINER, "[method]stream-object-names.read-stream-object-names") void names_read(u32, u64, blob_result *);
IMPORT(CONTAINER, "[method]stream-object-names.skip-stream-object-names") void names_skip(u32, u64, blob_result *);
IMPORT(CONTAINER, "[resource-drop]stream-object-names") void names_drop(u32);

IMPORT(TYPES, "[static]outgoing-value.new-outgoing-value") u32 out_new(void);
IMPORT(TYPES, "[method]outgoing-value.outgoing-value-write-body") void out_body(u32, handle_result *);
IMPORT(TYPES, "[static]outgoing-value.finish") void out_finish(u32, blob_result *);
IMPORT(TYPES, "[resource-drop]outgoing-value") void out_drop(u32);
IMPORT(TYPES, "[static]incoming-value.incoming-value-consume-sync") void in_all(u32, blob_result *);
IMPORT(TYPES, "[static]incoming-value.incoming-value-consume-async") void in_stream(u32, blob_result *);
IMPORT(TYPES, "[method]incoming-value.size") u64 in_size(u32);

static blob_result result;

#define FORWARD(name, as)                                                                                   \
    EXPORT("cabi_post_tests:guests/blobs#" name) void as##_taken(const void *r) { (void)r, arena_top = 0; } \
    EXPORT("tests:guests/blobs#" name) void *as

// Find the container and use it; an error is shifted to where the error of this result belongs.
#define WITH_AT(shift, use)                                                     \
    do {                                                                        \
        store_get(name, name_size, &result);                                    \
        if (!result.failed) {                                                   \
            u32 container = result.words[0];                                    \
            use;                                                                \
            c_drop(container);                                                  \
        } else if (shift) {                                                     \
            for (int i = 1; i >= 0; i--) result.words[i + 1] = result.words[i]; \
        }                                                                       \
        return &result;                                                         \
    } while (0)
#define WITH(use) WITH_AT(0, use)
#define NAME const u8 *name, u32 name_size
#define KEY const u8 *key, u32 size

// ------------------------------------------------------------ content

// Write all of it, and finish the value or drop it.
static void put(u32 container, const u8 *key, u32 size, const u8 *data, u32 data_size, int finish) {
    handle_result body;
    u32 value = out_new(), first = data_size < 1000 ? data_size : 1000;
    out_body(value, &body);
    u32 stream = must(body);
    if (!write_all(stream, (text){data, first})) __builtin_trap();
    c_write_data(container, key, size, value, &result);
    if (result.failed) {
        output_drop(stream);
        out_drop(value);
        return;
    }
    write_all(stream, (text){data + first, data_size - first});  // if it fails, finishing says why
    output_drop(stream);
    if (finish)
        out_finish(value, &result);
    else
        out_drop(value);
}

static void get(u32 container, const u8 *key, u32 size, u64 from, u64 to) {
    c_get_data(container, key, size, from, to, &result);
    if (result.failed) return;
    u32 value = result.words[0], length = (u32)in_size(value);
    if (from) {
        in_all(value, &result);
        return;
    }
    in_stream(value, &result);
    if (result.failed) return;
    u32 stream = result.words[0];
    // What is read is allocated; it is moved together.
    u8 *found = cabi_realloc(0, 0, 1, length), *end = found;
    u32 kept = arena_top;
    stream_result part;
    for (;;) {
        input_read(stream, 1 << 16, &part);
        if (part.failed) break;
        if (end + part.data.size > found + length) __builtin_trap();
        memcpy(end, part.data.data, part.data.size);
        end += part.data.size;
        arena_top = kept;
    }
    if (!part.closed || end != found + length) __builtin_trap();
    input_drop(stream);
    result.words[0] = (u32)found;
    result.words[1] = length;
}

static void list(u32 container) {
    static text names[4096];
    c_list(container, &result);
    if (result.failed) return;
    u32 stream = result.words[0], count = 0;
    for (int end = 0; !end;) {
        names_read(stream, 100, &result);
        if (result.failed) break;
        if (count + result.words[1] > 4096 || result.words[1] > 100) __builtin_trap();
        memcpy(names + count, (const void *)result.words[0], result.words[1] * sizeof(text));
        count += result.words[1];
        end = (u8)result.words[2];
    }
    names_drop(stream);
    if (result.failed) return;
    result.words[0] = (u32)names;
    result.words[1] = count;
}

static void skip(u32 container, u64 count) {
    c_list(container, &result);
    if (result.failed) {
        for (int i = 1; i >= 0; i--) result.words[i + 1] = result.words[i];
        return;
    }
    u32 stream = result.words[0];
    names_skip(stream, count, &result);
    names_drop(stream);
}

// ------------------------------------------------------------ blobs

FORWARD("create", do_create)(NAME) {
    store_create(name, name_size, &result);
    if (!result.failed) c_drop(result.words[0]);
    return &result;
}
FORWARD("open", do_open)(NAME) { WITH(result.words[0] = 0); }
FORWARD("remove", do_remove)(NAME) {
    store_delete(name, name_size, &result);
    return &result;
}
FORWARD("there", do_there)(NAME) {
    store_exists(name, name_size, &result);
    return &result;
}
FORWARD("copy", do_copy)(NAME, KEY, const u8 *to, u32 to_size, const u8 *as, u32 as_size) {
    store_copy(name, name_size, key, size, to, to_size, as, as_size, &result);
    return &result;
}
FORWARD("move", do_move)(NAME, KEY, const u8 *to, u32 to_size, const u8 *as, u32 as_size) {
    store_move(name, name_size, key, size, to, to_size, as, as_size, &result);
    return &result;
}
FORWARD("name", do_name)(NAME) { WITH(c_name(container, &result)); }
FORWARD("info", do_info)(NAME) { WITH_AT(1, c_info(container, &result)); }
FORWARD("get", do_get)(NAME, KEY, u64 from, u64 to) { WITH(get(container, key, size, from, to)); }
FORWARD("put", do_put)(NAME, KEY, const u8 *data, u32 data_size) {
    WITH(put(container, key, size, data, data_size, 1));
}
FORWARD("abandon", do_abandon)(NAME, KEY, const u8 *data, u32 data_size) {
    WITH(put(container, key, size, data, data_size, 0));
}
FORWARD("names", do_names)(NAME) { WITH(list(container)); }
FORWARD("skip", do_skip)(NAME, u64 count) { WITH_AT(1, skip(container, count)); }
FORWARD("delete", do_delete)(NAME, KEY) { WITH(c_delete(container, key, size, &result)); }
FORWARD("delete-many", do_delete_many)(NAME, const void *keys, u32 count) {
    WITH(c_delete_many(container, keys, count, &result));
}
FORWARD("has", do_has)(NAME, KEY) { WITH(c_has(container, key, size, &result)); }
FORWARD("stat", do_stat)(NAME, KEY) { WITH_AT(1, c_stat(container, key, size, &result)); }
FORWARD("clear", do_clear)(NAME) { WITH(c_clear(container, &result)); }
