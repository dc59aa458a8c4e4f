// Code for chains of dense blocks that `dense_amx.cpp` (tile units) and `dense_avx512.cpp` (vector units) share.
#pragma once
#include <cmath>

#include "numbers.hpp"
#ifdef __AVX512F__
#include <immintrin.h>

static inline vec load(const float *p, __mmask16 lanes) { return (vec)_mm512_maskz_loadu_ps(lanes, p); }
static inline void store(float *p, __mmask16 lanes, vec x) { _mm512_mask_storeu_ps(p, lanes, (__m512)x); }
static inline __mmask16 first_lanes(int64_t lanes) { return lanes >= 16 ? 0xffff : lanes > 0 ? (1 << lanes) - 1 : 0; }

// Sixteen words, each with one bfloat16 in its lower half and one in its upper half.
static inline ivec wide(half x) { return __builtin_convertvector(x, ivec); }
static inline ivec pair_lanes(half lower, half upper) { return wide(lower) | (wide(upper) << 16); }
static inline ivec pair_lanes(vec lower, vec higher) {
#ifdef __AVX512BF16__
    alignas(64) static const uint16_t order[32] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                                   8,  24, 9,  25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    const __m512i both = (__m512i)_mm512_cvtne2ps_pbh((__m512)higher, (__m512)lower);
    return (ivec)_mm512_permutexvar_epi16(_mm512_load_si512(order), both);
#else
    return pair_lanes(upper(lower), upper(higher));
#endif
}
// Thirty-two neighboring values as sixteen words of two bfloat16.
static inline ivec pair_neighbors(vec first, vec second) {
#ifdef __AVX512BF16__
    return (ivec)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first);
#else
    const half both[2] = {upper(first), upper(second)};
    ivec words;
    std::memcpy(&words, both, sizeof words);
    return words;
#endif
}

// Transpose a 16 x 16 block of 32-bit words: r[i][j] <-> r[j][i].
static inline void transpose(ivec *r) {
#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE(A, B, ...) __builtin_shufflevector(A, B, __VA_ARGS__)
#else
#define SHUFFLE(A, B, ...) __builtin_shuffle(A, B, (ivec){__VA_ARGS__})
#endif
#define BARE(...) __VA_ARGS__
#define STAGE(D, LOW, HIGH)                    \
    for (int i = 0; i < 16; i++)               \
        if (!(i & D)) {                        \
            const ivec a = r[i], b = r[i + D]; \
            r[i] = SHUFFLE(a, b, BARE LOW);    \
            r[i + D] = SHUFFLE(a, b, BARE HIGH); \
        }
    STAGE(1, (0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30),
          (1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31))
    STAGE(2, (0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29),
          (2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31))
    STAGE(4, (0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27),
          (4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31))
    STAGE(8, (0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23),
          (8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31))
}

// One block of all runs. The pointers `to_...` are the destinations of gradients or, if the backward pass takes a step,
// the momenta.
struct Block {
    float *weight, *bias, *gamma, *beta, *running_mean, *running_var;
    int64_t *batches;
    float *to_weight, *to_bias, *to_gamma, *to_beta;
    int64_t out, in;
    float eps, momentum;
    Block run(int64_t s) const {
        Block b = *this;
        b.weight += s * out * in;
        if (b.to_weight) b.to_weight += s * out * in;
        for (float **p : {&b.bias, &b.gamma, &b.beta, &b.running_mean, &b.running_var}) *p += s * out;
        for (float **p : {&b.to_bias, &b.to_gamma, &b.to_beta})
            if (*p) *p += s * out;
        return b;
    }
};

// m <- momentum m + (g + decay theta); theta <- theta - rate m. If `on` is false, the gradient is stored instead.
struct Descent {
    float rate, momentum, decay;
    bool on;
    void update(float *theta, float *to, __mmask16 lanes, vec g) const {
        if (on) {
            const vec old = load(theta, lanes);
            g = momentum * load(to, lanes) + (g + decay * old);
            store(theta, lanes, old - rate * g);
        }
        store(to, lanes, g);
    }
    void update(float *theta, float *to, float g) const { update(theta, to, 1, (vec){g}); }
};

// One run's pass through a chain, as Python passes it (`arguments.py`). Pointers that a pass does not use are null.
// bytes: the size of the memory (64-byte aligned) that the passes of one run share.
// forward: in training mode; returns 0, or does nothing and returns 1 if the index names a row that x does not have.
// backward: computes the gradients of run `run` from the gradient of its features, and stores them or takes a step of
// descent.
struct ChainPass {
    const Block *blocks;
    int64_t depth, run;    // the number of blocks; the position of the run in the stacked states
    const float *x;        // (rows, in), or with an index (samples, in)
    int64_t samples;
    const int64_t *index;  // (rows): which rows of x are the batch; or null
    int64_t rows;
    char *workspace;
    float *features;       // (rows, out): written by the forward pass and by evaluation
    const float *dy;       // (rows, out): the gradient of the features
    float rate, momentum, decay;
    int32_t steps;         // whether the backward pass takes a step of descent; otherwise it stores gradients
    bool index_fits() const {
        for (int64_t b = 0; index && b < rows; b++)
            if (index[b] < 0 || index[b] >= samples) return false;
        return true;
    }
    Descent descent() const { return {rate, momentum, decay, steps != 0}; }
};

// Prefetches memory that will be read soon: `rows` rows of `count` values, `stride` values apart. Each step of the
// preceding work fetches a few cache lines, so that memory is never idle.
struct Prefetch {
    const float *row = nullptr;
    int64_t rows = 0, stride = 0, count = 0, at = 0;
    int64_t lines = 0;  // cache lines that each step fetches
    Prefetch() = default;
    Prefetch(const float *p, int64_t count, int64_t steps, int64_t rows = 1, int64_t stride = 0)
        : row(p), rows(count > 0 ? rows : 0), stride(stride), count(count), lines(count * rows / 16 / steps + 1) {}
    void step() {
        for (int64_t i = 0; i < lines && rows > 0; i++) {
            _mm_prefetch((const char *)(row + at), _MM_HINT_T1);
            at += 16;
            if (at >= count) at = 0, row += stride, rows--;
        }
    }
};
#endif
