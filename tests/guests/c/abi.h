// What every guest needs: the names of the canonical ABI, an arena, and text.
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define IMPORT(module, name) __attribute__((import_module(module), import_name(name)))
#define EXPORT(name) __attribute__((export_name(name), used))

// The host allocates in this arena what it passes in; a guest empties it when it needs nothing of that any more.
#ifndef ARENA
#define ARENA 65536
#endif
static u8 arena[ARENA] __attribute__((aligned(16)));
static u32 arena_top;

EXPORT("cabi_realloc") void *cabi_realloc(void *old, u32 old_size, u32 align, u32 size) {
    arena_top = (arena_top + align - 1) & ~(align - 1);
    u8 *block = arena + arena_top;
    arena_top += size;
    if (arena_top > sizeof arena) __builtin_trap();
    for (u32 i = 0; i < old_size; i++) block[i] = ((u8 *)old)[i];
    return block;
}

void *memcpy(void *to, const void *from, __SIZE_TYPE__ size) {
    for (__SIZE_TYPE__ i = 0; i < size; i++) ((u8 *)to)[i] = ((const u8 *)from)[i];
    return to;
}

void *memset(void *to, int value, __SIZE_TYPE__ size) {
    for (__SIZE_TYPE__ i = 0; i < size; i++) ((u8 *)to)[i] = (u8)value;
    return to;
}

typedef struct {
    const u8 *data;
    u32 size;
} text;

#define TEXT(literal) ((text){(const u8 *)(literal), sizeof(literal) - 1})

static int same(text a, text b) {
    if (a.size != b.size) return 0;
    for (u32 i = 0; i < a.size; i++)
        if (a.data[i] != b.data[i]) return 0;
    return 1;
}

// A line being written.
static struct {
    u8 data[8192];
    u32 size;
} out;

static void add(text t) {
    for (u32 i = 0; i < t.size && out.size < sizeof out.data; i++) out.data[out.size++] = t.data[i];
}

static void add_number(u64 n) {
    u8 digits[20];
    u32 size = 0;
    do {
        digits[size++] = (u8)('0' + n % 10);
        n /= 10;
    } while (n);
    while (size) add((text){&digits[--size], 1});
}

// Read a decimal number from the start of a text.
static u64 number(text t) {
    u64 n = 0;
    for (u32 i = 0; i < t.size && t.data[i] >= '0' && t.data[i] <= '9'; i++) n = n * 10 + (t.data[i] - '0');
    return n;
}
