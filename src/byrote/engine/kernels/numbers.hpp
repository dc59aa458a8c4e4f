// Types of numbers, as single values and in packs of sixteen. bfloat16 is the upper half of a float32, rounded to
// nearest even.
#pragma once
#include <cstdint>
#include <cstring>
#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

typedef float vec __attribute__((vector_size(64), aligned(4)));
typedef uint32_t ivec __attribute__((vector_size(64), aligned(4)));
typedef uint16_t half __attribute__((vector_size(32), aligned(2), may_alias));
struct __attribute__((may_alias)) bf16 { uint16_t bits; };
struct rounded { float value; };  // a float32 that stands for the nearest bfloat16: rounded when read and when written

template <class Pack> static inline Pack load(const float *p);
template <class Pack> static inline Pack load(const bf16 *p);
template <class Pack> static inline Pack load(const rounded *p);
template <> inline float load<float>(const float *p) { return *p; }
template <> inline vec load<vec>(const float *p) { return *(const vec *)p; }
template <> inline float load<float>(const bf16 *p) {
    const uint32_t wide = (uint32_t)p->bits << 16;
    float x;
    std::memcpy(&x, &wide, 4);
    return x;
}
template <> inline vec load<vec>(const bf16 *p) {
    return (vec)(__builtin_convertvector(*(const half *)p, ivec) << 16);
}
static inline void store(float *p, float x) { *p = x; }
static inline void store(float *p, vec x) { *(vec *)p = x; }
static inline bf16 upper(float x) {
    uint32_t wide;
    std::memcpy(&wide, &x, 4);
    return {x == x ? (uint16_t)((wide + 0x7fff + ((wide >> 16) & 1)) >> 16) : (uint16_t)0x7fc0};
}
static inline half upper(vec x) {
#ifdef __AVX512BF16__
    return (half)_mm512_cvtneps_pbh((__m512)x);
#else
    const ivec wide = (ivec)x, rounded = (wide + 0x7fff + ((wide >> 16) & 1)) >> 16;
    return __builtin_convertvector(x == x ? rounded : (ivec)(wide - wide + 0x7fc0), half);
#endif
}
static inline void store(bf16 *p, float x) { *p = upper(x); }
static inline void store(bf16 *p, vec x) { *(half *)p = upper(x); }
static inline float nearest(float x) {
    const bf16 narrow = upper(x);
    return load<float>(&narrow);
}
static inline vec nearest(vec x) { return (vec)(__builtin_convertvector(upper(x), ivec) << 16); }
template <> inline float load<float>(const rounded *p) { return nearest(p->value); }
template <> inline vec load<vec>(const rounded *p) { return nearest(*(const vec *)p); }
static inline void store(rounded *p, float x) { p->value = nearest(x); }
static inline void store(rounded *p, vec x) { *(vec *)p = nearest(x); }
template <class Pack> static inline Pack fill(float x) { return Pack() + x; }
template <class Pack> constexpr int LANES = sizeof(Pack) / sizeof(float);
