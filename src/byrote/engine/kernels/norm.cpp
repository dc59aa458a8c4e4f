// The functions of `norm.hpp` that Python calls (`library.py`), for three kinds of numbers: bfloat16, float32, and
// float32 rounded to bfloat16 when read and when written. This file also has conversions between these kinds.
#include "norm.hpp"

#define EXPORT(SUFFIX, T)                                                                                        \
    extern "C" void norm_relu_forward_##SUFFIX(const NormArguments<T> *n) { norm_relu_forward(*n); }             \
    extern "C" void norm_relu_apply_##SUFFIX(const NormArguments<T> *n) { norm_relu_apply(*n); }                 \
    extern "C" void norm_relu_backward_##SUFFIX(const NormArguments<T> *n) { norm_relu_backward(*n); }           \
    extern "C" void momentum_step_##SUFFIX(const T *g, float *m, float *theta, int64_t count, float rate,        \
                                           float momentum, float decay) {                                        \
        int64_t i = 0;                                                                                           \
        for (; i + 16 <= count; i += 16)                                                                         \
            momentum_step<vec>(g ? g + i : g, m + i, theta + i, rate, momentum, decay);                          \
        for (; i < count; i++) momentum_step<float>(g ? g + i : g, m + i, theta + i, rate, momentum, decay);     \
    }
EXPORT(bf16, bf16)
EXPORT(fp32, float)
EXPORT(rounded, rounded)

template <class From, class To> static void convert(const From *from, To *to, int64_t count) {
    int64_t i = 0;
    for (; i + 16 <= count; i += 16) store(to + i, load<vec>(from + i));
    for (; i < count; i++) store(to + i, load<float>(from + i));
}
extern "C" void cast(const float *from, bf16 *to, int64_t count) { convert(from, to, count); }
extern "C" void to_nearest(const float *from, rounded *to, int64_t count) { convert(from, to, count); }
extern "C" void widen(const bf16 *from, float *to, int64_t count) { convert(from, to, count); }
