// Batch normalization, residual and rectifier in one pass for each direction, and the step of SGD with momentum.
//
// A batch is a matrix (rows, columns): a column is a feature or a channel, a row is a sample or a pixel.
// 1. Columns are processed in packs of 64, 32 and 16, and the rest one by one; the sums of a pack stay in registers.
// 2. Forward: mean and squared deviations of a pack, chunk by chunk; out = max(floor, gamma xhat + beta + residual).
// 3. Backward: the sums of g and of g xhat, where g is the gradient that passes the rectifier; then the gradient of x.
// 4. Evaluation: out = max(floor, scale x + shift + residual), with the running statistics.
// 5. One thread and a fixed order of summation, so that equal inputs give equal bits.
#pragma once
#include <cmath>

#include "numbers.hpp"

// Always inlined, so that a stride or a null pointer from the caller is a constant at compile time. These constants
// determine which multiplications and additions a compiler fuses.
#define INLINED static inline __attribute__((always_inline))

constexpr int64_t CHUNK = 128;  // rows in a chunk, which has its own mean and squared deviations

// Everything that one pass reads and writes, as Python passes it (`arguments.py`). Pointers that a pass does not use
// are null.
template <class In, class Out = In, class Gate = Out> struct NormArguments {
    const In *x, *residual;             // the input; a term that is added before the rectifier, or null
    Out *out;                           // forward and evaluation
    const Gate *gate;                   // backward: the output, equal to `floor` where the rectifier blocks gradients
    const In *dy;                       // backward: the gradient of the output
    Out *dx, *dresidual;                // backward: the gradients of x and of the residual
    const float *gamma, *beta;          // (columns), like all arrays below
    const float *offset;                // a bias that is not in x and changes only the running mean; or null
    const float *scale, *shift;         // evaluation
    float *running_mean, *running_var;  // forward: move by the share `momentum` toward the batch statistics
    float *mean, *inverse;              // mean and 1 / std of the batch: written forward, read backward
    float *dgamma, *dbeta;              // backward
    int64_t rows, columns, stride;      // stride: numbers from one row to the next
    float eps, momentum, floor;         // floor: 0 with a rectifier, -infinity without

    // The arguments from column c on.
    __attribute__((always_inline)) NormArguments from(int64_t c) const {
        NormArguments n = *this;
        n.x = moved(x, c), n.residual = moved(residual, c), n.out = moved(out, c), n.gate = moved(gate, c);
        n.dy = moved(dy, c), n.dx = moved(dx, c), n.dresidual = moved(dresidual, c);
        n.gamma = moved(gamma, c), n.beta = moved(beta, c), n.offset = moved(offset, c);
        n.scale = moved(scale, c), n.shift = moved(shift, c);
        n.running_mean = moved(running_mean, c), n.running_var = moved(running_var, c);
        n.mean = moved(mean, c), n.inverse = moved(inverse, c), n.dgamma = moved(dgamma, c), n.dbeta = moved(dbeta, c);
        return n;
    }
    template <class T> static T *moved(T *pointer, int64_t c) { return pointer ? pointer + c : pointer; }
};

// K packs of neighboring columns at once; `at` steps through them.
#define EACH for (int k = 0; k < K; k++)
template <class Pack> static constexpr int64_t at(int k) { return k * LANES<Pack>; }

// Mean and sum of squared deviations, merged chunk by chunk (Chan, Golub & LeVeque 1983).
template <class Pack, int K, class In>
INLINED void moments(const In *x, int64_t rows, int64_t stride, Pack *mean, Pack *m2) {
    EACH mean[k] = m2[k] = fill<Pack>(0);
    for (int64_t start = 0; start < rows; start += CHUNK) {
        const int64_t stop = start + CHUNK < rows ? start + CHUNK : rows, count = stop - start;
        Pack sum[K], square[K];
        EACH sum[k] = square[k] = fill<Pack>(0);
        for (int64_t i = start; i < stop; i++) EACH sum[k] += load<Pack>(x + i * stride + at<Pack>(k));
        EACH sum[k] *= 1.0f / count;
        for (int64_t i = start; i < stop; i++) EACH {
                const Pack d = load<Pack>(x + i * stride + at<Pack>(k)) - sum[k];
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

// out = max(floor, scale x + shift + residual), without a residual if the pointer is null.
template <class Pack, int K, class In, class Out>
INLINED void scale_shift_relu(const In *x, const In *residual, Out *out, int64_t rows, int64_t stride,
                              const Pack *scale, const Pack *shift, float floor) {
    for (int64_t i = 0; i < rows; i++) EACH {
            const int64_t j = i * stride + at<Pack>(k);
            Pack y = load<Pack>(x + j) * scale[k] + shift[k];
            if (residual) y += load<Pack>(residual + j);
            store(out + j, y < floor ? fill<Pack>(floor) : y);
        }
}

template <class Pack, int K, class In, class Out, class Gate>
INLINED void columns_apply(const NormArguments<In, Out, Gate> n) {
    Pack scale[K], shift[K];
    EACH scale[k] = load<Pack>(n.scale + at<Pack>(k)), shift[k] = load<Pack>(n.shift + at<Pack>(k));
    scale_shift_relu<Pack, K>(n.x, n.residual, n.out, n.rows, n.stride, scale, shift, n.floor);
}

template <class Pack, int K, class In, class Out, class Gate>
INLINED void columns_forward(const NormArguments<In, Out, Gate> n) {
    Pack m[K], v[K], scale[K], shift[K];
    moments<Pack, K>(n.x, n.rows, n.stride, m, v);
    EACH store(n.mean + at<Pack>(k), m[k]);
    for (int j = 0; j < K * LANES<Pack>; j++) {
        const float squares = ((const float *)v)[j];
        n.inverse[j] = 1 / std::sqrt(squares / n.rows + n.eps);
        n.running_mean[j] += n.momentum * (n.mean[j] + (n.offset ? n.offset[j] : 0) - n.running_mean[j]);
        n.running_var[j] += n.momentum * (squares / (n.rows - 1) - n.running_var[j]);
    }
    EACH {
        scale[k] = load<Pack>(n.gamma + at<Pack>(k)) * load<Pack>(n.inverse + at<Pack>(k));
        shift[k] = load<Pack>(n.beta + at<Pack>(k)) - m[k] * scale[k];
    }
    scale_shift_relu<Pack, K>(n.x, n.residual, n.out, n.rows, n.stride, scale, shift, n.floor);
}

// With xhat the normalized input and g the gradient that passes the rectifier (0 where `gate` equals `floor`):
// dx = gamma/std (g - mean(g) - xhat mean(g xhat)), dgamma = sum(g xhat), dbeta = sum(g), dresidual = g.
template <class Pack, int K, class In, class Out, class Gate>
INLINED void columns_backward(const NormArguments<In, Out, Gate> n) {
    const int64_t rows = n.rows, stride = n.stride;
    const float floor = n.floor;
    const Pack zero = fill<Pack>(0);
    Pack m[K], sum[K], dot[K];
    EACH m[k] = load<Pack>(n.mean + at<Pack>(k)), sum[k] = dot[k] = zero;
    for (int64_t start = 0; start < rows; start += CHUNK) {
        const int64_t stop = start + CHUNK < rows ? start + CHUNK : rows;
        Pack part[K], cross[K];
        EACH part[k] = cross[k] = zero;
        for (int64_t i = start; i < stop; i++) EACH {
                const int64_t j = i * stride + at<Pack>(k);
                const Pack g = load<Pack>(n.gate + j) > floor ? load<Pack>(n.dy + j) : zero;
                part[k] += g;
                cross[k] += g * (load<Pack>(n.x + j) - m[k]);
            }
        EACH sum[k] += part[k], dot[k] += cross[k];
    }
    Pack scale[K], slope[K], level[K];
    EACH {
        const Pack inv = load<Pack>(n.inverse + at<Pack>(k));
        store(n.dbeta + at<Pack>(k), sum[k]);
        store(n.dgamma + at<Pack>(k), dot[k] * inv);
        scale[k] = load<Pack>(n.gamma + at<Pack>(k)) * inv;
        slope[k] = dot[k] * inv * inv * (1.0f / rows);
        level[k] = sum[k] * (1.0f / rows);
    }
    for (int64_t i = 0; i < rows; i++) EACH {
            const int64_t j = i * stride + at<Pack>(k);
            const Pack g = load<Pack>(n.gate + j) > floor ? load<Pack>(n.dy + j) : zero;
            store(n.dx + j, scale[k] * (g - level[k] - (load<Pack>(n.x + j) - m[k]) * slope[k]));
            if (n.dresidual) store(n.dresidual + j, g);
        }
}

// Process columns in packs of 64, 32 and 16, and the rest one by one.
#define ALL_COLUMNS(PASS)                                           \
    int64_t c = 0;                                                  \
    for (; c + 64 <= n.columns; c += 64) PASS<vec, 4>(n.from(c));   \
    for (; c + 32 <= n.columns; c += 32) PASS<vec, 2>(n.from(c));   \
    for (; c + 16 <= n.columns; c += 16) PASS<vec, 1>(n.from(c));   \
    for (; c < n.columns; c++) PASS<float, 1>(n.from(c));

template <class In, class Out, class Gate> INLINED void norm_relu_forward(const NormArguments<In, Out, Gate> &n) {
    ALL_COLUMNS(columns_forward)
}
template <class In, class Out, class Gate> INLINED void norm_relu_apply(const NormArguments<In, Out, Gate> &n) {
    ALL_COLUMNS(columns_apply)
}
template <class In, class Out, class Gate> INLINED void norm_relu_backward(const NormArguments<In, Out, Gate> &n) {
    ALL_COLUMNS(columns_backward)
}

// m <- momentum m + (g + decay theta); theta <- theta - rate m. If the pointer g is null, g = 0.
template <class Pack, class T>
static void momentum_step(const T *g, float *m, float *theta, float rate, float momentum, float decay) {
    const Pack old = load<Pack>(theta), slope = g ? load<Pack>(g) : fill<Pack>(0);
    const Pack moved = load<Pack>(m) * momentum + (slope + old * decay);
    store(m, moved);
    store(theta, old - moved * rate);
}
