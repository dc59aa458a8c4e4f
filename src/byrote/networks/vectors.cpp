// Chains of dense blocks on 512-bit vector units, for processors without tile units: in float32, or with operands rounded
// to bfloat16. Product, normalisation and rectifier in one visit, and the step of descent while its gradient lies in
// registers.
//
// Activations lie in panels: 32 features of the whole batch, sample after sample. A product makes a panel at a time, 8
// samples x 32 features in registers, so that its right operand stays in the innermost cache: 32 columns of the weights,
// copied on their way (forward transposed), or, for the weights' gradient, the panel itself.
// The batch is padded to 8 samples and the last panel to 32 columns. What lies there is multiplied and then dropped; it is 0
// because numbers left over in memory may be denormal, which is slow.
#include <algorithm>
#include <type_traits>

#include "chain.hpp"
#include "passes.hpp"
#ifdef __AVX512F__

namespace {
constexpr int64_t WIDE = 32, TALL = 8;       // of a panel; of what registers hold
constexpr int64_t DEEP = 256, GROUP = 128;  // rows of a slab in the innermost cache; columns of weights stepped in order

inline int64_t panels(int64_t size) { return (size + WIDE - 1) / WIDE; }
inline int64_t columns(int64_t size, int64_t from) { return std::min(WIDE, size - from); }

// What one run's backward pass needs, and room for what is written and read again at once. In evaluation, where nothing is
// kept, blocks take turns in the same room.
struct Trace {
    struct Layer { float *h, *a, *mean, *inverse; } layers[65];  // h: the input; behind the last block, the output
    float *da[2], *slab, *slope, *dgamma, *dbeta;
    int64_t P, size;

    Trace(const Block *blocks, int64_t n, int64_t rows, char *memory, bool kept) : P((rows + TALL - 1) / TALL * TALL) {
        char *at = memory;
        auto take = [&](int64_t count) { char *p = at; at += (count * 4 + 63) / 64 * 64; return (float *)p; };
        int64_t widest = 0, longest = 0;
        for (int64_t i = 0; i < n; i++) {
            widest = std::max(widest, panels(blocks[i].out) * WIDE);
            longest = std::max({longest, blocks[i].in, blocks[i].out});
        }
        for (float *&p : da) p = take(widest * P);
        slab = take(longest * WIDE);
        slope = take(WIDE * P);
        dgamma = take(WIDE);
        dbeta = take(WIDE);
        layers[0].h = take(panels(blocks[0].in) * WIDE * P);
        for (int64_t i = 0; i < n; i++) {
            const int64_t out = panels(blocks[i].out) * WIDE;
            layers[i].a = kept ? take(out * P) : nullptr;
            layers[i].mean = kept ? take(out) : nullptr;
            layers[i].inverse = kept ? take(out) : nullptr;
            layers[i + 1].h = kept ? take(out * P) : da[i % 2];
        }
        size = at - memory;
    }
};

template <class Number> vec kept(vec x);
template <> inline vec kept<float>(vec x) { return x; }
template <> inline vec kept<rounded>(vec x) { return nearest(x); }

// sums[m] += sum over k of a[k ALONG + m ACROSS] b[k], for 8 rows m and 32 columns of b.
template <int64_t ALONG, int64_t ACROSS>
inline __attribute__((always_inline)) void multiply(vec (&sums)[TALL][2], const float *a, const float *b, int64_t depth) {
    for (int64_t k = 0; k < depth; k++, a += ALONG, b += WIDE) {
        const vec left = load<vec>(b), right = load<vec>(b + 16);
#pragma GCC unroll 8
        for (int m = 0; m < TALL; m++) sums[m][0] += a[m * ACROSS] * left, sums[m][1] += a[m * ACROSS] * right;
    }
}

// A panel: of every sample the product of its `depth` values in `operand`, panels, with the rows of `slab`.
inline void product(const float *operand, int64_t P, const float *slab, int64_t depth, float *to) {
    for (int64_t start = 0; start < depth; start += DEEP)
        for (int64_t b = 0; b < P; b += TALL) {
            vec sums[TALL][2] = {};
            float *rows = to + b * WIDE;
            if (start)
                for (int m = 0; m < TALL; m++)
                    sums[m][0] = load<vec>(rows + m * WIDE), sums[m][1] = load<vec>(rows + m * WIDE + 16);
            for (int64_t k = start; k < std::min(depth, start + DEEP); k += WIDE)
                multiply<1, WIDE>(sums, operand + k * P + b * WIDE, slab + k * WIDE, columns(depth, k));
            for (int m = 0; m < TALL; m++)
                store(rows + m * WIDE, sums[m][0]), store(rows + m * WIDE + 16, sums[m][1]);
        }
}

// Up to 32 rows of weights as columns: slab[i][o] = w[o][i].
template <class Number> void transposed(const float *w, int64_t rows, int64_t in, float *slab) {
    constexpr bool paired = std::is_same<Number, rounded>::value;
    for (int64_t i = 0; i < in; i += 16) {
        ivec low[16], high[16];
        for (int64_t o = 0; o < 16; o++) {
            const vec one = load(w + o * in + i, o < rows ? first(in - i) : 0);
            const vec two = load(w + (o + 16) * in + i, o + 16 < rows ? first(in - i) : 0);
            low[o] = paired ? side_by_side(one, two) : (ivec)one;
            high[o] = (ivec)two;
        }
        transpose(low);
        if (!paired) transpose(high);
        for (int64_t k = 0; k < 16 && i + k < in; k++) {
            store(slab + (i + k) * WIDE, (vec)(paired ? low[k] << 16 : low[k]));
            store(slab + (i + k) * WIDE + 16, (vec)(paired ? low[k] & 0xffff0000 : high[k]));
        }
    }
}

// A batch (rows, in), or of x the rows that `index` names, as panels.
template <class Number>
void pack(const float *x, const int64_t *index, int64_t rows, int64_t in, int64_t P, float *to) {
    for (int64_t b = 0; b < P; b++) {
        const float *row = x + (index && b < rows ? index[b] : b) * in;
        for (int64_t i = 0; i < panels(in) * WIDE; i += 16)
            store(to + i / WIDE * WIDE * P + b * WIDE + i % WIDE,
                  kept<Number>(load(row + i, b < rows ? first(in - i) : 0)));
    }
}

inline void clear(float *panel, int64_t rows, int64_t P) { std::fill(panel + rows * WIDE, panel + P * WIDE, 0.0f); }

// The features of the last block leave their panels.
inline void unpack(const float *from, int64_t rows, int64_t out, int64_t P, float *features) {
    for (int64_t f = 0; f < out; f += WIDE)
        for (int64_t b = 0; b < rows; b++)
            std::copy_n(from + f * P + b * WIDE, columns(out, f), features + b * out + f);
}

template <class Weight, class Out>
void block_forward(const Block &block, int64_t rows, Trace &t, Trace::Layer *own) {
    for (int64_t f = 0; f < block.out; f += WIDE) {
        const int64_t count = columns(block.out, f);
        float *a = own->a + f * t.P, *out = own[1].h + f * t.P;
        if (count < WIDE) std::fill(out, out + WIDE * t.P, 0.0f);
        transposed<Weight>(block.weight + f * block.in, count, block.in, t.slab);
        product(own->h, t.P, t.slab, block.in, a);
        norm_forward<float, Out>(a, nullptr, (Out *)out, rows, count, WIDE, block.gamma + f, block.beta + f,
                                 block.bias + f, block.eps, block.momentum, block.running_mean + f,
                                 block.running_var + f, own->mean + f, own->inverse + f, 0);
        clear(out, rows, t.P);
    }
}

// By the running statistics.
template <class Weight, class Out>
void block_evaluate(const Block &block, int64_t rows, Trace &t, Trace::Layer *own) {
    for (int64_t f = 0; f < block.out; f += WIDE) {
        const int64_t count = columns(block.out, f);
        float *out = own[1].h + f * t.P, scale[WIDE], shift[WIDE];
        for (int64_t j = f; j < f + count; j++) {
            scale[j - f] = block.gamma[j] / std::sqrt(block.running_var[j] + block.eps);
            shift[j - f] = block.beta[j] + scale[j - f] * (block.bias[j] - block.running_mean[j]);
        }
        transposed<Weight>(block.weight + f * block.in, count, block.in, t.slab);
        product(own->h, t.P, t.slab, block.in, t.slope);
        norm_apply<float, Out>(t.slope, nullptr, (Out *)out, rows, count, WIDE, scale, shift, 0);
        clear(out, rows, t.P);
    }
}

// Behind the rectifier and through the normalisation of 32 features, from the gradient of their output in t.slope to that
// of their product in `da`, a panel.
template <class Out>
void through(const Block &block, int64_t f, int64_t rows, Trace &t, const Trace::Layer *own, float *da,
             const Descent &descent) {
    const int64_t count = columns(block.out, f);
    if (count < WIDE) std::fill(da, da + WIDE * t.P, 0.0f);
    norm_backward<float, Out>(own->a + f * t.P, own[1].h + f * t.P, t.slope, (Out *)da, nullptr, rows, count, WIDE,
                              block.gamma + f, own->mean + f, own->inverse + f, t.dgamma, t.dbeta, 0);
    clear(da, rows, t.P);
    for (int64_t j = 0; j < count; j += 16) {
        const __mmask16 lanes = first(count - j);
        descent.put(block.gamma + f + j, block.to_gamma + f + j, lanes, load<vec>(t.dgamma + j));
        descent.put(block.beta + f + j, block.to_beta + f + j, lanes, load<vec>(t.dbeta + j));
        descent.put(block.bias + f + j, block.to_bias + f + j, lanes, vec{});  // the batch mean takes the bias away
    }
}

// The gradient of the columns of the weights from `i` up to `end`, and what is done with it.
void weights_backward(const Block &block, int64_t i, int64_t end, int64_t rows, const Trace &t, const float *h,
                      const Descent &descent) {
    for (int64_t o = 0; o < block.out; o += TALL)
        for (int64_t f = i; f < end; f += WIDE) {
            const int64_t count = std::min(TALL, block.out - o), at = o * block.in + f;
            const __mmask16 low = first(block.in - f), high = first(block.in - f - 16);
            for (int64_t m = 0; m < count; m++)
                for (const float *p : {block.weight, block.to_weight})
                    _mm_prefetch(p + at + m * block.in, _MM_HINT_T0), _mm_prefetch(p + at + m * block.in + 16, _MM_HINT_T0);
            vec sums[TALL][2] = {};
            multiply<WIDE, 1>(sums, t.da[0] + o / WIDE * WIDE * t.P + o % WIDE, h + f * t.P, rows);
#pragma GCC unroll 8
            for (int m = 0; m < TALL; m++)
                if (m < count) {
                    float *w = block.weight + at + m * block.in, *to = block.to_weight + at + m * block.in;
                    descent.put(w, to, low, sums[m][0]);
                    descent.put(w + 16, to + 16, high, sums[m][1]);
                }
        }
}

template <class Number>
int chain_forward(const Block *blocks, int64_t n, int64_t s, const float *x, int64_t samples, const int64_t *index,
                  int64_t rows, char *memory, float *features) {
    for (int64_t b = 0; index && b < rows; b++)
        if (index[b] < 0 || index[b] >= samples) return 1;
    Trace t(blocks, n, rows, memory, true);
    for (int64_t i = 0; i < n; i++) blocks[i].batches[s]++;
    pack<Number>(x, index, rows, blocks[0].in, t.P, t.layers[0].h);
    for (int64_t i = 0; i + 1 < n; i++) block_forward<Number, Number>(blocks[i].run(s), rows, t, t.layers + i);
    block_forward<Number, float>(blocks[n - 1].run(s), rows, t, t.layers + n - 1);
    unpack(t.layers[n].h, rows, blocks[n - 1].out, t.P, features);
    return 0;
}

template <class Number>
void chain_evaluate(const Block *blocks, int64_t n, int64_t s, const float *x, int64_t rows, char *memory,
                    float *features) {
    Trace t(blocks, n, rows, memory, false);
    pack<Number>(x, nullptr, rows, blocks[0].in, t.P, t.layers[0].h);
    for (int64_t i = 0; i + 1 < n; i++) block_evaluate<Number, Number>(blocks[i].run(s), rows, t, t.layers + i);
    block_evaluate<Number, float>(blocks[n - 1].run(s), rows, t, t.layers + n - 1);
    unpack(t.layers[n].h, rows, blocks[n - 1].out, t.P, features);
}

template <class Number>
void chain_backward(const Block *blocks, int64_t n, int64_t s, const float *dy, int64_t rows, char *memory,
                    const Descent &descent) {
    Trace t(blocks, n, rows, memory, true);
    Block block = blocks[n - 1].run(s);
    for (int64_t f = 0; f < block.out; f += WIDE) {
        for (int64_t b = 0; b < rows; b++)
            std::copy_n(dy + b * block.out + f, columns(block.out, f), t.slope + b * WIDE);
        through<float>(block, f, rows, t, t.layers + n - 1, t.da[0] + f * t.P, descent);
    }
    for (int64_t i = n - 1; i >= 0; i--) {
        const Block below = blocks[i ? i - 1 : 0].run(s);
        for (int64_t start = 0; start < block.in; start += GROUP) {
            const int64_t end = std::min(block.in, start + GROUP);
            for (int64_t f = start; i && f < end; f += WIDE) {  // before the weights are stepped
                for (int64_t o = 0; o < block.out; o++)
                    for (int64_t j = 0; j < WIDE; j += 16)
                        store(t.slab + o * WIDE + j,
                              kept<Number>(load(block.weight + o * block.in + f + j, first(block.in - f - j))));
                product(t.da[0], t.P, t.slab, block.out, t.slope);
                through<Number>(below, f, rows, t, t.layers + i - 1, t.da[1] + f * t.P, descent);
            }
            weights_backward(block, start, end, rows, t, t.layers[i].h, descent);
        }
        std::swap(t.da[0], t.da[1]);
        block = below;
    }
}
}  // namespace

extern "C" int vectors_ready() { return 1; }

// Bytes of memory (64-byte aligned) that one run's passes share.
extern "C" int64_t vectors_room(const Block *blocks, int64_t n, int64_t rows) {
    return Trace(blocks, n, rows, nullptr, true).size;
}

// As `tiles_forward` and `tiles_backward` of tiles.cpp; `evaluate` takes the rows of x in order.
#define EXPORT(SUFFIX, Number)                                                                                     \
    extern "C" void vectors_evaluate_##SUFFIX(const Block *blocks, int64_t n, int64_t s, const float *x,           \
                                              int64_t rows, char *memory, float *features) {                       \
        chain_evaluate<Number>(blocks, n, s, x, rows, memory, features);                                           \
    }                                                                                                              \
    extern "C" int vectors_forward_##SUFFIX(const Block *blocks, int64_t n, int64_t s, const float *x,             \
                                            int64_t samples, const int64_t *index, int64_t rows, char *memory,     \
                                            float *features) {                                                     \
        return chain_forward<Number>(blocks, n, s, x, samples, index, rows, memory, features);                     \
    }                                                                                                              \
    extern "C" void vectors_backward_##SUFFIX(const Block *blocks, int64_t n, int64_t s, const float *dy,          \
                                              int64_t rows, char *memory, float rate, float momentum, float decay, \
                                              int32_t on) {                                                        \
        chain_backward<Number>(blocks, n, s, dy, rows, memory, {rate, momentum, decay, on != 0});                  \
    }
EXPORT(fp32, float)
EXPORT(rounded, rounded)
#else
extern "C" int vectors_ready() { return 0; }
#endif
