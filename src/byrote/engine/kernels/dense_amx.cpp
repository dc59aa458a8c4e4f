// Chains of dense blocks on the tile units of processors that have AMX, with bfloat16 operands.
//
// 1. `pack_batch` stores the batch in the layout that the tiles read.
// 2. Forward, 32 features at a time: `narrow_weight_rows` rounds 32 rows of weights to bfloat16, `strip_product`
//    multiplies them with the whole batch in float32, and `hidden_forward` normalizes and rectifies the product while
//    it is in the innermost cache. The last block stays in float32 after its product (`last_forward`).
// 3. Backward, 32 features at a time: `strip_product` multiplies the weights and da of the block above, the product is
//    transposed, and `feature_norm_relu_backward` takes the gradient through rectifier and normalization.
// 4. Then `weights_backward`: 32 rows of the gradient of the weights, stored or used for a step at once. The same loop
//    rounds the old weights to bfloat16 for step 3 of the block below.
// 5. Evaluation has no kernel here: it uses torch's products and the passes of `norm.hpp`.
//
// Activations are feature-major: 32 features of a whole batch are one strip. An operand of a product is stored in
// strips of 32 rows (left) or columns (right). A strip consists of steps of 32 along the summed axis; a step is two
// tiles of 16 x 64 bytes. A left tile has 16 rows of 32 values, a right tile has 16 rows of 16 pairs of neighbors along
// the summed axis. Hidden widths are multiples of 32; inputs and batch are padded with zeros, which change no sum.
#include <algorithm>
#include <utility>

#include "dense.hpp"
#ifdef __AMX_BF16__
#include <sys/syscall.h>
#include <unistd.h>

extern "C" int dense_amx_ready() { return syscall(SYS_arch_prctl, 0x1023, 18) == 0; }  // the request for tile registers

struct Shape { uint8_t palette, start, reserved[14]; uint16_t bytes[16]; uint8_t rows[16]; };
alignas(64) static const Shape SHAPE = {1, 0, {0}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};
struct Tiles {
    Tiles() { __asm__ volatile("" ::: "memory"); _tile_loadconfig(&SHAPE); }
    ~Tiles() { _tile_release(); }
};

static inline vec load_bf16(const uint16_t *p) { return load<vec>((const bf16 *)p); }
static inline float sum_lanes(vec x) { return _mm512_reduce_add_ps((__m512)x); }

static inline int64_t padded(int64_t size) { return (size + 31) / 32 * 32; }

namespace {
// Values of one run for its backward pass, and memory for intermediate values that are soon read again.
struct Workspace {
    struct Layer { uint16_t *h, *xhat, *gates; float *inverse; } layers[64];  // h: the input, to be summed over samples
    uint16_t *pairs[2];  // to be summed over features: outputs on the right (forward), da on the left (backward)
    uint16_t *da;        // the gradient of a block's product, to be summed over samples
    uint16_t *weight_strip;       // 32 rows of weights as a left operand
    uint16_t *weights_for_below;  // all weights of a block as a right operand, for the product that da enters
    uint16_t *output_strip;       // 32 features of a block's output
    float *product_strip, *product_square;  // 32 features of a product; 32 x 32 values of a product
    float *weight_gradient;                 // 32 rows of the gradient of the weights
    float *last_xhat, *last_da, *last_dx;   // last block: normalized product, gradients of product and input
    int64_t P, size;

    Workspace(const Block *blocks, int64_t n, int64_t rows, char *memory) : P(padded(rows)) {
        char *at = memory;
        auto take = [&](int64_t bytes) { char *p = at; at += (bytes + 63) / 64 * 64; return p; };
        int64_t widest = 0, largest = 0;
        for (int64_t i = 0; i < n; i++) {
            const int64_t in = padded(blocks[i].in), out = padded(blocks[i].out);
            layers[i].h = (uint16_t *)take(in * P * 2);
            layers[i].xhat = (uint16_t *)take(i + 1 < n ? out * P * 2 : 0);
            layers[i].gates = (uint16_t *)take(out * P / 8);
            layers[i].inverse = (float *)take(out * 4);
            widest = std::max({widest, in, out});
            if (i) largest = std::max(largest, in * out);
        }
        for (uint16_t *&p : pairs) p = (uint16_t *)take(widest * P * 2);
        da = (uint16_t *)take(widest * P * 2);
        weight_strip = (uint16_t *)take(widest * 32 * 2);
        weights_for_below = (uint16_t *)take(largest * 2);
        output_strip = (uint16_t *)take(32 * P * 2);
        product_strip = (float *)take(32 * P * 4);
        product_square = (float *)take(32 * 32 * 4);
        weight_gradient = (float *)take(widest * 32 * 4);
        last_xhat = (float *)take(blocks[n - 1].out * P * 4);
        last_da = (float *)take(blocks[n - 1].out * P * 4);
        last_dx = (float *)take(padded(blocks[n - 1].in) * P * 4);
        size = at - memory;
    }
};
}  // namespace

constexpr int64_t TILE = 512;
// The tile of row (left) or column (right) m at step k of a summed axis of length `depth`.
static inline uint16_t *tile(uint16_t *operand, uint64_t m, uint64_t k, uint64_t depth) {
    return operand + ((m / 32 * (depth / 32) + k / 32) * 2 + m / 16 % 2) * TILE;
}

// 32 x 32 values of C = A B, from one strip of each operand.
static inline void strip_product(const uint16_t *A, const uint16_t *B, int64_t depth, float *C, int64_t ldc,
                                 Prefetch *one = nullptr, Prefetch *two = nullptr) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t k = 0; k < depth; k += 32, A += 2 * TILE, B += 2 * TILE) {
        _tile_loadd(4, A, 64);
        _tile_loadd(6, B, 64);
        _tile_loadd(7, B + TILE, 64);
        _tile_loadd(5, A + TILE, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
        if (one) one->step();
        if (two) two->step();
    }
    _tile_stored(0, C, ldc * 4);
    _tile_stored(1, C + 16, ldc * 4);
    _tile_stored(2, C + 16 * ldc, ldc * 4);
    _tile_stored(3, C + 16 * ldc + 16, ldc * 4);
}
static inline void fence() { __asm__ volatile("" ::: "memory"); }  // so that tiles are read only after they are written

// Store up to 32 rows of float32 weights as a strip of a left operand.
static void narrow_weight_rows(const float *w, int64_t rows, int64_t in, uint16_t *to) {
    for (int64_t o = 0; o < 32; o++) {
        const float *row = w + o * in;
        uint16_t *line = tile(to, o, 0, padded(in)) + o % 16 * 32;
        const int64_t count = o < rows ? in : 0;
        for (int64_t i = 0; i < padded(in); i += 32, line += 2 * TILE) {
            *(half *)line = upper(load(row + i, first_lanes(count - i)));
            *(half *)(line + 16) = upper(load(row + i + 16, first_lanes(count - i - 16)));
        }
    }
}

// Store a batch (rows, in) as two right operands: one to be summed over features (pairs), one over samples (h).
static void pack_batch(const float *x, const int64_t *index, int64_t rows, int64_t in, int64_t P, uint16_t *pairs,
                       uint16_t *h) {
    for (int64_t b = 0; b < P; b += 16)
        for (int64_t i = 0; i < padded(in); i += 32) {
            ivec r[16];
            for (int j = 0; j < 16; j++) {
                const float *row = x + (index && b + j < rows ? index[b + j] : b + j) * in + i;
                const __mmask16 low = b + j < rows ? first_lanes(in - i) : 0;
                const __mmask16 high = b + j < rows ? first_lanes(in - i - 16) : 0;
                r[j] = (ivec)_mm512_cvtne2ps_pbh((__m512)load(row + 16, high), (__m512)load(row, low));
            }
            for (int j = 0; j < 16; j += 2)
                for (int part = 0; part < 2; part++) {
                    const half *one = (const half *)&r[j] + part, *two = (const half *)&r[j + 1] + part;
                    *(ivec *)(tile(h, i + 16 * part, b, P) + (b + j) % 32 * 16) = pair_lanes(*one, *two);
                }
            transpose(r);
            for (int w = 0; w < 16; w++) *(ivec *)(tile(pairs, b, i, padded(in)) + w * 32) = r[w];
        }
}

// Mean and 1/std of feature j over the batch, from its products c; also updates the running statistics.
static inline void batch_statistics(const Block &block, int64_t j, const float *c, int64_t rows, int64_t P, float *mean,
                                    float *inverse) {
    vec sum = {0}, square = {0};
    for (int64_t b = 0; b < P; b += 16) sum += *(const vec *)(c + b);  // padding is 0
    *mean = sum_lanes(sum) / rows;
    for (int64_t b = 0; b < P; b += 16) {
        const vec d = (vec)_mm512_maskz_mov_ps(first_lanes(rows - b), (__m512)(*(const vec *)(c + b) - *mean));
        square += d * d;
    }
    const float squares = sum_lanes(square);
    *inverse = 1 / std::sqrt(squares / rows + block.eps);
    block.running_mean[j] += block.momentum * (*mean + block.bias[j] - block.running_mean[j]);
    block.running_var[j] += block.momentum * (squares / (rows - 1) - block.running_var[j]);
}

static void hidden_forward(const Block &block, int64_t rows, Workspace &space, Workspace::Layer &own,
                           uint16_t *next_h) {
    const int64_t P = space.P, in = padded(block.in);
    const vec zero = {0};
    for (int64_t f = 0; f < block.out; f += 32) {
        narrow_weight_rows(block.weight + f * block.in, 32, block.in, space.weight_strip);
        fence();
        const int64_t ahead = f + 32 < block.out ? 32 * block.in : 0;
        Prefetch weights(block.weight + (f + 32) * block.in, ahead, in * P / 1024 + 2 * P);
        for (int64_t b = 0; b < P; b += 32)
            strip_product(space.weight_strip, tile(space.pairs[0], b, 0, in), in, space.product_strip + b, P, &weights);
        for (int64_t j = f; j < f + 32; j++) {
            float mean, inv, *c = space.product_strip + (j - f) * P;
            uint16_t *y = space.output_strip + (j - f) * P;
            batch_statistics(block, j, c, rows, P, &mean, &inv);
            own.inverse[j] = inv;
            for (int64_t b = 0; b < P; b += 16) {
                const vec x = (*(vec *)(c + b) - mean) * inv, z = x * block.gamma[j] + block.beta[j];
                weights.step();
                own.gates[(j * P + b) / 16] = _mm512_cmp_ps_mask((__m512)z, (__m512)zero, _CMP_GT_OQ);
                *(half *)(own.xhat + j * P + b) = upper(x);
                *(half *)(y + b) = upper(z < zero ? zero : z);
            }
            std::memset(y + rows, 0, (P - rows) * 2);
        }
        for (int64_t b = 0; b < P; b += 16)
            for (int r = 0; r < 32; r += 2) {
                const uint16_t *y = space.output_strip + r * P + b;
                *(ivec *)(tile(space.pairs[1], b, f, block.out) + r * 16) =
                    pair_lanes(*(const half *)y, *(const half *)(y + P));
            }
        for (int64_t b = 0; b < P; b += 32)
            for (int part = 0; part < 32; part += 16) {
                ivec r[16];
                for (int j = 0; j < 16; j++) r[j] = *(const ivec *)(space.output_strip + (part + j) * P + b);
                transpose(r);
                for (int w = 0; w < 16; w++) *(ivec *)(tile(next_h, f + part, b, P) + w * 32) = r[w];
            }
    }
    std::swap(space.pairs[0], space.pairs[1]);
}

// The last block: bfloat16 operands, and float32 for everything after the product. features: (rows, out).
static void last_forward(const Block &block, int64_t rows, Workspace &space, Workspace::Layer &own, float *features) {
    const int64_t P = space.P;
    for (int64_t f = 0; f < block.out; f += 32) {
        const int64_t count = std::min<int64_t>(32, block.out - f);
        narrow_weight_rows(block.weight + f * block.in, count, block.in, space.weight_strip);
        fence();
        for (int64_t b = 0; b < P; b += 32)
            strip_product(space.weight_strip, tile(space.pairs[0], b, 0, block.in), block.in,
                          space.product_strip + b, P);
        for (int64_t j = f; j < f + count; j++) {
            float mean, *c = space.product_strip + (j - f) * P;
            batch_statistics(block, j, c, rows, P, &mean, own.inverse + j);
            for (int64_t b = 0; b < P; b += 16) {
                const vec x = (*(vec *)(c + b) - mean) * own.inverse[j], z = x * block.gamma[j] + block.beta[j];
                own.gates[(j * P + b) / 16] = _mm512_cmp_ps_mask((__m512)z, _mm512_setzero_ps(), _CMP_GT_OQ);
                *(vec *)(space.last_xhat + j * P + b) = x;
                for (int64_t k = b; k < b + 16 && k < rows; k++)
                    features[k * block.out + j] = z[k - b] < 0 ? 0 : z[k - b];
            }
        }
    }
}

// The gradient of feature j before its normalization, from c, the gradient of its output (0 in the padding). `hat(b)`
// returns the normalized product, `put(b, g)` stores the gradient of the product. Also updates scale, shift and bias.
template <class Hat, class Put>
static inline void feature_norm_relu_backward(const Block &block, int64_t j, const uint16_t *gates, float inverse,
                                              const float *c, int64_t rows, int64_t P, const Descent &descent, Hat hat,
                                              Put put) {
    vec sum = {0}, dot = {0};
    for (int64_t b = 0; b < P; b += 16) {
        const vec g = load(c + b, gates[b / 16]);
        sum += g;
        dot += g * hat(b);
    }
    const float dbeta = sum_lanes(sum), dgamma = sum_lanes(dot), scale = block.gamma[j] * inverse;
    const float level = dbeta / rows, slope = dgamma / rows;
    for (int64_t b = 0; b < P; b += 16) {
        const vec g = load(c + b, gates[b / 16]);
        put(b, (vec)_mm512_maskz_mov_ps(first_lanes(rows - b), (__m512)(scale * (g - level - hat(b) * slope))));
    }
    descent.update(block.beta + j, block.to_beta + j, dbeta);
    descent.update(block.gamma + j, block.to_gamma + j, dgamma);
    descent.update(block.bias + j, block.to_bias + j, 0);  // the batch mean cancels the bias
}

// Compute the gradient of the input, `last_dx` (in, P), from dy (rows, out) in float32, with weights rounded to
// bfloat16.
static void last_backward(const Block &block, int64_t rows, Workspace &space, const Workspace::Layer &own,
                          const float *dy, const Descent &descent) {
    const int64_t P = space.P, in = block.in;
    std::memset(space.last_dx, 0, in * P * 4);
    for (int64_t j = 0; j < block.out; j++) {
        float *c = space.product_strip, *da = space.last_da + j * P;
        for (int64_t b = 0; b < P; b++) c[b] = b < rows ? dy[b * block.out + j] : 0;
        feature_norm_relu_backward(
            block, j, own.gates + j * P / 16, own.inverse[j], c, rows, P, descent,
            [&](int64_t b) { return *(const vec *)(space.last_xhat + j * P + b); },
            [&](int64_t b, vec g) { *(vec *)(da + b) = g; });
        for (int64_t i = 0; i < in; i++) {
            const float w = nearest(block.weight[j * in + i]);
            for (int64_t b = 0; b < P; b += 16) *(vec *)(space.last_dx + i * P + b) += w * *(const vec *)(da + b);
        }
        for (int64_t i = 0; i < in; i += 16) {
            vec sums[4] = {};
            for (int64_t b = 0; b < P; b += 4)
                for (int k = 0; k < 2; k++) {
                    const ivec pair = *(const ivec *)(tile(own.h, i, b, P) + (b % 32 / 2 + k) * 32);
                    sums[2 * k] += da[b + 2 * k] * (vec)(pair << 16);
                    sums[2 * k + 1] += da[b + 2 * k + 1] * (vec)(pair & 0xffff0000);
                }
            descent.update(block.weight + j * in + i, block.to_weight + j * in + i, first_lanes(in - i),
                        (sums[0] + sums[1]) + (sums[2] + sums[3]));
        }
    }
}

// Compute da of this block: from `last_dx` if `next` is 0, otherwise from weights and da of the next block, which has
// width `next`.
static void hidden_backward(const Block &block, int64_t rows, Workspace &space, const Workspace::Layer &own,
                            int64_t next, const Descent &descent) {
    const int64_t P = space.P;
    Prefetch weights(block.weight, 32 * block.in, block.out), momenta(block.to_weight, 32 * block.in, block.out);
    for (int64_t f = 0; f < block.out; f += 32) {
        const float *c = next ? space.product_strip : space.last_dx + f * P;
        for (int64_t b = 0; b < P && next; b += 32) {
            strip_product(tile(space.pairs[0], b, 0, next), tile(space.weights_for_below, f, 0, next), next,
                          space.product_square, 32);
            for (int part = 0; part < 4; part++) {
                ivec r[16];
                const float *corner = space.product_square + part / 2 * 512 + part % 2 * 16;
                for (int j = 0; j < 16; j++) r[j] = *(const ivec *)(corner + j * 32);
                transpose(r);
                for (int j = 0; j < 16; j++)
                    *(ivec *)(space.product_strip + (part % 2 * 16 + j) * P + b + part / 2 * 16) = r[j];
            }
        }
        for (int64_t j = f; j < f + 32; j++) {
            weights.step(), momenta.step();
            feature_norm_relu_backward(
                block, j, own.gates + j * P / 16, own.inverse[j], c + (j - f) * P, rows, P, descent,
                [&](int64_t b) { return load_bf16(own.xhat + j * P + b); },
                [&](int64_t b, vec g) { *(half *)(tile(space.da, j, b, P) + j % 16 * 32 + b % 32) = upper(g); });
        }
        for (int64_t b = 0; b < P; b += 16) {
            ivec r[16];
            for (int j = 0; j < 32; j += 2) {
                const uint16_t *g = tile(space.da, f + j, b, P) + j % 16 * 32 + b % 32;
                r[j / 2] = pair_lanes(*(const half *)g, *(const half *)(g + 32));
            }
            transpose(r);
            for (int w = 0; w < 16; w++) *(ivec *)(tile(space.pairs[1], b, f, block.out) + w * 32) = r[w];
        }
    }
    std::swap(space.pairs[0], space.pairs[1]);
    fence();
}

// The gradient of the weights, da h^T, 32 rows at a time, which is stored or used for a step. The same loop rounds the
// old weights to bfloat16 and stores them in `weights_for_below`, the right operand of the product for the block below.
// This layout only interleaves neighboring rows of weights and transposes nothing. The result of the product is
// transposed instead, which is a quarter of the work.
static void weights_backward(const Block &block, Workspace &space, const Workspace::Layer &own, bool is_read_below,
                             const Descent &descent) {
    const int64_t P = space.P, in = block.in, wide_in = padded(in);
    float *g = space.weight_gradient;
    for (int64_t f = 0; f < block.out; f += 32) {
        const int64_t steps = wide_in * P / 1024 + in, next = f + 32 < block.out ? 32 * in : 0;
        Prefetch weights(block.weight + (f + 32) * in, next, steps);
        Prefetch momenta(block.to_weight + (f + 32) * in, next, steps);
        for (int64_t i = 0; i < in; i += 32)
            strip_product(tile(space.da, f, 0, P), tile(own.h, i, 0, P), P, g + i, wide_in, &weights, &momenta);
        for (int64_t j = 0; j < 32; j += 2) {  // two whole rows, so that memory is read and written in order
            float *w = block.weight + (f + j) * in, *to = block.to_weight + (f + j) * in;
            for (int64_t i = 0; i < in; i += 16) {
                const __mmask16 lanes = first_lanes(in - i);
                weights.step(), momenta.step();
                if (is_read_below)
                    *(ivec *)(tile(space.weights_for_below, i, f, block.out) + j * 16) =
                        pair_lanes(upper(load(w + i, lanes)), upper(load(w + in + i, lanes)));
                descent.update(w + i, to + i, lanes, *(const vec *)(g + j * wide_in + i));
                descent.update(w + in + i, to + in + i, lanes, *(const vec *)(g + (j + 1) * wide_in + i));
            }
        }
    }
    fence();
}

extern "C" int64_t dense_amx_bytes(const ChainPass *p) {
    return Workspace(p->blocks, p->depth, p->rows, nullptr).size;
}

extern "C" int dense_amx_forward(const ChainPass *p) {
    if (!p->index_fits()) return 1;
    const int64_t n = p->depth, s = p->run, rows = p->rows;
    const Block *blocks = p->blocks;
    const Tiles tiles;
    Workspace space(blocks, n, rows, p->workspace);
    for (int64_t i = 0; i < n; i++) blocks[i].batches[s]++;
    pack_batch(p->x, p->index, rows, blocks[0].in, space.P, space.pairs[0], space.layers[0].h);
    for (int64_t i = 0; i + 1 < n; i++)
        hidden_forward(blocks[i].run(s), rows, space, space.layers[i], space.layers[i + 1].h);
    last_forward(blocks[n - 1].run(s), rows, space, space.layers[n - 1], p->features);
    return 0;
}

extern "C" void dense_amx_backward(const ChainPass *p) {
    const int64_t n = p->depth, s = p->run, rows = p->rows;
    const Block *blocks = p->blocks;
    const Tiles tiles;
    const Descent descent = p->descent();
    Workspace space(blocks, n, rows, p->workspace);
    last_backward(blocks[n - 1].run(s), rows, space, space.layers[n - 1], p->dy, descent);
    for (int64_t i = n - 2; i >= 0; i--) {
        const Block block = blocks[i].run(s);
        hidden_backward(block, rows, space, space.layers[i], i < n - 2 ? blocks[i + 1].out : 0, descent);
        weights_backward(block, space, space.layers[i], i > 0, descent);
    }
}
#else
extern "C" int dense_amx_ready() { return 0; }
#endif
