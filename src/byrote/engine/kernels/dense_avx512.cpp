// Chains of dense blocks on 512-bit vector units, for processors without tile units: in float32, with operands rounded
// to bfloat16, or with bfloat16 operands multiplied two at a time (AVX-512 BF16).
//
// 1. `pack_batch` stores the batch in panels: 32 features of all samples, sample after sample.
// 2. Forward, panel by panel: `transpose_weight_rows` reads 32 rows of weights, `panel_product` fills a panel (8 x 32
//    values in registers), `norm.hpp` normalizes and rectifies it while it is in the innermost cache, and `store_panel`
//    writes it in the layout that the next product reads.
// 3. Backward, panel by panel of the block below: `copy_weight_columns` reads 32 columns of weights, `panel_product`
//    multiplies them with da, and `panel_norm_relu_backward` takes the gradient through rectifier and normalization.
// 4. Then `weights_backward`: the gradient of the weights, 8 x 32 values in registers, stored or used for a step.
// 5. Evaluation is step 2 with the running statistics; blocks alternate between two buffers.
//
// Operands are words of 32 bits: a float32 value, or two bfloat16 neighbors along the summed axis. For bfloat16 there
// are therefore two panels: neighbors among features (for products with weights) and neighbors among samples (for the
// gradient of the weights). The batch is padded to a multiple of 8 samples and the last panel to 32 columns. Padding is
// multiplied and then dropped; it is set to 0 because numbers left over in memory may be denormal, which is slow.
#include <algorithm>
#include <type_traits>

#include "dense.hpp"
#include "norm.hpp"
#ifdef __AVX512F__

namespace {
constexpr int64_t WIDE = 32, TALL = 8;  // columns of a panel; samples whose sums fit in registers
constexpr int64_t DEEP = 256;           // rows of a weight panel that fit in the innermost cache
constexpr int64_t GROUP = 128;          // columns of weights that are updated together
constexpr int64_t AHEAD = 64;           // how many values in advance a row of weights is prefetched

template <class Number> constexpr bool PAIRED = std::is_same<Number, bf16>::value;
template <class Number> constexpr int64_t PER = PAIRED<Number> ? 2 : 1;  // values in a word
// Operands of the last block, whose sums, output and gradients are always float32.
template <class Number> using Last = typename std::conditional<PAIRED<Number>, rounded, Number>::type;
template <class Number> using Gate = typename std::conditional<PAIRED<Number>, bf16, float>::type;
// The type of a panel before `store_panel` converts it.
template <class Number> using Written = typename std::conditional<PAIRED<Number>, float, Number>::type;

inline int64_t panels(int64_t size) { return (size + WIDE - 1) / WIDE; }
inline int64_t columns(int64_t size, int64_t from) { return std::min(WIDE, size - from); }
template <class Number> int64_t words(int64_t values) { return (values + PER<Number> - 1) / PER<Number>; }

// Values of one run for its backward pass, and memory for intermediate values that are soon read again. In evaluation,
// which stores nothing for later, blocks alternate between two buffers. The second panels of `h`, the input, and of
// `da` contain pairs of samples; without pairs, they are the first panels.
struct Workspace {
    struct Layer { float *h[2], *a, *mean, *inverse; } layers[65];  // the layer after the last block is the output
    float *da[2][2];      // the gradient of the product: of this block and of the block below, alternating
    float *weight_panel;  // 32 rows or columns of weights as the right operand of a product
    float *panel;         // 32 columns: a product, in evaluation; the gradient of an output, in the backward pass
    float *float_panel;   // a panel in float32 before it is narrowed to bfloat16
    float *wide_input;    // the input of the last block in float32, if operands are bfloat16
    float *dgamma, *dbeta;
    int64_t P, size;

    Workspace(const Block *blocks, int64_t n, int64_t rows, char *memory, bool training, int64_t per)
        : P((rows + TALL - 1) / TALL * TALL) {
        char *at = memory;
        auto take = [&](int64_t count) { char *p = at; at += (count * 4 + 63) / 64 * 64; return (float *)p; };
        auto both = [&](float **p, int64_t count) {
            p[0] = take(count / per), p[1] = per > 1 ? take(count / per) : p[0];
        };
        int64_t widest = 0, longest = 0;
        for (int64_t i = 0; i < n; i++) {
            widest = std::max(widest, panels(blocks[i].out) * WIDE);
            longest = std::max({longest, blocks[i].in, blocks[i].out});
        }
        for (float **p : da) p[0] = take(widest * P), p[1] = per > 1 ? take(widest * P / per) : p[0];
        weight_panel = take(longest * WIDE);
        panel = take(WIDE * P), float_panel = take(WIDE * P);
        dgamma = take(WIDE), dbeta = take(WIDE);
        wide_input = per > 1 ? take(panels(blocks[n - 1].in) * WIDE * P) : nullptr;
        both(layers[0].h, panels(blocks[0].in) * WIDE * P);
        for (int64_t i = 0; i < n; i++) {
            const int64_t out = panels(blocks[i].out) * WIDE;
            layers[i].a = training ? take(out * P) : nullptr;
            layers[i].mean = training ? take(out) : nullptr;
            layers[i].inverse = training ? take(out) : nullptr;
            if (i + 1 == n && training) layers[n].h[0] = layers[n].h[1] = take(out * P);
            else if (training) both(layers[i + 1].h, out * P);
            else layers[i + 1].h[0] = da[i % 2][0], layers[i + 1].h[1] = nullptr;
        }
        size = at - memory;
    }
};

// Convert x to the value that an operand of type Number stores.
template <class Number> vec round_operand(vec x);
template <> inline vec round_operand<float>(vec x) { return x; }
template <> inline vec round_operand<rounded>(vec x) { return nearest(x); }
template <> inline vec round_operand<bf16>(vec x) { return x; }  // rounded by `pair_lanes` and `pair_neighbors`

template <class Number> inline vec multiply_add(vec sum, float a, vec b) { return sum + a * b; }
#ifdef __AVX512BF16__
template <> inline vec multiply_add<bf16>(vec sum, float a, vec b) {
    return (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_ps(a), (__m512bh)b);
}
#endif

// sums[m] += sum over k of a[k ALONG + m ACROSS] b[k], for 8 rows m and 32 columns of b, in words.
template <class Number, int64_t ALONG, int64_t ACROSS>
inline __attribute__((always_inline)) void multiply_panel(vec (&sums)[TALL][2], const float *a, const float *b,
                                                          int64_t depth) {
    for (int64_t k = 0; k < depth; k++, a += ALONG, b += WIDE) {
        const vec left = load<vec>(b), right = load<vec>(b + 16);
#pragma GCC unroll 8
        for (int m = 0; m < TALL; m++) {
            sums[m][0] = multiply_add<Number>(sums[m][0], a[m * ACROSS], left);
            sums[m][1] = multiply_add<Number>(sums[m][1], a[m * ACROSS], right);
        }
    }
}

// A panel of the product: for every sample, its `depth` words in the panels of `operand` times the rows of
// `weight_panel`. Meanwhile the memory that is read next is prefetched into the second-level cache.
template <class Number>
inline void panel_product(const float *operand, int64_t P, const float *weight_panel, int64_t depth, float *to,
                          Prefetch next) {
    constexpr int64_t ACROSS = WIDE / PER<Number>;
    for (int64_t start = 0; start < depth; start += DEEP)
        for (int64_t b = 0; b < P; b += TALL) {
            vec sums[TALL][2] = {};
            float *rows = to + b * WIDE;
            if (start)
                for (int m = 0; m < TALL; m++)
                    sums[m][0] = load<vec>(rows + m * WIDE), sums[m][1] = load<vec>(rows + m * WIDE + 16);
            for (int64_t k = start; k < std::min(depth, start + DEEP); k += ACROSS) {
                next.step();
                multiply_panel<Number, 1, ACROSS>(sums, operand + k * P + b * ACROSS, weight_panel + k * WIDE,
                                            std::min(ACROSS, depth - k));
            }
            for (int m = 0; m < TALL; m++)
                store(rows + m * WIDE, sums[m][0]), store(rows + m * WIDE + 16, sums[m][1]);
        }
}

// How many prefetch steps `panel_product` takes for `depth` values.
inline int64_t steps(int64_t P, int64_t depth) { return P / TALL * panels(depth); }

// Store up to 32 rows of weights as columns: weight_panel[k][o] = word k of row o.
template <class Number> void transpose_weight_rows(const float *w, int64_t rows, int64_t in, float *weight_panel) {
    constexpr bool merged = std::is_same<Number, rounded>::value;  // two rows in one block, as the halves of its words
    for (int64_t i = 0; i < in; i += 16 * PER<Number>) {
        ivec low[16], high[16];
        for (int64_t o = 0; o < 16; o++) {
            const float *p = w + o * in + i, *q = p + 16 * in;
            const int64_t one = o < rows ? in - i : 0, two = o + 16 < rows ? in - i : 0;
            for (const float *next : {p + AHEAD, q + AHEAD})
                _mm_prefetch(next, _MM_HINT_T0), _mm_prefetch(next + 16, _MM_HINT_T0);
            if (PAIRED<Number>) {
                low[o] = pair_neighbors(load(p, first_lanes(one)), load(p + 16, first_lanes(one - 16)));
                high[o] = pair_neighbors(load(q, first_lanes(two)), load(q + 16, first_lanes(two - 16)));
            } else {
                const vec left = load(p, first_lanes(one)), right = load(q, first_lanes(two));
                low[o] = merged ? pair_lanes(left, right) : (ivec)left;
                high[o] = (ivec)right;
            }
        }
        transpose(low);
        if (!merged) transpose(high);
        const int64_t from = i / PER<Number>;
        for (int64_t k = 0; k < 16 && from + k < words<Number>(in); k++) {
            store(weight_panel + (from + k) * WIDE, (vec)(merged ? low[k] << 16 : low[k]));
            store(weight_panel + (from + k) * WIDE + 16, (vec)(merged ? low[k] & 0xffff0000 : high[k]));
        }
    }
}

// Store 32 columns of weights from f on: weight_panel[k][i] = word k of column f + i.
template <class Number> void copy_weight_columns(const Block &block, int64_t f, float *weight_panel) {
    for (int64_t o = 0; o < block.out; o += PER<Number>)
        for (int64_t j = 0; j < WIDE; j += 16) {
            const float *p = block.weight + o * block.in + f + j;
            const __mmask16 lanes = first_lanes(block.in - f - j);
            float *to = weight_panel + o / PER<Number> * WIDE + j;
            const vec row = load(p, lanes);
            if (PAIRED<Number>) store(to, (vec)pair_lanes(row, load(p + block.in, o + 1 < block.out ? lanes : 0)));
            else store(to, round_operand<Number>(row));
        }
}

// The memory for a panel from feature f on, before `store_panel` converts it to Number.
template <class Number> float *panel_target(const Workspace &space, float *const *to, int64_t f) {
    return PAIRED<Number> ? space.float_panel : to[0] + f * space.P;
}

// Set the padding to 0, and make both bfloat16 panels (pairs of features, pairs of samples) from a float32 panel.
template <class Number>
void store_panel(float *panel, int64_t f, int64_t rows, const Workspace &space, float *const *to) {
    std::fill(panel + rows * WIDE, panel + space.P * WIDE, 0.0f);
    for (int64_t b = 0; PAIRED<Number> && b < space.P; b += 2, panel += 2 * WIDE) {
        const vec low = load<vec>(panel), high = load<vec>(panel + 16);
        const vec below = load<vec>(panel + WIDE), above = load<vec>(panel + WIDE + 16);
        float *p = to[0] + (f * space.P + b * WIDE) / 2;
        store(p, (vec)pair_neighbors(low, high)), store(p + 16, (vec)pair_neighbors(below, above));
        if (!to[1]) continue;
        float *q = to[1] + (f * space.P + b * WIDE) / 2;
        store(q, (vec)pair_lanes(low, below)), store(q + 16, (vec)pair_lanes(high, above));
    }
}

// Store a batch (rows, in), or the rows of x that `index` names, as panels.
template <class Number>
void pack_batch(const float *x, const int64_t *index, int64_t rows, int64_t in, const Workspace &space,
                float *const *to) {
    for (int64_t f = 0; f < in; f += WIDE) {
        float *panel = panel_target<Number>(space, to, f);
        for (int64_t b = 0; b < rows; b++) {
            const float *row = x + (index ? index[b] : b) * in + f;
            for (int64_t j = 0; j < WIDE; j += 16) {
                const vec values = load(row + j, first_lanes(in - f - j));
                store(panel + b * WIDE + j, round_operand<Number>(values));
            }
        }
        store_panel<Number>(panel, f, rows, space, to);
    }
}

// The input of the last block as float32.
template <class Number>
const float *widen_input(const Block &block, const Workspace &space, const Workspace::Layer *own) {
    if (!PAIRED<Number>) return own->h[0];
    for (int64_t i = 0; i < panels(block.in) * WIDE * space.P; i += 16)
        store(space.wide_input + i, load<vec>((const bf16 *)own->h[0] + i));
    return space.wide_input;
}

// Copy the features of the last block from their panels.
inline void unpack_features(const float *from, int64_t rows, int64_t out, int64_t P, float *features) {
    for (int64_t f = 0; f < out; f += WIDE)
        for (int64_t b = 0; b < rows; b++)
            std::copy_n(from + f * P + b * WIDE, columns(out, f), features + b * out + f);
}

// Compute a block's output, of type Out, from its input h, with operands of type Number.
template <class Number, class Out>
void block_forward(const Block &block, int64_t rows, Workspace &space, const float *h, Workspace::Layer *own) {
    for (int64_t f = 0; f < block.out; f += WIDE) {
        const int64_t count = columns(block.out, f);
        float *a = own->a + f * space.P, *out = panel_target<Out>(space, own[1].h, f);
        if (count < WIDE) std::fill(out, out + WIDE * space.P, 0.0f);
        transpose_weight_rows<Number>(block.weight + f * block.in, count, block.in, space.weight_panel);
        Prefetch next(block.weight + (f + WIDE) * block.in, columns(block.out, f + WIDE) * block.in,
                   steps(space.P, block.in));
        panel_product<Number>(h, space.P, space.weight_panel, words<Number>(block.in), a, next);
        NormArguments<float, Written<Out>> n = {};
        n.x = a, n.out = (Written<Out> *)out, n.rows = rows, n.columns = count, n.stride = WIDE;
        n.gamma = block.gamma + f, n.beta = block.beta + f, n.offset = block.bias + f;
        n.running_mean = block.running_mean + f, n.running_var = block.running_var + f;
        n.mean = own->mean + f, n.inverse = own->inverse + f, n.eps = block.eps, n.momentum = block.momentum;
        norm_relu_forward(n);
        store_panel<Out>(out, f, rows, space, own[1].h);
    }
}

// Compute a block's output with the running statistics, for evaluation.
template <class Number, class Out>
void block_evaluate(const Block &block, int64_t rows, Workspace &space, const float *h, Workspace::Layer *own) {
    for (int64_t f = 0; f < block.out; f += WIDE) {
        const int64_t count = columns(block.out, f);
        float *out = panel_target<Out>(space, own[1].h, f), scale[WIDE], shift[WIDE];
        for (int64_t j = f; j < f + count; j++) {
            scale[j - f] = block.gamma[j] / std::sqrt(block.running_var[j] + block.eps);
            shift[j - f] = block.beta[j] + scale[j - f] * (block.bias[j] - block.running_mean[j]);
        }
        transpose_weight_rows<Number>(block.weight + f * block.in, count, block.in, space.weight_panel);
        panel_product<Number>(h, space.P, space.weight_panel, words<Number>(block.in), space.panel, Prefetch());
        NormArguments<float, Written<Out>> n = {};
        n.x = space.panel, n.out = (Written<Out> *)out, n.rows = rows, n.columns = count, n.stride = WIDE;
        n.scale = scale, n.shift = shift;
        norm_relu_apply(n);
        store_panel<Out>(out, f, rows, space, own[1].h);
    }
}

// The gradient of the product of 32 features, in `da`, from the gradient of their output, in `space.panel`, through
// rectifier and normalization. The output and the gradient in `da` have type Out.
template <class Out>
void panel_norm_relu_backward(const Block &block, int64_t f, int64_t rows, Workspace &space,
                              const Workspace::Layer *own, float *const *da, const Descent &descent) {
    const int64_t count = columns(block.out, f);
    float *to = panel_target<Out>(space, da, f);
    if (count < WIDE) std::fill(to, to + WIDE * space.P, 0.0f);
    NormArguments<float, Written<Out>, Gate<Out>> n = {};
    n.x = own->a + f * space.P, n.gate = (const Gate<Out> *)own[1].h[0] + f * space.P, n.dy = space.panel;
    n.dx = (Written<Out> *)to, n.rows = rows, n.columns = count, n.stride = WIDE;
    n.gamma = block.gamma + f, n.mean = own->mean + f, n.inverse = own->inverse + f;
    n.dgamma = space.dgamma, n.dbeta = space.dbeta;
    norm_relu_backward(n);
    store_panel<Out>(to, f, rows, space, da);
    for (int64_t j = 0; j < count; j += 16) {
        const __mmask16 lanes = first_lanes(count - j);
        descent.update(block.gamma + f + j, block.to_gamma + f + j, lanes, load<vec>(space.dgamma + j));
        descent.update(block.beta + f + j, block.to_beta + f + j, lanes, load<vec>(space.dbeta + j));
        descent.update(block.bias + f + j, block.to_bias + f + j, lanes, vec{});  // the batch mean cancels the bias
    }
}

// The gradient of the columns of the weights from `i` up to `end`, which is stored or used for a step.
template <class Number>
void weights_backward(const Block &block, int64_t i, int64_t end, int64_t rows, const Workspace &space, const float *h,
                      const Descent &descent) {
    const float *da = space.da[0][PAIRED<Number>];
    for (int64_t o = 0; o < block.out; o += TALL)
        for (int64_t f = i; f < end; f += WIDE) {
            const int64_t count = std::min(TALL, block.out - o), at = o * block.in + f;
            const __mmask16 low = first_lanes(block.in - f), high = first_lanes(block.in - f - 16);
            for (int64_t m = 0; m < count; m++)
                for (const float *p : {block.weight + at + m * block.in, block.to_weight + at + m * block.in})
                    _mm_prefetch(p, _MM_HINT_T0), _mm_prefetch(p + 16, _MM_HINT_T0);
            vec sums[TALL][2] = {};
            multiply_panel<Number, WIDE, 1>(sums, da + o / WIDE * WIDE * space.P / PER<Number> + o % WIDE,
                                            h + f * space.P / PER<Number>, words<Number>(rows));
#pragma GCC unroll 8
            for (int m = 0; m < TALL; m++)
                if (m < count) {
                    float *w = block.weight + at + m * block.in, *to = block.to_weight + at + m * block.in;
                    descent.update(w, to, low, sums[m][0]);
                    descent.update(w + 16, to + 16, high, sums[m][1]);
                }
        }
}

template <class Number> int chain_forward(const ChainPass &p) {
    if (!p.index_fits()) return 1;
    const int64_t n = p.depth, s = p.run, rows = p.rows;
    Workspace space(p.blocks, n, rows, p.workspace, true, PER<Number>);
    const Block last = p.blocks[n - 1].run(s);
    Workspace::Layer *own = space.layers + n - 1;
    for (int64_t i = 0; i < n; i++) p.blocks[i].batches[s]++;
    pack_batch<Number>(p.x, p.index, rows, p.blocks[0].in, space, space.layers[0].h);
    for (int64_t i = 0; i + 1 < n; i++)
        block_forward<Number, Number>(p.blocks[i].run(s), rows, space, space.layers[i].h[0], space.layers + i);
    block_forward<Last<Number>, float>(last, rows, space, widen_input<Number>(last, space, own), own);
    unpack_features(own[1].h[0], rows, last.out, space.P, p.features);
    return 0;
}

template <class Number> void chain_evaluate(const ChainPass &p) {
    const int64_t n = p.depth, s = p.run, rows = p.rows;
    Workspace space(p.blocks, n, rows, p.workspace, false, PER<Number>);
    const Block last = p.blocks[n - 1].run(s);
    Workspace::Layer *own = space.layers + n - 1;
    pack_batch<Number>(p.x, nullptr, rows, p.blocks[0].in, space, space.layers[0].h);
    for (int64_t i = 0; i + 1 < n; i++)
        block_evaluate<Number, Number>(p.blocks[i].run(s), rows, space, space.layers[i].h[0], space.layers + i);
    block_evaluate<Last<Number>, float>(last, rows, space, widen_input<Number>(last, space, own), own);
    unpack_features(own[1].h[0], rows, last.out, space.P, p.features);
}

// Compute da of the block below, of type Below, from da of block i (space.da[0]), with operands of type Number.
template <class Number, class Below>
void block_backward(const Block *blocks, int64_t i, int64_t s, int64_t rows, Workspace &space, const float *h,
                    const Descent &descent) {
    const Block block = blocks[i].run(s), below = blocks[i ? i - 1 : 0].run(s);
    for (int64_t start = 0; start < block.in; start += GROUP) {
        const int64_t end = std::min(block.in, start + GROUP);
        for (int64_t f = start; i && f < end; f += WIDE) {  // done before the step changes the weights
            copy_weight_columns<Number>(block, f, space.weight_panel);
            const int64_t count = columns(end, f + WIDE);  // 0 after the last panel of this group
            Prefetch next(block.weight + f + WIDE, count, steps(space.P, block.out), block.out, block.in);
            panel_product<Number>(space.da[0][0], space.P, space.weight_panel, words<Number>(block.out), space.panel,
                                  next);
            panel_norm_relu_backward<Below>(below, f, rows, space, space.layers + i - 1, space.da[1], descent);
        }
        weights_backward<Number>(block, start, end, rows, space, h, descent);
    }
    std::swap(space.da[0], space.da[1]);
}

template <class Number> void chain_backward(const ChainPass &p) {
    const int64_t n = p.depth, s = p.run, rows = p.rows;
    const Descent descent = p.descent();
    Workspace space(p.blocks, n, rows, p.workspace, true, PER<Number>);
    const Block last = p.blocks[n - 1].run(s);
    for (int64_t f = 0; f < last.out; f += WIDE) {
        for (int64_t b = 0; b < rows; b++)
            std::copy_n(p.dy + b * last.out + f, columns(last.out, f), space.panel + b * WIDE);
        panel_norm_relu_backward<float>(last, f, rows, space, space.layers + n - 1, space.da[0], descent);
    }
    const float *h = widen_input<Number>(last, space, space.layers + n - 1);
    block_backward<Last<Number>, Number>(p.blocks, n - 1, s, rows, space, h, descent);
    for (int64_t i = n - 2; i >= 0; i--)
        block_backward<Number, Number>(p.blocks, i, s, rows, space, space.layers[i].h[PAIRED<Number>], descent);
}
}  // namespace

// See `ChainPass`; `evaluate` reads the rows of x in order.
#define EXPORT(SUFFIX, Number)                                                                             \
    extern "C" int64_t dense_avx512_bytes_##SUFFIX(const ChainPass *p) {                                   \
        return Workspace(p->blocks, p->depth, p->rows, nullptr, true, PER<Number>).size;                   \
    }                                                                                                      \
    extern "C" int dense_avx512_forward_##SUFFIX(const ChainPass *p) { return chain_forward<Number>(*p); } \
    extern "C" void dense_avx512_backward_##SUFFIX(const ChainPass *p) { chain_backward<Number>(*p); }     \
    extern "C" void dense_avx512_evaluate_##SUFFIX(const ChainPass *p) { chain_evaluate<Number>(*p); }
EXPORT(fp32, float)
EXPORT(rounded, rounded)
#ifdef __AVX512BF16__
EXPORT(bf16, bf16)
#endif
#endif
