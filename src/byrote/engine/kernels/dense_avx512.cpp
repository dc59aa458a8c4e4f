// Chains of dense blocks on 512-bit vector units, for processors without tile units: in float32, with operands rounded to
// bfloat16, or with bfloat16 operands multiplied two at a time (AVX-512 BF16). Product, normalisation and rectifier in one
// visit, and the step of descent while its gradient lies in registers.
//
// Activations lie in panels: 32 features of the whole batch, sample after sample. A product makes a panel at a time, 8
// samples x 32 features in registers, so that its right operand stays in the innermost cache: 32 columns of the weights,
// copied on their way (forward transposed), or, for the weights' gradient, the panel itself.
// Operands are words of 32 bits: a float32 value, or two bfloat16 neighbours along the summed axis. Of bfloat16 there are
// therefore two panels, neighbours among features (for products with weights) and among samples (for their gradient).
// The batch is padded to 8 samples and the last panel to 32 columns. What lies there is multiplied and then dropped; it is 0
// because numbers left over in memory may be denormal, which is slow.
#include <algorithm>
#include <type_traits>

#include "dense.hpp"
#include "norm.hpp"
#ifdef __AVX512F__

namespace {
constexpr int64_t WIDE = 32, TALL = 8;       // of a panel; of what registers hold
constexpr int64_t DEEP = 256, GROUP = 128;  // rows of a slab in the innermost cache; columns of weights stepped in order
constexpr int64_t AHEAD = 64;               // values of a row of weights that are fetched before they are read

template <class Number> constexpr bool PAIRED = std::is_same<Number, bf16>::value;
template <class Number> constexpr int64_t PER = PAIRED<Number> ? 2 : 1;  // values in a word
// Of the last block, whose sums, output and gradients are float32 with any operands.
template <class Number> using Last = typename std::conditional<PAIRED<Number>, rounded, Number>::type;
template <class Number> using Gate = typename std::conditional<PAIRED<Number>, bf16, float>::type;
template <class Number> using Strip = typename std::conditional<PAIRED<Number>, float, Number>::type;

inline int64_t panels(int64_t size) { return (size + WIDE - 1) / WIDE; }
inline int64_t columns(int64_t size, int64_t from) { return std::min(WIDE, size - from); }
template <class Number> int64_t words(int64_t values) { return (values + PER<Number> - 1) / PER<Number>; }

// What one run's backward pass needs, and room for what is written and read again at once. In evaluation, where nothing is
// kept, blocks take turns in the same room. Of `h`, the input, and of `da` the second panels are paired among samples;
// where numbers are not paired they are the first.
struct Trace {
    struct Layer { float *h[2], *a, *mean, *inverse; } layers[65];  // behind the last block, the output
    float *da[2][2], *slab, *slope, *strip, *wide, *dgamma, *dbeta;
    int64_t P, size;

    Trace(const Block *blocks, int64_t n, int64_t rows, char *memory, bool kept, int64_t per)
        : P((rows + TALL - 1) / TALL * TALL) {
        char *at = memory;
        auto take = [&](int64_t count) { char *p = at; at += (count * 4 + 63) / 64 * 64; return (float *)p; };
        auto both = [&](float **p, int64_t count) { p[0] = take(count / per), p[1] = per > 1 ? take(count / per) : p[0]; };
        int64_t widest = 0, longest = 0;
        for (int64_t i = 0; i < n; i++) {
            widest = std::max(widest, panels(blocks[i].out) * WIDE);
            longest = std::max({longest, blocks[i].in, blocks[i].out});
        }
        for (float **p : da) p[0] = take(widest * P), p[1] = per > 1 ? take(widest * P / per) : p[0];
        slab = take(longest * WIDE);
        slope = take(WIDE * P);
        strip = take(WIDE * P);
        dgamma = take(WIDE);
        dbeta = take(WIDE);
        wide = per > 1 ? take(panels(blocks[n - 1].in) * WIDE * P) : nullptr;
        both(layers[0].h, panels(blocks[0].in) * WIDE * P);
        for (int64_t i = 0; i < n; i++) {
            const int64_t out = panels(blocks[i].out) * WIDE;
            layers[i].a = kept ? take(out * P) : nullptr;
            layers[i].mean = kept ? take(out) : nullptr;
            layers[i].inverse = kept ? take(out) : nullptr;
            if (i + 1 == n && kept) layers[n].h[0] = layers[n].h[1] = take(out * P);
            else if (kept) both(layers[i + 1].h, out * P);
            else layers[i + 1].h[0] = da[i % 2][0], layers[i + 1].h[1] = nullptr;
        }
        size = at - memory;
    }
};

template <class Number> vec kept(vec x);
template <> inline vec kept<float>(vec x) { return x; }
template <> inline vec kept<rounded>(vec x) { return nearest(x); }
template <> inline vec kept<bf16>(vec x) { return x; }  // rounded where words are made

template <class Number> inline vec plus(vec sum, float a, vec b) { return sum + a * b; }
#ifdef __AVX512BF16__
template <> inline vec plus<bf16>(vec sum, float a, vec b) {
    return (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_ps(a), (__m512bh)b);
}
#endif

// sums[m] += sum over k of a[k ALONG + m ACROSS] b[k], for 8 rows m and 32 columns of b, in words.
template <class Number, int64_t ALONG, int64_t ACROSS>
inline __attribute__((always_inline)) void multiply(vec (&sums)[TALL][2], const float *a, const float *b, int64_t depth) {
    for (int64_t k = 0; k < depth; k++, a += ALONG, b += WIDE) {
        const vec left = load<vec>(b), right = load<vec>(b + 16);
#pragma GCC unroll 8
        for (int m = 0; m < TALL; m++) {
            sums[m][0] = plus<Number>(sums[m][0], a[m * ACROSS], left);
            sums[m][1] = plus<Number>(sums[m][1], a[m * ACROSS], right);
        }
    }
}

// A panel: of every sample the product of its `depth` words in `operand`, panels, with the rows of `slab`.
template <class Number>
inline void product(const float *operand, int64_t P, const float *slab, int64_t depth, float *to) {
    constexpr int64_t ACROSS = WIDE / PER<Number>;
    for (int64_t start = 0; start < depth; start += DEEP)
        for (int64_t b = 0; b < P; b += TALL) {
            vec sums[TALL][2] = {};
            float *rows = to + b * WIDE;
            if (start)
                for (int m = 0; m < TALL; m++)
                    sums[m][0] = load<vec>(rows + m * WIDE), sums[m][1] = load<vec>(rows + m * WIDE + 16);
            for (int64_t k = start; k < std::min(depth, start + DEEP); k += ACROSS)
                multiply<Number, 1, ACROSS>(sums, operand + k * P + b * ACROSS, slab + k * WIDE,
                                            std::min(ACROSS, depth - k));
            for (int m = 0; m < TALL; m++)
                store(rows + m * WIDE, sums[m][0]), store(rows + m * WIDE + 16, sums[m][1]);
        }
}

// Up to 32 rows of weights as columns: slab[k][o] = word k of row o.
template <class Number> void transposed(const float *w, int64_t rows, int64_t in, float *slab) {
    constexpr bool merged = std::is_same<Number, rounded>::value;  // two rows in one block, as halves of its words
    for (int64_t i = 0; i < in; i += 16 * PER<Number>) {
        ivec low[16], high[16];
        for (int64_t o = 0; o < 16; o++) {
            const float *p = w + o * in + i, *q = p + 16 * in;
            const int64_t one = o < rows ? in - i : 0, two = o + 16 < rows ? in - i : 0;
            for (const float *next : {p + AHEAD, q + AHEAD})
                _mm_prefetch(next, _MM_HINT_T0), _mm_prefetch(next + 16, _MM_HINT_T0);
            if (PAIRED<Number>) {
                low[o] = neighbours(load(p, first(one)), load(p + 16, first(one - 16)));
                high[o] = neighbours(load(q, first(two)), load(q + 16, first(two - 16)));
            } else {
                const vec left = load(p, first(one)), right = load(q, first(two));
                low[o] = merged ? side_by_side(left, right) : (ivec)left;
                high[o] = (ivec)right;
            }
        }
        transpose(low);
        if (!merged) transpose(high);
        const int64_t from = i / PER<Number>;
        for (int64_t k = 0; k < 16 && from + k < words<Number>(in); k++) {
            store(slab + (from + k) * WIDE, (vec)(merged ? low[k] << 16 : low[k]));
            store(slab + (from + k) * WIDE + 16, (vec)(merged ? low[k] & 0xffff0000 : high[k]));
        }
    }
}

// 32 columns of weights from f on: slab[k][i] = word k of column f + i.
template <class Number> void copied(const Block &block, int64_t f, float *slab) {
    for (int64_t o = 0; o < block.out; o += PER<Number>)
        for (int64_t j = 0; j < WIDE; j += 16) {
            const float *p = block.weight + o * block.in + f + j;
            const __mmask16 lanes = first(block.in - f - j);
            float *to = slab + o / PER<Number> * WIDE + j;
            const vec row = load(p, lanes);
            if (PAIRED<Number>) {
                const vec next = load(p + block.in, o + 1 < block.out ? lanes : 0);
                store(to, (vec)side_by_side(row, next));
            } else
                store(to, kept<Number>(row));
        }
}

// Where a panel of Number from feature f on is written in float32 to be taken there by `leave`.
template <class Number> float *strip(const Trace &t, float *const *to, int64_t f) {
    return PAIRED<Number> ? t.strip : to[0] + f * t.P;
}

// The padding becomes 0, and of bfloat16 the strip becomes panels.
template <class Number> void leave(float *strip, int64_t f, int64_t rows, const Trace &t, float *const *to) {
    std::fill(strip + rows * WIDE, strip + t.P * WIDE, 0.0f);
    for (int64_t b = 0; PAIRED<Number> && b < t.P; b += 2, strip += 2 * WIDE) {
        const vec low = load<vec>(strip), high = load<vec>(strip + 16);
        const vec below = load<vec>(strip + WIDE), above = load<vec>(strip + WIDE + 16);
        float *p = to[0] + (f * t.P + b * WIDE) / 2;
        store(p, (vec)neighbours(low, high)), store(p + 16, (vec)neighbours(below, above));
        if (!to[1]) continue;
        float *q = to[1] + (f * t.P + b * WIDE) / 2;
        store(q, (vec)side_by_side(low, below)), store(q + 16, (vec)side_by_side(high, above));
    }
}

// A batch (rows, in), or of x the rows that `index` names, as panels.
template <class Number>
void pack(const float *x, const int64_t *index, int64_t rows, int64_t in, const Trace &t, float *const *to) {
    for (int64_t f = 0; f < in; f += WIDE) {
        float *panel = strip<Number>(t, to, f);
        for (int64_t b = 0; b < rows; b++) {
            const float *row = x + (index ? index[b] : b) * in + f;
            for (int64_t j = 0; j < WIDE; j += 16) {
                const vec values = load(row + j, first(in - f - j));
                store(panel + b * WIDE + j, kept<Number>(values));
            }
        }
        leave<Number>(panel, f, rows, t, to);
    }
}

// The input of the last block as float32.
template <class Number> const float *widened(const Block &block, const Trace &t, const Trace::Layer *own) {
    if (!PAIRED<Number>) return own->h[0];
    for (int64_t i = 0; i < panels(block.in) * WIDE * t.P; i += 16) store(t.wide + i, load<vec>((const bf16 *)own->h[0] + i));
    return t.wide;
}

// The features of the last block leave their panels.
inline void unpack(const float *from, int64_t rows, int64_t out, int64_t P, float *features) {
    for (int64_t f = 0; f < out; f += WIDE)
        for (int64_t b = 0; b < rows; b++)
            std::copy_n(from + f * P + b * WIDE, columns(out, f), features + b * out + f);
}

// From h, the operand of a product of Number, to an output of type Out.
template <class Number, class Out>
void block_forward(const Block &block, int64_t rows, Trace &t, const float *h, Trace::Layer *own) {
    for (int64_t f = 0; f < block.out; f += WIDE) {
        const int64_t count = columns(block.out, f);
        float *a = own->a + f * t.P, *out = strip<Out>(t, own[1].h, f);
        if (count < WIDE) std::fill(out, out + WIDE * t.P, 0.0f);
        transposed<Number>(block.weight + f * block.in, count, block.in, t.slab);
        product<Number>(h, t.P, t.slab, words<Number>(block.in), a);
        norm_forward<float, Strip<Out>>(a, nullptr, (Strip<Out> *)out, rows, count, WIDE, block.gamma + f,
                                        block.beta + f, block.bias + f, block.eps, block.momentum,
                                        block.running_mean + f, block.running_var + f, own->mean + f, own->inverse + f, 0);
        leave<Out>(out, f, rows, t, own[1].h);
    }
}

// By the running statistics.
template <class Number, class Out>
void block_evaluate(const Block &block, int64_t rows, Trace &t, const float *h, Trace::Layer *own) {
    for (int64_t f = 0; f < block.out; f += WIDE) {
        const int64_t count = columns(block.out, f);
        float *out = strip<Out>(t, own[1].h, f), scale[WIDE], shift[WIDE];
        for (int64_t j = f; j < f + count; j++) {
            scale[j - f] = block.gamma[j] / std::sqrt(block.running_var[j] + block.eps);
            shift[j - f] = block.beta[j] + scale[j - f] * (block.bias[j] - block.running_mean[j]);
        }
        transposed<Number>(block.weight + f * block.in, count, block.in, t.slab);
        product<Number>(h, t.P, t.slab, words<Number>(block.in), t.slope);
        norm_apply<float, Strip<Out>>(t.slope, nullptr, (Strip<Out> *)out, rows, count, WIDE, scale, shift, 0);
        leave<Out>(out, f, rows, t, own[1].h);
    }
}

// Behind the rectifier and through the normalisation of 32 features, from the gradient of their output in t.slope to that
// of their product in `da`. The output is of type Out, and so is that gradient.
template <class Out>
void through(const Block &block, int64_t f, int64_t rows, Trace &t, const Trace::Layer *own, float *const *da,
             const Descent &descent) {
    const int64_t count = columns(block.out, f);
    float *to = strip<Out>(t, da, f);
    if (count < WIDE) std::fill(to, to + WIDE * t.P, 0.0f);
    const Gate<Out> *gate = (const Gate<Out> *)own[1].h[0] + f * t.P;
    norm_backward<float, Strip<Out>>(own->a + f * t.P, gate, t.slope, (Strip<Out> *)to, nullptr, rows, count, WIDE,
                                     block.gamma + f, own->mean + f, own->inverse + f, t.dgamma, t.dbeta, 0);
    leave<Out>(to, f, rows, t, da);
    for (int64_t j = 0; j < count; j += 16) {
        const __mmask16 lanes = first(count - j);
        descent.put(block.gamma + f + j, block.to_gamma + f + j, lanes, load<vec>(t.dgamma + j));
        descent.put(block.beta + f + j, block.to_beta + f + j, lanes, load<vec>(t.dbeta + j));
        descent.put(block.bias + f + j, block.to_bias + f + j, lanes, vec{});  // the batch mean takes the bias away
    }
}

// The gradient of the columns of the weights from `i` up to `end`, and what is done with it.
template <class Number>
void weights_backward(const Block &block, int64_t i, int64_t end, int64_t rows, const Trace &t, const float *h,
                      const Descent &descent) {
    const float *da = t.da[0][PAIRED<Number>];
    for (int64_t o = 0; o < block.out; o += TALL)
        for (int64_t f = i; f < end; f += WIDE) {
            const int64_t count = std::min(TALL, block.out - o), at = o * block.in + f;
            const __mmask16 low = first(block.in - f), high = first(block.in - f - 16);
            for (int64_t m = 0; m < count; m++)
                for (const float *p : {block.weight, block.to_weight})
                    _mm_prefetch(p + at + m * block.in, _MM_HINT_T0), _mm_prefetch(p + at + m * block.in + 16, _MM_HINT_T0);
            vec sums[TALL][2] = {};
            multiply<Number, WIDE, 1>(sums, da + o / WIDE * WIDE * t.P / PER<Number> + o % WIDE, h + f * t.P / PER<Number>,
                                      words<Number>(rows));
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
    Trace t(blocks, n, rows, memory, true, PER<Number>);
    Trace::Layer *last = t.layers + n - 1;
    for (int64_t i = 0; i < n; i++) blocks[i].batches[s]++;
    pack<Number>(x, index, rows, blocks[0].in, t, t.layers[0].h);
    for (int64_t i = 0; i + 1 < n; i++)
        block_forward<Number, Number>(blocks[i].run(s), rows, t, t.layers[i].h[0], t.layers + i);
    block_forward<Last<Number>, float>(blocks[n - 1].run(s), rows, t, widened<Number>(blocks[n - 1], t, last), last);
    unpack(last[1].h[0], rows, blocks[n - 1].out, t.P, features);
    return 0;
}

template <class Number>
void chain_evaluate(const Block *blocks, int64_t n, int64_t s, const float *x, int64_t rows, char *memory,
                    float *features) {
    Trace t(blocks, n, rows, memory, false, PER<Number>);
    Trace::Layer *last = t.layers + n - 1;
    pack<Number>(x, nullptr, rows, blocks[0].in, t, t.layers[0].h);
    for (int64_t i = 0; i + 1 < n; i++)
        block_evaluate<Number, Number>(blocks[i].run(s), rows, t, t.layers[i].h[0], t.layers + i);
    block_evaluate<Last<Number>, float>(blocks[n - 1].run(s), rows, t, widened<Number>(blocks[n - 1], t, last), last);
    unpack(last[1].h[0], rows, blocks[n - 1].out, t.P, features);
}

// From t.da[0] of block i with operands of Number and input h, to da of the block below, of type Below.
template <class Number, class Below>
void block_backward(const Block *blocks, int64_t i, int64_t s, int64_t rows, Trace &t, const float *h,
                    const Descent &descent) {
    const Block block = blocks[i].run(s), below = blocks[i ? i - 1 : 0].run(s);
    for (int64_t start = 0; start < block.in; start += GROUP) {
        const int64_t end = std::min(block.in, start + GROUP);
        for (int64_t f = start; i && f < end; f += WIDE) {  // before the weights are stepped
            copied<Number>(block, f, t.slab);
            product<Number>(t.da[0][0], t.P, t.slab, words<Number>(block.out), t.slope);
            through<Below>(below, f, rows, t, t.layers + i - 1, t.da[1], descent);
        }
        weights_backward<Number>(block, start, end, rows, t, h, descent);
    }
    std::swap(t.da[0], t.da[1]);
}

template <class Number>
void chain_backward(const Block *blocks, int64_t n, int64_t s, const float *dy, int64_t rows, char *memory,
                    const Descent &descent) {
    Trace t(blocks, n, rows, memory, true, PER<Number>);
    const Block block = blocks[n - 1].run(s);
    for (int64_t f = 0; f < block.out; f += WIDE) {
        for (int64_t b = 0; b < rows; b++)
            std::copy_n(dy + b * block.out + f, columns(block.out, f), t.slope + b * WIDE);
        through<float>(block, f, rows, t, t.layers + n - 1, t.da[0], descent);
    }
    const float *h = widened<Number>(block, t, t.layers + n - 1);
    block_backward<Last<Number>, Number>(blocks, n - 1, s, rows, t, h, descent);
    for (int64_t i = n - 2; i >= 0; i--)
        block_backward<Number, Number>(blocks, i, s, rows, t, t.layers[i].h[PAIRED<Number>], descent);
}
}  // namespace

// As the functions of dense_amx.cpp; `evaluate` takes the rows of x in order.
#define EXPORT(SUFFIX, Number)                                                                                     \
    extern "C" int64_t vectors_room_##SUFFIX(const Block *blocks, int64_t n, int64_t rows) {                       \
        return Trace(blocks, n, rows, nullptr, true, PER<Number>).size;                                            \
    }                                                                                                              \
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
#ifdef __AVX512BF16__
EXPORT(bf16, bf16)
#endif
#endif
