// Two labels of one interface: read through the cache, fill it from the store.
#include "abi.h"
#include "store.h"

STORE(cache)
STORE(store)

// run: func(key: string) -> string
EXPORT("run") text *run(const u8 *key, u32 size) {
    static text result;
    u32 cached = cache_open_bucket(TEXT("session-data"));
    u32 stored = store_open_bucket(TEXT("orders"));
    text value;
    out.size = 0;
    if (cache_get_value(cached, (text){key, size}, &value)) {
        add(TEXT("hit:"));
        add(value);
    } else if (store_get_value(stored, (text){key, size}, &value)) {
        cache_set_value(cached, (text){key, size}, value);
        add(TEXT("miss:"));
        add(value);
    } else {
        add(TEXT("none"));
    }
    cache_drop(cached);
    store_drop(stored);
    result = (text){out.data, out.size};
    return &result;
}

EXPORT("cabi_post_run") void post_run(text *result) {
    (void)result;
    arena_top = 0;
}
