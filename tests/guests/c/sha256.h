// SHA-256 (FIPS 180-4) of what comes in pieces.
#pragma once
#include "abi.h"

typedef struct {
    u32 state[8], held;
    u64 size;
    u8 block[64];
} sha256;

static const u32 ROUNDS[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static u32 rotated(u32 word, u32 count) { return word >> count | word << (32 - count); }

static void sha256_block(u32 state[8], const u8 *data) {
    u32 w[64], s[8];
    for (u32 i = 0; i < 16; i++, data += 4) w[i] = (u32)data[0] << 24 | data[1] << 16 | data[2] << 8 | data[3];
    for (u32 i = 16; i < 64; i++) {
        u32 x = w[i - 15], y = w[i - 2];
        w[i] = w[i - 16] + (rotated(x, 7) ^ rotated(x, 18) ^ x >> 3) + w[i - 7] + (rotated(y, 17) ^ rotated(y, 19) ^ y >> 10);
    }
    for (u32 i = 0; i < 8; i++) s[i] = state[i];
    for (u32 i = 0; i < 64; i++) {
        u32 e = s[4], a = s[0];
        u32 more = s[7] + (rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25)) + ((e & s[5]) ^ (~e & s[6])) + ROUNDS[i] + w[i];
        u32 most = (rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22)) + ((a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]));
        s[7] = s[6], s[6] = s[5], s[5] = e, s[4] = s[3] + more;
        s[3] = s[2], s[2] = s[1], s[1] = a, s[0] = more + most;
    }
    for (u32 i = 0; i < 8; i++) state[i] += s[i];
}

static sha256 sha256_new(void) {
    return (sha256){.state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19}};
}

static void sha256_add(sha256 *h, text t) {
    h->size += t.size;
    while (t.size) {
        if (!h->held && t.size >= 64) {
            sha256_block(h->state, t.data);
            t.data += 64, t.size -= 64;
            continue;
        }
        h->block[h->held++] = *t.data++, t.size--;
        if (h->held == 64) sha256_block(h->state, h->block), h->held = 0;
    }
}

// Write the digest, 64 digits; no more can be added.
static text sha256_end(sha256 *h, u8 digits[64]) {
    u64 bits = h->size * 8;
    u8 length[8];
    for (u32 i = 0; i < 8; i++) length[i] = (u8)(bits >> (56 - 8 * i));
    sha256_add(h, (text){(const u8 *)"\x80", 1});
    while (h->held != 56) sha256_add(h, (text){(const u8 *)"", 1});
    sha256_add(h, (text){length, 8});
    for (u32 i = 0; i < 64; i++) digits[i] = (u8)"0123456789abcdef"[h->state[i / 8] >> (28 - 4 * (i % 8)) & 15];
    return (text){digits, 64};
}
