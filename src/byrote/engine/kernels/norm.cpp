// What Python calls of the passes (`library.py`); see `norm.hpp`.
#include "norm.hpp"

#define EXPORT(SUFFIX, T)                                                                                          \
    extern "C" void norm_forward_##SUFFIX(const T *a, const T *residual, T *out, int64_t rows, int64_t cols,       \
                                          const float *gamma, const float *beta, const float *offset, float eps,   \
                                          float momentum, float *running_mean, float *running_var, float *mean,    \
                                          float *inverse, float floor) {                                           \
        norm_forward(a, residual, out, rows, cols, cols, gamma, beta, offset, eps, momentum, running_mean,         \
                     running_var, mean, inverse, floor);                                                           \
    }                                                                                                              \
    extern "C" void norm_apply_##SUFFIX(const T *a, const T *residual, T *out, int64_t rows, int64_t cols,         \
                                        const float *scale, const float *shift, float floor) {                     \
        norm_apply(a, residual, out, rows, cols, cols, scale, shift, floor);                                       \
    }                                                                                                              \
    extern "C" void norm_backward_##SUFFIX(const T *a, const T *out, const T *dy, T *da, T *dresidual,             \
                                           int64_t rows, int64_t cols, const float *gamma, const float *mean,      \
                                           const float *inverse, float *dgamma, float *dbeta, float floor) {       \
        norm_backward(a, out, dy, da, dresidual, rows, cols, cols, gamma, mean, inverse, dgamma, dbeta, floor);    \
    }
EXPORT(bf16, bf16)
EXPORT(fp32, float)
EXPORT(rounded, rounded)

#define DESCEND(SUFFIX, T)                                                                                           \
    extern "C" void descend_##SUFFIX(const T *g, float *m, float *theta, int64_t n, float rate, float momentum,      \
                                     float decay) {                                                                  \
        int64_t i = 0;                                                                                               \
        for (; i + 16 <= n; i += 16) descend<vec>(g ? g + i : g, m + i, theta + i, rate, momentum, decay);           \
        for (; i < n; i++) descend<float>(g ? g + i : g, m + i, theta + i, rate, momentum, decay);                   \
    }
DESCEND(bf16, bf16)
DESCEND(fp32, float)
DESCEND(rounded, rounded)

template <class From, class To> static void convert(const From *from, To *to, int64_t n) {
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) store(to + i, load<vec>(from + i));
    for (; i < n; i++) store(to + i, load<float>(from + i));
}
extern "C" void cast(const float *from, bf16 *to, int64_t n) { convert(from, to, n); }
extern "C" void to_nearest(const float *from, rounded *to, int64_t n) { convert(from, to, n); }
extern "C" void widen(const bf16 *from, float *to, int64_t n) { convert(from, to, n); }
