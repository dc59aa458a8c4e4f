// Dense layers on the tile units of processors that have AMX: product, normalisation and rectifier in one visit.
//
// Activations are feature-major: 32 features of a whole batch are one block, computed in float32 by the tiles, and
// normalised while it lies in the innermost cache. Layouts of a matrix of F features and P (batch, padded to 32):
//   plain [F][P]   left operand of the weight gradient
//   pairs [F/2][P][2]   right operand of the products, two neighbouring features side by side
//   flips [P/2][F][2]   right operand of the weight gradient, two neighbouring samples side by side
// Widths are multiples of 32. Padding holds zeros, which add nothing to any sum.
#include <cmath>
#include <cstdint>
#include <cstring>

#ifdef __AMX_BF16__
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef float vec __attribute__((vector_size(64), aligned(4)));
typedef uint32_t ivec __attribute__((vector_size(64), aligned(4)));
typedef uint16_t half __attribute__((vector_size(32), aligned(2)));

extern "C" int tiles_ready() { return syscall(SYS_arch_prctl, 0x1023, 18) == 0; }  // ask for the tile registers

struct Shape { uint8_t palette, start, reserved[14]; uint16_t bytes[16]; uint8_t rows[16]; };
alignas(64) static const Shape SHAPE = {1, 0, {0}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};
struct Tiles {
    Tiles() { __asm__ volatile("" ::: "memory"); _tile_loadconfig(&SHAPE); }
    ~Tiles() { _tile_release(); }
};

static inline half narrow(vec x) { return (half)_mm512_cvtneps_pbh((__m512)x); }
static inline ivec wide(half x) { return __builtin_convertvector(x, ivec); }
static inline vec read(const uint16_t *p) { return (vec)(wide(*(const half *)p) << 16); }
static inline ivec side_by_side(half first, half second) { return wide(first) | (wide(second) << 16); }
static inline float total(vec x) { return _mm512_reduce_add_ps((__m512)x); }

// r[i][j] <-> r[j][i] of a 16 x 16 block of 32-bit words.
static inline void transpose(ivec *r) {
#define STAGE(D, LOW, HIGH)                                                    \
    for (int i = 0; i < 16; i++)                                               \
        if (!(i & D)) {                                                        \
            const ivec a = r[i], b = r[i + D];                                 \
            r[i] = __builtin_shuffle(a, b, (ivec)LOW);                         \
            r[i + D] = __builtin_shuffle(a, b, (ivec)HIGH);                    \
        }
#define BRACES(...) {__VA_ARGS__}
    STAGE(1, BRACES(0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30),
          BRACES(1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31))
    STAGE(2, BRACES(0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29),
          BRACES(2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31))
    STAGE(4, BRACES(0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27),
          BRACES(4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31))
    STAGE(8, BRACES(0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23),
          BRACES(8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31))
}

// 32 rows of a 16-bit matrix, seen as words of two columns: to[word][row], rows of `to` being `stride` words long.
static void flip(const uint16_t *from, int64_t columns, int64_t leading, uint32_t *to, int64_t stride) {
    for (int64_t w = 0; w < columns / 2; w += 16)
        for (int part = 0; part < 32; part += 16) {
            ivec r[16];
            for (int i = 0; i < 16; i++) r[i] = *(const ivec *)(from + (part + i) * leading + 2 * w);
            transpose(r);
            for (int i = 0; i < 16; i++) *(ivec *)(to + (w + i) * stride + part) = r[i];
        }
}

// 32 x 32 of C = A B over k: A [32][k] of row length `lda`, B [k/2][n][2], C of row length `ldc`.
static inline void product(const uint16_t *A, int64_t lda, const uint16_t *B, int64_t n, int64_t k, float *C,
                           int64_t ldc) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t p = 0; p < k; p += 32) {
        _tile_loadd(4, A + p, lda * 2);
        _tile_loadd(5, A + 16 * lda + p, lda * 2);
        _tile_loadd(6, B + p * n, n * 4);
        _tile_loadd(7, B + p * n + 32, n * 4);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, C, ldc * 4);
    _tile_stored(1, C + 16, ldc * 4);
    _tile_stored(2, C + 16 * ldc, ldc * 4);
    _tile_stored(3, C + 16 * ldc + 16, ldc * 4);
}

// `rows` rows of a float32 matrix (row length `in`) to bfloat16 rows of length `padded`, a multiple of 32.
static void narrow_rows(const float *w, int64_t rows, int64_t in, int64_t padded, uint16_t *to) {
    for (int64_t o = 0; o < rows; o++) {
        int64_t i = 0;
        for (; i + 16 <= in; i += 16) *(half *)(to + o * padded + i) = narrow(*(const vec *)(w + o * in + i));
        for (; i < padded; i += 16) {
            vec tail = {0};
            for (int j = 0; j < 16 && i + j < in; j++) tail[j] = w[o * in + i + j];
            *(half *)(to + o * padded + i) = narrow(tail);
        }
    }
}

// 32 columns of a float32 matrix (rows, in) to bfloat16, transposed: to [32][rows].
static void narrow_columns(const float *w, int64_t rows, int64_t in, uint16_t *to) {
    for (int64_t o = 0; o < rows; o += 32)
        for (int64_t i = 0; i < 32; i += 16) {
            ivec r[16];
            for (int j = 0; j < 16; j++) {
                const float *row = w + (o + 2 * j) * in + i;
                _mm_prefetch((const char *)(row + 32), _MM_HINT_T1);  // the next 32 columns
                _mm_prefetch((const char *)(row + in + 32), _MM_HINT_T1);
                r[j] = side_by_side(narrow(*(const vec *)row), narrow(*(const vec *)(row + in)));
            }
            transpose(r);
            for (int j = 0; j < 16; j++) *(ivec *)(to + (i + j) * rows + o) = r[j];
        }
}

// A batch (rows, in) of float32 as pairs [padded/2][P][2] and flips [P/2][padded][2]; `plain` is room for [P][padded].
extern "C" void tiles_input(const float *x, int64_t rows, int64_t in, int64_t P, int64_t padded, uint16_t *plain,
                            uint16_t *pairs, uint16_t *flips) {
    std::memset(plain, 0, P * padded * 2);
    narrow_rows(x, rows, in, padded, plain);
    for (int64_t b = 0; b < P; b += 2)
        for (int64_t i = 0; i < padded; i += 16) {
            const uint16_t *row = plain + b * padded + i;
            *(ivec *)(flips + b * padded + 2 * i) = side_by_side(*(const half *)row, *(const half *)(row + padded));
        }
    for (int64_t b = 0; b < P; b += 32) flip(plain + b * padded, padded, padded, (uint32_t *)pairs + b, P);
}

// One block forward: product, batch statistics, xhat (plain), y = max(0, gamma xhat + beta) (plain, pairs, flips), and
// where the rectifier is open, one bit a sample (gates [out][P/16]).
// The float32 weights (out, in) are narrowed 32 rows at a time into `slab`; `room` holds 32 P floats.
extern "C" void tiles_forward(const float *weights, const uint16_t *h, int64_t out, int64_t in, int64_t padded,
                              int64_t rows, int64_t P, const float *gamma, const float *beta, const float *offset, float eps,
                              float momentum, float *running_mean, float *running_var, float *inverse, uint16_t *xhat,
                              uint16_t *gates, uint16_t *plain, uint16_t *pairs, uint16_t *flips, uint16_t *slab,
                              float *room) {
    const Tiles tiles;
    const vec zero = {0};
    for (int64_t f = 0; f < out; f += 32) {
        narrow_rows(weights + f * in, 32, in, padded, slab);
        __asm__ volatile("" ::: "memory");  // the tiles read what was just written
        for (int64_t b = 0; b < P; b += 32) product(slab, padded, h + 2 * b, P, padded, room + b, P);
        for (int r = 0; r < 32; r++) {
            const int64_t j = f + r;
            float *c = room + r * P;
            vec sum = zero, square = zero;
            for (int64_t b = 0; b < P; b += 16) sum += *(vec *)(c + b);
            const float mean = total(sum) / rows;
            int64_t b = 0;
            for (; b + 16 <= rows; b += 16) {
                const vec d = *(vec *)(c + b) - mean;
                square += d * d;
            }
            float squares = total(square);
            for (; b < rows; b++) squares += (c[b] - mean) * (c[b] - mean);
            const float inv = 1 / std::sqrt(squares / rows + eps);
            inverse[j] = inv;
            running_mean[j] += momentum * (mean + offset[j] - running_mean[j]);
            running_var[j] += momentum * (squares / (rows - 1) - running_var[j]);
            for (b = 0; b < P; b += 16) {
                const vec x = (*(vec *)(c + b) - mean) * inv, y = x * gamma[j] + beta[j];
                gates[(j * P + b) / 16] = _mm512_cmp_ps_mask((__m512)y, (__m512)zero, _CMP_GT_OQ);
                *(half *)(xhat + j * P + b) = narrow(x);
                *(half *)(plain + j * P + b) = narrow(y < zero ? zero : y);
            }
            if (rows < P) std::memset(plain + j * P + rows, 0, (P - rows) * 2);
        }
        for (int r = 0; r < 32; r += 2)
            for (int64_t b = 0; b < P; b += 16) {
                const uint16_t *y = plain + (f + r) * P + b;
                *(ivec *)(pairs + (f + r) * P + 2 * b) = side_by_side(*(const half *)y, *(const half *)(y + P));
            }
        flip(plain + f * P, P, P, (uint32_t *)flips + f, out);
    }
}

// One block backward, to the gradient da of its product (plain, pairs). The gradient of its output is `dy` [out][P],
// or, where that is null, the product of the next block's weights (next, out), transposed, and its da.
extern "C" void tiles_backward(const float *dy, const float *next_weights, const uint16_t *next_pairs, int64_t next,
                               const uint16_t *xhat, const uint16_t *gates, int64_t out, int64_t rows, int64_t P,
                               const float *gamma, const float *inverse, float *dgamma, float *dbeta, uint16_t *plain,
                               uint16_t *pairs, uint16_t *slab, float *room) {
    const Tiles tiles;
    const vec zero = {0};
    for (int64_t f = 0; f < out; f += 32) {
        const float *block = dy ? dy + f * P : room;
        if (!dy) narrow_columns(next_weights + f, next, out, slab);
        __asm__ volatile("" ::: "memory");
        for (int64_t b = 0; b < P && !dy; b += 32) product(slab, next, next_pairs + 2 * b, P, next, room + b, P);
        for (int r = 0; r < 32; r++) {
            const int64_t j = f + r;
            const float *c = block + r * P;
            vec sum = zero, dot = zero;
            for (int64_t b = 0; b < P; b += 16) {
                const vec g = (vec)_mm512_maskz_loadu_ps(gates[(j * P + b) / 16], c + b);
                sum += g;
                dot += g * read(xhat + j * P + b);
            }
            dbeta[j] = total(sum);
            dgamma[j] = total(dot);
            const float level = dbeta[j] / rows, slope = dgamma[j] / rows, scale = gamma[j] * inverse[j];
            for (int64_t b = 0; b < P; b += 16) {
                const vec g = (vec)_mm512_maskz_loadu_ps(gates[(j * P + b) / 16], c + b);
                *(half *)(plain + j * P + b) = narrow(scale * (g - level - read(xhat + j * P + b) * slope));
            }
            if (rows < P) std::memset(plain + j * P + rows, 0, (P - rows) * 2);
        }
        for (int r = 0; r < 32; r += 2)
            for (int64_t b = 0; b < P; b += 16) {
                const uint16_t *g = plain + (f + r) * P + b;
                *(ivec *)(pairs + (f + r) * P + 2 * b) = side_by_side(*(const half *)g, *(const half *)(g + P));
            }
    }
}

// dW (out, in) = da h^T in float32: da plain, h as flips of `padded` features.
extern "C" void tiles_gradient(const uint16_t *da, const uint16_t *flips, int64_t out, int64_t in, int64_t padded,
                               int64_t P, float *dw) {
    const Tiles tiles;
    float edge[32 * 32];
    for (int64_t f = 0; f < out; f += 32)
        for (int64_t i = 0; i < in; i += 32) {
            const bool whole = i + 32 <= in;
            product(da + f * P, P, flips + 2 * i, padded, P, whole ? dw + f * in + i : edge, whole ? in : 32);
            for (int r = 0; r < 32 && !whole; r++) std::memcpy(dw + (f + r) * in + i, edge + r * 32, (in - i) * 4);
        }
}
#else
extern "C" int tiles_ready() { return 0; }
#endif
