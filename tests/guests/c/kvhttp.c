// GET /KEY?n=5: makes n key-value calls over two labels, then answers. Two of them open the buckets; the others
// take turns: get from the cache, get from the store, set in the cache.
#define ARENA (1 << 20)
#include "http.h"
#include "store.h"

STORE(cache)
STORE(store)

EXPORT(HANDLE) void handle(u32 request, u32 param) {
    arena_top = 0;
    text path = requested_path(request);
    text key = {path.data + 1, 0};
    while (key.size + 1 < path.size && key.data[key.size] != '?') key.size++;
    u64 n = number(query(path, TEXT("n")));
    if (n < 2) n = 5;

    u32 cached = cache_open_bucket(TEXT("kv")), stored = store_open_bucket(TEXT("kv"));
    text value = TEXT("none"), seen = TEXT("none");
    int hit = 0;
    for (u64 i = 0; i < n - 2; i++) {
        if (i % 3 == 0) hit = cache_get_value(cached, key, &seen);
        if (i % 3 == 1) store_get_value(stored, key, &value);
        if (i % 3 == 2) cache_set_value(cached, key, value);
    }
    out.size = 0;
    add(TEXT("calls="));
    add_number(n);
    add(hit ? TEXT(" hit:") : TEXT(" miss:"));
    add(hit ? seen : value);
    add(TEXT("\n"));
    cache_drop(cached);
    store_drop(stored);
    request_drop(request);
    answer_text(param, 200, (text){out.data, out.size});
}
