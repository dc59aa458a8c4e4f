// Tile units in plain C++, for testing `dense_amx.cpp` where the processor has none: eight tiles of 16 rows of 64 bytes.
// Slow and obvious; included before the source by the compiler (`emulated.py`). Needs AVX-512 BF16 for what lies between.
#pragma once
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace emulated {
struct Tile { uint8_t bytes[16][64]; };
static Tile tiles[8];
static bool configured = false;

static Tile &at(int i) {
    if (!configured) std::abort();  // a processor stops here as well
    return tiles[i];
}
static void load(int i, const void *base, long stride) {
    for (int r = 0; r < 16; r++) std::memcpy(at(i).bytes[r], (const char *)base + r * stride, 64);
}
static void store(int i, void *base, long stride) {
    for (int r = 0; r < 16; r++) std::memcpy((char *)base + r * stride, at(i).bytes[r], 64);
}
static float wide(const uint8_t *bytes) {
    float x = 0;
    std::memcpy((char *)&x + 2, bytes, 2);
    return x;
}
// C[m][n] += A[m][2k] B[k][2n] + A[m][2k + 1] B[k][2n + 1] over 16 pairs k.
static void multiply(int c, int a, int b) {
    for (int m = 0; m < 16; m++)
        for (int n = 0; n < 16; n++) {
            float sum;
            std::memcpy(&sum, at(c).bytes[m] + 4 * n, 4);
            for (int k = 0; k < 16; k++)
                for (int half = 0; half < 4; half += 2)
                    sum += wide(at(a).bytes[m] + 4 * k + half) * wide(at(b).bytes[k] + 4 * n + half);
            std::memcpy(at(c).bytes[m] + 4 * n, &sum, 4);
        }
}
}  // namespace emulated

#undef _tile_loadd
#undef _tile_stored
#undef _tile_zero
#undef _tile_dpbf16ps
#define _tile_loadconfig(shape) emulated::configured = true
#define _tile_release() emulated::configured = false
#define _tile_zero(i) std::memset(&emulated::at(i), 0, sizeof(emulated::Tile))
#define _tile_loadd emulated::load
#define _tile_stored emulated::store
#define _tile_dpbf16ps emulated::multiply
#define syscall(...) 0  // the system grants the use of the registers
