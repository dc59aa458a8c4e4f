// The passes between the matrix products of a training step, each with as few trips through memory as it can:
// batch normalisation with rectifier, forward and backward, on rows of features `stride` apart; the step of descent.
// One thread and one fixed order of sums.
#pragma once
#include <cmath>

#include "numbers.hpp"

constexpr int64_t CHUNK = 128;  // rows whose squares are taken about their own mean and then merged

// K packs of neighbouring columns at once; `at` steps through them.
#define EACH for (int k = 0; k < K; k++)
template <class Pack> static constexpr int64_t at(int k) { return k * LANES<Pack>; }

// Mean and summed squared deviations, merged chunk by chunk (Chan, Golub & LeVeque 1983).
template <class Pack, int K, class In>
static void moments(const In *a, int64_t rows, int64_t stride, Pack *mean, Pack *m2) {
    EACH mean[k] = m2[k] = fill<Pack>(0);
    for (int64_t start = 0; start < rows; start += CHUNK) {
        const int64_t stop = start + CHUNK < rows ? start + CHUNK : rows, count = stop - start;
        Pack sum[K], square[K];
        EACH sum[k] = square[k] = fill<Pack>(0);
        for (int64_t i = start; i < stop; i++) EACH sum[k] += load<Pack>(a + i * stride + at<Pack>(k));
        EACH sum[k] *= 1.0f / count;
        for (int64_t i = start; i < stop; i++) EACH {
                const Pack d = load<Pack>(a + i * stride + at<Pack>(k)) - sum[k];
                square[k] += d * d;
            }
        const float share = (float)count / stop;
        EACH {
            const Pack d = sum[k] - mean[k];
            mean[k] += d * share;
            m2[k] += square[k] + d * d * (start * share);
        }
    }
}

// out = max(floor, scale a + shift + residual); no residual where the pointer is null.
template <class Pack, int K, class In, class Out>
static void affine(const In *a, const In *residual, Out *out, int64_t rows, int64_t stride, const Pack *scale,
                   const Pack *shift, float floor) {
    for (int64_t i = 0; i < rows; i++) EACH {
            const int64_t j = i * stride + at<Pack>(k);
            Pack y = load<Pack>(a + j) * scale[k] + shift[k];
            if (residual) y += load<Pack>(residual + j);
            store(out + j, y < floor ? fill<Pack>(floor) : y);
        }
}

template <class Pack, int K, class In, class Out>
static void apply(const In *a, const In *residual, Out *out, int64_t rows, int64_t stride, const float *scale,
                  const float *shift, float floor) {
    Pack s[K], t[K];
    EACH s[k] = load<Pack>(scale + at<Pack>(k)), t[k] = load<Pack>(shift + at<Pack>(k));
    affine<Pack, K>(a, residual, out, rows, stride, s, t, floor);
}

// `offset`, where given, was left out of a and moves only the running mean: the bias of the layer before.
template <class Pack, int K, class In, class Out>
static void forward(const In *a, const In *residual, Out *out, int64_t rows, int64_t stride, const float *gamma,
                    const float *beta, const float *offset, float eps, float momentum, float *running_mean,
                    float *running_var, float *mean, float *inverse, float floor) {
    Pack m[K], v[K], scale[K], shift[K];
    moments<Pack, K>(a, rows, stride, m, v);
    EACH store(mean + at<Pack>(k), m[k]);
    for (int j = 0; j < K * LANES<Pack>; j++) {
        const float squares = ((const float *)v)[j];
        inverse[j] = 1 / std::sqrt(squares / rows + eps);
        running_mean[j] += momentum * (mean[j] + (offset ? offset[j] : 0) - running_mean[j]);
        running_var[j] += momentum * (squares / (rows - 1) - running_var[j]);
    }
    EACH {
        scale[k] = load<Pack>(gamma + at<Pack>(k)) * load<Pack>(inverse + at<Pack>(k));
        shift[k] = load<Pack>(beta + at<Pack>(k)) - m[k] * scale[k];
    }
    affine<Pack, K>(a, residual, out, rows, stride, scale, shift, floor);
}

// With xhat the normalised input and g the gradient behind the rectifier (0 where `out` sits on its floor):
// da = gamma/std (g - mean(g) - xhat mean(g xhat)), dgamma = sum(g xhat), dbeta = sum(g), dresidual = g.
template <class Pack, int K, class In, class Gate, class Out>
static void backward(const In *a, const Gate *out, const In *dy, Out *da, Out *dresidual, int64_t rows, int64_t stride,
                     const float *gamma, const float *mean, const float *inverse, float *dgamma, float *dbeta,
                     float floor) {
    const Pack zero = fill<Pack>(0);
    Pack m[K], sum[K], dot[K];
    EACH m[k] = load<Pack>(mean + at<Pack>(k)), sum[k] = dot[k] = zero;
    for (int64_t start = 0; start < rows; start += CHUNK) {
        const int64_t stop = start + CHUNK < rows ? start + CHUNK : rows;
        Pack part[K], cross[K];
        EACH part[k] = cross[k] = zero;
        for (int64_t i = start; i < stop; i++) EACH {
                const int64_t j = i * stride + at<Pack>(k);
                const Pack g = load<Pack>(out + j) > floor ? load<Pack>(dy + j) : zero;
                part[k] += g;
                cross[k] += g * (load<Pack>(a + j) - m[k]);
            }
        EACH sum[k] += part[k], dot[k] += cross[k];
    }
    Pack scale[K], slope[K], level[K];
    EACH {
        const Pack inv = load<Pack>(inverse + at<Pack>(k));
        store(dbeta + at<Pack>(k), sum[k]);
        store(dgamma + at<Pack>(k), dot[k] * inv);
        scale[k] = load<Pack>(gamma + at<Pack>(k)) * inv;
        slope[k] = dot[k] * inv * inv * (1.0f / rows);
        level[k] = sum[k] * (1.0f / rows);
    }
    for (int64_t i = 0; i < rows; i++) EACH {
            const int64_t j = i * stride + at<Pack>(k);
            const Pack g = load<Pack>(out + j) > floor ? load<Pack>(dy + j) : zero;
            store(da + j, scale[k] * (g - level[k] - (load<Pack>(a + j) - m[k]) * slope[k]));
            if (dresidual) store(dresidual + j, g);
        }
}

// Columns go through in packs of 64, 32 and 16, the rest one by one.
#define COLUMNS(CALL)                                                                \
    int64_t c = 0;                                                                   \
    for (; c + 64 <= cols; c += 64) { typedef vec Pack; constexpr int K = 4; CALL; } \
    for (; c + 32 <= cols; c += 32) { typedef vec Pack; constexpr int K = 2; CALL; } \
    for (; c + 16 <= cols; c += 16) { typedef vec Pack; constexpr int K = 1; CALL; } \
    for (; c < cols; c++) { typedef float Pack; constexpr int K = 1; CALL; }
#define SHIFTED(pointer) ((pointer) ? (pointer) + c : (pointer))

template <class In, class Out>
static void norm_forward(const In *a, const In *residual, Out *out, int64_t rows, int64_t cols, int64_t stride,
                         const float *gamma, const float *beta, const float *offset, float eps, float momentum,
                         float *running_mean, float *running_var, float *mean, float *inverse, float floor) {
    COLUMNS((forward<Pack, K>(a + c, SHIFTED(residual), out + c, rows, stride, gamma + c, beta + c, SHIFTED(offset),
                              eps, momentum, running_mean + c, running_var + c, mean + c, inverse + c, floor)))
}
template <class In, class Out>
static void norm_apply(const In *a, const In *residual, Out *out, int64_t rows, int64_t cols, int64_t stride,
                       const float *scale, const float *shift, float floor) {
    COLUMNS((apply<Pack, K>(a + c, SHIFTED(residual), out + c, rows, stride, scale + c, shift + c, floor)))
}
template <class In, class Out, class Gate>
static void norm_backward(const In *a, const Gate *out, const In *dy, Out *da, Out *dresidual, int64_t rows,
                          int64_t cols, int64_t stride, const float *gamma, const float *mean, const float *inverse,
                          float *dgamma, float *dbeta, float floor) {
    COLUMNS((backward<Pack, K>(a + c, out + c, dy + c, da + c, SHIFTED(dresidual), rows, stride, gamma + c, mean + c,
                               inverse + c, dgamma + c, dbeta + c, floor)))
}

// m <- momentum m + (g + decay theta); theta <- theta - rate m. Without g, where the pointer is null, g = 0.
template <class Pack, class T>
static void descend(const T *g, float *m, float *theta, float rate, float momentum, float decay) {
    const Pack old = load<Pack>(theta), slope = g ? load<Pack>(g) : fill<Pack>(0);
    const Pack moved = load<Pack>(m) * momentum + (slope + old * decay);
    store(m, moved);
    store(theta, old - moved * rate);
}
