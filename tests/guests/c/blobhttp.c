// HTTP in front of blob stores: /LABEL/CONTAINER/NAME, where LABEL is first or second.
//   PUT      streams the body into the object; the container is created if there is none
//   GET      streams the object out, ?start= and ?end= of it; without a NAME it lists the container
//   DELETE   deletes the object
//   POST     ?copy=NAME or ?move=NAME: to that name in the same container
// An error of a store is a line with status 404 or 503.
#define ARENA (1 << 20)
#include "blobvalues.h"
#include "http.h"

#define STORE(label)                                                                                      \
    IMPORT(#label, "create-container") void label##_create(const u8 *, u32, blob_result *);               \
    IMPORT(#label, "get-container") void label##_get(const u8 *, u32, blob_result *);                     \
    IMPORT(#label, "copy-object")                                                                         \
    void label##_copy(const u8 *, u32, const u8 *, u32, const u8 *, u32, const u8 *, u32, blob_result *); \
    IMPORT(#label, "move-object")                                                                         \
    void label##_move(const u8 *, u32, const u8 *, u32, const u8 *, u32, const u8 *, u32, blob_result *);
STORE(first)
STORE(second)

#define PIECE 65536

static blob_result result;
static u32 request, param, container;
static text in, name, path;

static void refuse(void) {
    text no = TEXT("no such");
    out.size = 0;
    add((text){(const u8 *)result.words[0], result.words[1]});
    int missing = out.size >= no.size && same((text){out.data, no.size}, no);
    add(TEXT("\n"));
    answer_text(param, missing ? 404 : 503, (text){out.data, out.size});
}

static void done(void) {
    if (result.failed) refuse();
    else answer_text(param, 200, TEXT("ok\n"));
}

// Move a stream into another one; 1 if that was all of it, 0 if one of them broke.
static int move_all(u32 to, u32 from) {
    count_result moved;
    do splice(to, from, PIECE, &moved);
    while (!moved.failed);
    if (!moved.closed) error_drop(moved.error);
    return moved.closed;
}

static void put(void) {
    handle_result r;
    u32 value = value_new();
    value_body(value, &r);
    u32 sink = must(r);
    write_data(container, name.data, name.size, value, &result);
    request_consume(request, &r);
    u32 body = must(r);
    incoming_body_stream(body, &r);
    u32 stream = must(r);
    int refused = result.failed, whole = !refused && move_all(sink, stream);
    input_drop(stream);
    incoming_body_drop(body);
    count_result room;
    output_check(sink, &room);
    int broken = room.failed;
    output_drop(sink);
    // Finishing says why something could not be written. Where the client has gone nothing is finished.
    if (refused || (!whole && !broken)) value_drop(value);
    else value_finish(value, &result);
    done();
}

static void get(u64 start, u64 end) {
    get_data(container, name.data, name.size, start, end, &result);
    if (!result.failed) value_stream(result.words[0], &result);
    if (result.failed) {
        refuse();
        return;
    }
    u32 stream = result.words[0], body = answer(param, 200, fields_new()), to = body_stream(body);
    int whole = move_all(to, stream);
    input_drop(stream);
    output_drop(to);
    if (!whole) __builtin_trap();  // the client must not take a part for the whole
    finish(body, 0, 0);
}

static void list(void) {
    list_objects(container, &result);
    u32 stream = result.words[0], end = 0;
    while (!result.failed && !end) {
        names_read(stream, 64, &result);
        const text *names = (const text *)result.words[0];
        for (u32 i = 0; !result.failed && i < result.words[1]; i++) {
            add(names[i]);
            add(TEXT("\n"));
        }
        end = (u8)result.words[2];
    }
    if (result.failed) refuse();
    else answer_text(param, 200, (text){out.data, out.size});
}

// ------------------------------------------------------------ requests

static text part(text *path) {
    text p = {path->data, 0};
    while (p.size < path->size && p.data[p.size] != '/' && p.data[p.size] != '?') p.size++;
    u32 taken = p.size < path->size ? p.size + 1 : p.size;
    *path = (text){path->data + taken, path->size - taken};
    return p;
}

enum { POST = 2, PUT = 3, DELETE = 4 };

EXPORT(HANDLE) void handle(u32 incoming, u32 outparam) {
    text_option method;
    arena_top = out.size = 0;
    request = incoming;
    param = outparam;
    path = requested_path(request);
    text rest = path;
    part(&rest);  // what is before the first slash
    int is_second = same(part(&rest), TEXT("second"));
    in = part(&rest);
    name = part(&rest);
    request_method(request, &method);
    (is_second ? second_get : first_get)(in.data, in.size, &result);
    if (result.failed && method.some == PUT) (is_second ? second_create : first_create)(in.data, in.size, &result);
    if (result.failed) {
        refuse();
        request_drop(request);
        return;
    }
    container = result.words[0];
    text start = query(path, TEXT("start")), end = query(path, TEXT("end"));
    text copy = query(path, TEXT("copy")), move = query(path, TEXT("move"));
    if (method.some == PUT) {
        put();
    } else if (method.some == DELETE) {
        delete_object(container, name.data, name.size, &result);
        done();
    } else if (method.some == POST) {
        text to = copy.size ? copy : move;
        (copy.size ? is_second ? second_copy : first_copy : is_second ? second_move : first_move)(
            in.data, in.size, name.data, name.size, in.data, in.size, to.data, to.size, &result);
        done();
    } else if (name.size) {
        get(number(start), end.size ? number(end) : ~0ull);
    } else {
        list();
    }
    container_drop(container);
    request_drop(request);
}
