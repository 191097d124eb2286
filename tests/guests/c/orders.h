// What a body can tell a handler to do.
#pragma once
#include "abi.h"

enum { HANDLED, RETRY, REJECT, OTHER };

static int begins(text t, text with) { return t.size >= with.size && same((text){t.data, with.size}, with); }

// Work for a while: so many millions of turns of a loop.
static void work(u64 millions) {
    for (volatile u64 i = 0; i < millions * 1000000; i++) {}
}

// "retry...", "other...", "reject...", "trap...", "loop...", "workN...", "twice..." (which fails once); else handled
static u32 obey(text said, u32 tries) {
    if (begins(said, TEXT("retry"))) return RETRY;
    if (begins(said, TEXT("other"))) return OTHER;
    if (begins(said, TEXT("reject"))) return REJECT;
    if (begins(said, TEXT("trap"))) __builtin_trap();
    if (begins(said, TEXT("loop")))
        for (volatile u32 i = 0;; i++) {}
    if (begins(said, TEXT("work"))) work(number((text){said.data + 4, said.size - 4}));
    if (begins(said, TEXT("twice"))) return tries < 2 ? RETRY : HANDLED;
    return HANDLED;
}
