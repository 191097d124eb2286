// The smallest HTTP component: 13 bytes, whatever is asked.
#include "http.h"

EXPORT(HANDLE) void handle(u32 request, u32 param) {
    arena_top = 0;
    request_drop(request);
    answer_text(param, 200, TEXT("hello, world\n"));
}
