// GET /team-a?sql=SELECT...: the rows as CSV, ?batch=: several statements. A label each for two databases.
#define ARENA (4 << 20)
#include "http.h"
#include "postgres.h"

// result<list<result-row>, query-error>
typedef struct {
    u8 failed, pad[3];
    u32 words[3];
} query_result;

typedef struct {
    text name;
    pg_value value;
} entry;

typedef struct {
    const entry *entries;
    u32 count;
} row;

#define QUERY(label, as)                                                                               \
    IMPORT(label, "query") void as##_query(const u8 *, u32, const void *, u32, query_result *);        \
    IMPORT(label, "query-batch") void as##_batch(const u8 *, u32, query_result *);

QUERY("team-a", a)
QUERY("team-b", b)

static query_result result;
static u8 sql[65536];

static u32 hex(u8 c) { return c <= '9' ? c - '0' : (c | 32) - 'a' + 10u; }

// Undo what a URL has done to a text.
static text decoded(text t) {
    u32 size = 0;
    for (u32 i = 0; i < t.size && size < sizeof sql; i++) {
        u8 c = t.data[i];
        if (c == '+') c = ' ';
        if (c == '%' && i + 2 < t.size) c = (u8)(hex(t.data[i + 1]) << 4 | hex(t.data[i + 2])), i += 2;
        sql[size++] = c;
    }
    return (text){sql, size};
}

static void add_value(const pg_value *v) {
    long long n = 0;
    switch (v->which) {
        case PG_NULL: return;
        case PG_TEXT: case PG_NUMERIC: add(v->words); return;
        case PG_VARCHAR: add(v->characters); return;
        case PG_BOOL: add(v->byte ? TEXT("t") : TEXT("f")); return;
        case PG_INT8: n = (long long)v->wide; break;
        case PG_INT4: n = (int)v->word; break;
        case PG_INT2: n = (short)v->word; break;
        default: add(TEXT("?")); return;
    }
    if (n < 0) add(TEXT("-"));
    add_number(n < 0 ? 0 - (u64)n : (u64)n);
}

static void add_row(const row *r) {
    for (u32 i = 0; i < r->count; i++) {
        if (i) add(TEXT(","));
        add_value(&r->entries[i].value);
    }
    add(TEXT("\n"));
}

static void write_out(u32 stream) {
    for (u32 at = 0; at < out.size; at += 4096)
        write_some(stream, (text){out.data + at, out.size - at < 4096 ? out.size - at : 4096});
    out.size = 0;
}

// Tell which error it was: the number of its case, and its text.
static void refuse(u32 param) {
    out.size = 0;
    add(TEXT("error "));
    add_number(result.words[0] & 255);
    add(TEXT(" "));
    add((text){(const u8 *)result.words[1], result.words[2]});
    add(TEXT("\n"));
    answer_text(param, 400, (text){out.data, out.size < 4096 ? out.size : 4096});
}

static void answer_rows(u32 param) {
    const row *rows = (const row *)result.words[0];
    u32 body = answer(param, 200, fields_new()), stream = body_stream(body);
    out.size = 0;
    for (u32 i = 0; i < result.words[1]; i++) {
        add_row(&rows[i]);
        if (out.size > 4096) write_out(stream);
    }
    write_out(stream);
    output_drop(stream);
    finish(body, 0, 0);
}

EXPORT(HANDLE) void handle(u32 request, u32 param) {
    arena_top = 0;
    text path = requested_path(request);
    int first = path.size > 6 && path.data[6] == 'a';
    text batch = query(path, TEXT("batch")), one = decoded(batch.size ? batch : query(path, TEXT("sql")));
    if (batch.size)
        (first ? a_batch : b_batch)(one.data, one.size, &result);
    else
        (first ? a_query : b_query)(one.data, one.size, 0, 0, &result);
    if (result.failed) refuse(param);
    else if (batch.size) answer_text(param, 200, TEXT("ok\n"));
    else answer_rows(param);
    request_drop(request);
    arena_top = 0;
}
