// The example `photos` in C, by WASI 0.2: what examples/photos/python/app.py says of itself is true here.
#define ARENA (1 << 20)
#include "blobvalues.h"
#include "http.h"
#include "sha256.h"
#include "store.h"

IMPORT("originals", "create-container") void create_container(const u8 *, u32, blob_result *);
IMPORT("originals", "get-container") void get_container(const u8 *, u32, blob_result *);
IMPORT("originals", "move-object")
void move_object(const u8 *, u32, const u8 *, u32, const u8 *, u32, const u8 *, u32, blob_result *);
IMPORT("wasi:random/random@" WASI, "get-random-u64") u64 random_number(void);
STORE(metadata)

#define PIECE 65536
#define PHOTOS TEXT("photos")

static blob_result result;
static u32 param, container, known;
static text name;

// ------------------------------------------------------------ texts

// What is in the arena is gone when the next request comes.
static text joined(text a, text b, text c) {
    u8 *to = cabi_realloc(0, 0, 1, a.size + b.size + c.size);
    memcpy(to, a.data, a.size);
    memcpy(to + a.size, b.data, b.size);
    memcpy(to + a.size + b.size, c.data, c.size);
    return (text){to, a.size + b.size + c.size};
}

static text decimal(u64 n) {
    out.size = 0;
    add_number(n);
    return joined((text){out.data, out.size}, TEXT(""), TEXT(""));
}

static u64 is_digit(u8 c) { return c >= '0' && c <= '9'; }

static u32 hexadecimal(u8 c) { return is_digit(c) ? c - '0' : ((c | 32) - 'a' + 10) & 15; }

// What stands between a text and the next quote, in what we have written ourselves; nothing if it is not there.
static text after(text all, text before) {
    for (u32 i = 0; i + before.size <= all.size; i++) {
        if (!same((text){all.data + i, before.size}, before)) continue;
        u32 start = i + before.size, end = start;
        while (end < all.size && all.data[end] != '"') end++;
        return (text){all.data + start, end - start};
    }
    return (text){0, 0};
}

static int contains(text all, text part) {
    for (u32 i = 0; i + part.size <= all.size; i++)
        if (same((text){all.data + i, part.size}, part)) return 1;
    return 0;
}

// The name in a path, without its percent signs.
static text requested_name(text path) {
    u8 *to = cabi_realloc(0, 0, 1, path.size);
    u32 size = 0;
    for (u32 i = 1; i < path.size && path.data[i] != '?'; i++) {
        u8 c = path.data[i];
        if (c == '%' && i + 2 < path.size) {
            c = (u8)(hexadecimal(path.data[i + 1]) << 4 | hexadecimal(path.data[i + 2]));
            i += 2;
        }
        to[size++] = c;
    }
    return (text){to, size};
}

// ------------------------------------------------------------ answers

static void respond(u32 status, u32 headers, text said) {
    append(headers, TEXT("content-type"), TEXT("text/plain"));
    u32 body = answer(param, status, headers), stream = body_stream(body);
    write_some(stream, said);
    output_drop(stream);
    finish(body, 0, 0);
}

// Say what the store has against it, and no more than that.
static void refuse(void) {
    text error = {(const u8 *)result.words[0], result.words[1]};
    if (contains(error, TEXT("no such"))) answer_text(param, 404, TEXT("there is no such photo\n"));
    else if (contains(error, TEXT("quota exceeded"))) answer_text(param, 413, TEXT("there is no room for it\n"));
    else answer_text(param, 503, TEXT("the store does not serve\n"));
}

// ------------------------------------------------------------ in

// Pass a stream on while it is hashed; 1 if that was all of it, 0 if one of them broke.
static int pass(u32 to, u32 from, sha256 *hash) {
    u32 mark = arena_top;
    for (;;) {
        stream_result r;
        arena_top = mark;
        input_read(from, PIECE, &r);
        if (r.failed && !r.closed) error_drop(r.error);
        if (r.failed) return r.closed;
        sha256_add(hash, r.data);
        if (!write_all(to, r.data)) return 0;
    }
}

// Stream the body into an object; 1 if it is kept, 0 if it is not and the client has heard why.
static int stored(u32 request, text upload, sha256 *hash) {
    handle_result r;
    count_result room;
    u32 value = value_new();
    value_body(value, &r);
    u32 sink = must(r);
    write_data(container, upload.data, upload.size, value, &result);
    if (result.failed) {
        output_drop(sink);
        value_drop(value);
        refuse();
        return 0;
    }
    request_consume(request, &r);
    u32 body = must(r);
    incoming_body_stream(body, &r);
    u32 stream = must(r);
    int whole = pass(sink, stream, hash);
    input_drop(stream);
    incoming_body_drop(body);
    output_check(sink, &room);
    output_drop(sink);
    if (!whole && !room.failed) {  // the client has gone: nobody hears the answer
        value_drop(value);
        answer_text(param, 400, TEXT("the photo is not complete\n"));
        return 0;
    }
    value_finish(value, &result);
    if (result.failed) refuse();
    return !result.failed;
}

// A type as it stands in `metadata`, where it must not end before its end.
static text plain(text type) {
    for (u32 i = 0; i < type.size; i++)
        if (type.data[i] == '"' || type.data[i] == '\\' || type.data[i] >= 127) return TEXT("application/octet-stream");
    return type;
}

// Keep the body under a name of its own, and let it be the photo when all of it is there.
static void put(u32 request, text type) {
    static u8 digits[64];
    sha256 hash = sha256_new();
    text upload = joined(name, TEXT("/upload-"), decimal(random_number())), old = {0, 0};
    if (!stored(request, upload, &hash)) return;
    u64 size = hash.size;
    text digest = sha256_end(&hash, digits), object = joined(name, TEXT("/"), digest), in = PHOTOS;
    move_object(in.data, in.size, upload.data, upload.size, in.data, in.size, object.data, object.size, &result);
    if (result.failed) {
        refuse();
        return;
    }
    int replaces = metadata_get_value(known, name, &old);
    text facts = joined(TEXT("{\"size\": "), decimal(size), TEXT(", \"sha256\": \""));
    facts = joined(facts, digest, TEXT("\", \"type\": \""));
    facts = joined(facts, plain(type.size ? type : TEXT("application/octet-stream")), TEXT("\"}"));
    metadata_set_value(known, name, facts);
    text before = after(old, TEXT("\"sha256\": \""));
    if (replaces && !same(before, digest)) {
        before = joined(name, TEXT("/"), before);
        delete_object(container, before.data, before.size, &result);
    }
    u32 headers = fields_new();
    append(headers, TEXT("etag"), joined(TEXT("\""), digest, TEXT("\"")));
    respond(201, headers, joined(facts, TEXT("\n"), TEXT("")));
}

// ------------------------------------------------------------ out

typedef struct {
    int some;
    u64 first, last;
} range;

// The first and last byte of a range, none where it is none that we serve (RFC 9110, 14.2). The first is behind the
// last if there is nothing of it.
static range wanted_range(text t, u64 size) {
    text unit = TEXT("bytes=");
    range none = {0, 0, 0};
    u32 dash = unit.size;
    if (t.size <= dash || !same((text){t.data, dash}, unit)) return none;
    while (dash < t.size && is_digit(t.data[dash])) dash++;
    if (dash == t.size || t.data[dash] != '-') return none;
    for (u32 i = dash + 1; i < t.size; i++)
        if (!is_digit(t.data[i])) return none;
    u64 first = number((text){t.data + unit.size, dash - unit.size});
    u64 last = number((text){t.data + dash + 1, t.size - dash - 1});
    int has_first = dash > unit.size, has_last = dash + 1 < t.size;
    if (!has_first && !has_last) return none;
    if (!has_first) return last ? (range){1, last < size ? size - last : 0, size - 1} : (range){1, 1, 0};
    if (has_last && last < first) return none;
    return (range){1, first, has_last && last < size ? last : size - 1};
}

// Answer with bytes of an object; the store's stream is spliced into the body.
static void send(u32 status, u32 headers, text digest, range part) {
    text object = joined(name, TEXT("/"), digest);
    get_data(container, object.data, object.size, part.first, part.last, &result);
    if (!result.failed) value_stream(result.words[0], &result);
    if (result.failed) {
        fields_drop(headers);
        refuse();
        return;
    }
    u32 from = result.words[0], body = answer(param, status, headers), to = body_stream(body);
    count_result moved;
    do splice(to, from, PIECE, &moved);
    while (!moved.failed);
    input_drop(from);
    output_drop(to);
    if (!moved.closed) __builtin_trap();  // the client must not take a part for the whole
    finish(body, 0, 0);
}

static void show(text range_header, text if_range, text if_none_match, int whole) {
    text facts;
    if (!metadata_get_value(known, name, &facts)) {
        answer_text(param, 404, TEXT("there is no such photo\n"));
        return;
    }
    u64 size = number(after(facts, TEXT("\"size\": ")));
    text digest = after(facts, TEXT("\"sha256\": \"")), tag = joined(TEXT("\""), digest, TEXT("\""));
    u32 headers = fields_new();
    append(headers, TEXT("etag"), tag);
    append(headers, TEXT("accept-ranges"), TEXT("bytes"));
    if (contains(if_none_match, tag)) {
        finish(answer(param, 304, headers), 0, 0);
        return;
    }
    range part = wanted_range(!if_range.size || same(if_range, tag) ? range_header : TEXT(""), size);
    if (part.some && (!size || part.first > part.last)) {
        append(headers, TEXT("content-range"), joined(TEXT("bytes */"), decimal(size), TEXT("")));
        respond(416, headers, TEXT("there are not so many bytes\n"));
        return;
    }
    u32 status = part.some ? 206 : 200;
    if (part.some) {
        text which = joined(decimal(part.first), TEXT("-"), decimal(part.last));
        append(headers, TEXT("content-range"), joined(joined(TEXT("bytes "), which, TEXT("/")), decimal(size), TEXT("")));
    } else {
        part.last = size - 1;
    }
    append(headers, TEXT("content-type"), after(facts, TEXT("\"type\": \"")));
    append(headers, TEXT("content-length"), decimal(size ? part.last + 1 - part.first : 0));
    if (whole && size) send(status, headers, digest, part);
    else finish(answer(param, status, headers), 0, 0);
}

// ------------------------------------------------------------ requests

enum { GET = 0, HEAD = 1, PUT = 3 };

static text value_of(text entries, text key) {
    const header *h = (const header *)entries.data;
    for (u32 i = 0; i < entries.size; i++)
        if (same(h[i].name, key)) return h[i].value;
    return (text){0, 0};
}

// Open both stores; the container is made by whoever comes first.
static int opened(void) {
    text photos = PHOTOS;
    get_container(photos.data, photos.size, &result);
    if (result.failed) create_container(photos.data, photos.size, &result);
    if (result.failed) get_container(photos.data, photos.size, &result);
    if (result.failed) return 0;
    container = result.words[0];
    known = metadata_open_bucket(PHOTOS);
    return 1;
}

static void serve(u32 request, u32 method, text entries) {
    if (!opened()) {
        refuse();
        return;
    }
    if (method == PUT) put(request, value_of(entries, TEXT("content-type")));
    else show(value_of(entries, TEXT("range")), value_of(entries, TEXT("if-range")),
              value_of(entries, TEXT("if-none-match")), method == GET);
    container_drop(container);
    metadata_drop(known);
}

EXPORT(HANDLE) void handle(u32 request, u32 outparam) {
    text_option method;
    text entries;
    arena_top = 0;
    param = outparam;
    name = requested_name(requested_path(request));
    request_method(request, &method);
    u32 headers = request_headers(request);
    fields_entries(headers, &entries);
    fields_drop(headers);
    if (!name.size) {
        answer_text(param, 404, TEXT("which photo? /NAME\n"));
    } else if (method.some != GET && method.some != HEAD && method.some != PUT) {
        u32 allowed = fields_new();
        append(allowed, TEXT("allow"), TEXT("GET, HEAD, PUT"));
        respond(405, allowed, TEXT("there are GET, HEAD and PUT\n"));
    } else {
        serve(request, method.some, entries);
    }
    request_drop(request);
}
