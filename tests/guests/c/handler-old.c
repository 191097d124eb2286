// The same as handler.c for wasmcloud:messaging@0.2.0, with HTTP to send messages and to ask what was seen.
#define ARENA (4 << 20)
#include "http.h"
#include "orders.h"

typedef union {
    u8 failed;
    u32 words[8];
    u64 value[4];
} result_words;

#define MESSAGES "wasmcloud:messaging/handler@0.2.0"
#define STORE "wasi:keyvalue/store@0.2.0-draft"

#define CONSUMER(label)                                                                      \
    IMPORT(#label, "publish")                                                                \
    void label##_publish(const u8 *, u32, const u8 *, u32, u32, const u8 *, u32, result_words *); \
    IMPORT(#label, "request") void label##_request(const u8 *, u32, const u8 *, u32, u32, result_words *);
CONSUMER(orders)
CONSUMER(audit)

IMPORT(STORE, "open") void store_open(const u8 *, u32, result_words *);
IMPORT(STORE, "[resource-drop]bucket") void bucket_drop(u32);
IMPORT("wasi:keyvalue/atomics@0.2.0-draft", "increment")
void increment(u32, const u8 *, u32, u64, result_words *);

static result_words result;
static struct {
    u32 failed;
    text said;
} answer_words;

static u64 count(text key, u64 by) {
    store_open((const u8 *)"seen", 4, &result);
    if (result.failed) __builtin_trap();
    u32 bucket = result.words[1];
    increment(bucket, key.data, key.size < 1000 ? key.size : 1000, by, &result);
    if (result.failed) __builtin_trap();
    bucket_drop(bucket);
    return result.value[1];
}

EXPORT("cabi_post_" MESSAGES "#handle-message") void taken(const void *r) { (void)r, arena_top = 0; }
EXPORT(MESSAGES "#handle-message")
void *handle_message(const u8 *s, u32 size, const u8 *body, u32 length, u32 wants_reply, const u8 *reply, u32 n) {
    (void)s, (void)size;
    text said = {body, length};
    u32 tries = (u32)count(said, 1);
    if (wants_reply) audit_publish(reply, n, body, length, 0, 0, 0, &result);
    answer_words.failed = obey(said, tries) != HANDLED;
    answer_words.said = TEXT("as I was told");
    return &answer_words;
}

// The part of a path up to the next slash or question mark; `path` is what follows.
static text part(text *path) {
    u32 size = 0;
    if (path->size) path->data++, path->size--;
    while (size < path->size && path->data[size] != '/' && path->data[size] != '?') size++;
    text found = {path->data, size};
    path->data += size, path->size -= size;
    return found;
}

EXPORT(HANDLE) void handle(u32 request, u32 param) {
    arena_top = 0;
    text path = requested_path(request), all = path;
    text what = part(&path), one = part(&path), two = part(&path);
    u64 n = number(query(all, TEXT("n")));
    out.size = 0;
    if (same(what, TEXT("seen"))) {
        add_number(count(one, 0));
    } else if (same(what, TEXT("request"))) {
        orders_request(one.data, one.size, two.data, two.size, n ? (u32)n : 10000, &result);
        if (result.failed) add((text){(const u8 *)result.words[1], result.words[2]});
        else add((text){(const u8 *)result.words[3], result.words[4]});
    } else {
        u64 sent = 0;
        for (u64 i = 0; i < (n ? n : 1); i++) {
            u32 mark = arena_top;
            static u8 named[1100];
            u32 size = two.size < 1000 ? two.size : 1000, line = out.size;
            memcpy(named, two.data, size);
            if (n) {
                add_number(i);
                memcpy(named + size, out.data + line, out.size - line);
                size += out.size - line;
                out.size = line;
            }
            orders_publish(one.data, one.size, named, size, 0, 0, 0, &result);
            if (result.failed) {
                add((text){(const u8 *)result.words[1], result.words[2]});
                break;
            }
            sent++;
            arena_top = mark;
        }
        if (sent == (n ? n : 1)) add(TEXT("ok"));
    }
    add(TEXT("\n"));
    request_drop(request);
    answer_text(param, 200, (text){out.data, out.size});
}
