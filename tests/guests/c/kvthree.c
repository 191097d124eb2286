// Three labels of one interface. run() takes a line, "shared orders set k v": a label, a bucket, and "get KEY",
// "set KEY VALUE", or "gets KEY N" and "sets KEY N" that do it N times with what is stored there.
#include "abi.h"
#include "store.h"

STORE(fast)
STORE(shared)
STORE(durable)

static text line;

// Take the next word off the line.
static text word(void) {
    text w = {line.data, 0};
    while (w.size < line.size && line.data[w.size] != ' ') w.size++;
    u32 taken = w.size < line.size ? w.size + 1 : w.size;
    line = (text){line.data + taken, line.size - taken};
    return w;
}

#define RUN(label)                                                                  \
    static void label##_run(void) {                                                 \
        u32 bucket = label##_open_bucket(word());                                   \
        text command = word(), key = word(), value = {0, 0};                        \
        if (same(command, TEXT("set"))) {                                           \
            label##_set_value(bucket, key, line);                                   \
            add(TEXT("ok"));                                                        \
        } else {                                                                    \
            int found = label##_get_value(bucket, key, &value);                     \
            u32 n = (u32)number(line), top = arena_top;                             \
            if (same(command, TEXT("gets")))                                        \
                for (u32 i = 1; i < n; i++, arena_top = top)                        \
                    found &= label##_get_value(bucket, key, &value);                \
            else if (same(command, TEXT("sets")))                                   \
                for (u32 i = 0; i < n; i++) label##_set_value(bucket, key, value);  \
            add(found ? TEXT("some ") : TEXT("none"));                              \
            if (found) add(value);                                                  \
        }                                                                           \
        label##_drop(bucket);                                                       \
    }

RUN(fast)
RUN(shared)
RUN(durable)

// run: func(command: string) -> string
EXPORT("run") text *run(const u8 *data, u32 size) {
    static text result;
    line = (text){data, size};
    out.size = 0;
    text label = word();
    if (same(label, TEXT("fast"))) fast_run();
    else if (same(label, TEXT("shared"))) shared_run();
    else if (same(label, TEXT("durable"))) durable_run();
    else add(TEXT("which label?"));
    result = (text){out.data, out.size};
    return &result;
}

EXPORT("cabi_post_run") void post_run(text *result) {
    (void)result;
    arena_top = 0;
}
