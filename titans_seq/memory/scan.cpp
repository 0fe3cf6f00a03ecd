// The scan of scan.py for processors: one thread takes whole (batch, head) rows, so a chunk never leaves its cache.
//
// Same equations and names as functional.py. Axes: B batch, H heads, T tokens, C chunk, c tokens of this chunk,
// D features of a head, I / O inputs / outputs of a layer. Matrices are row-major; S is the surprise.
#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <cmath>
#include <cstring>
#include <tuple>
#include <vector>

#include "vector.h"

extern "C" {
void sgemm_(const char*, const char*, const int*, const int*, const int*, const float*, const float*, const int*,
            const float*, const int*, const float*, float*, const int*);
void dgemm_(const char*, const char*, const int*, const int*, const int*, const double*, const double*, const int*,
            const double*, const int*, const double*, double*, const int*);
}

namespace {

using at::Tensor;
using Tensors = std::vector<Tensor>;
using Optional = std::optional<Tensor>;

// the matrix product of the library that torch brings along, column-major
void gemm(const char* ta, const char* tb, const int* m, const int* n, const int* k, const float* alpha, const float* a,
          const int* lda, const float* b, const int* ldb, const float* beta, float* c, const int* ldc) {
  sgemm_(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
void gemm(const char* ta, const char* tb, const int* m, const int* n, const int* k, const double* alpha,
          const double* a, const int* lda, const double* b, const int* ldb, const double* beta, double* c,
          const int* ldc) {
  dgemm_(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

// out (m, n) = alpha a (m, k) b (k, n) + beta out, row-major; `ta` / `tb`: the matrix stands transposed in memory
template <typename T>
void multiply(bool ta, bool tb, int m, int n, int k, T alpha, const T* a, int lda, const T* b, int ldb, T beta, T* out,
              int ldo) {
  gemm(tb ? "T" : "N", ta ? "T" : "N", &n, &m, &k, &alpha, b, &ldb, a, &lda, &beta, out, &ldo);
}

// out (rows, width) = factor of each row times x
template <typename T>
void scale_rows(const T* x, int64_t ldx, const T* factor, T* out, int64_t rows, int64_t width) {
  for (int64_t t = 0; t < rows; ++t)
    for (int64_t i = 0; i < width; ++i) out[t * width + i] = factor[t] * x[t * ldx + i];
}

template <typename T>
struct View {  // one (T, D) slice of a (B, H, T, D) tensor, or (T,) of (B, H, T) with stride as its step
  T* data = nullptr;
  int64_t stride = 0;
};

template <typename T>
View<T> slice(const Tensor& t, int64_t b, int64_t h) {
  return {t.mutable_data_ptr<T>() + b * t.stride(0) + h * t.stride(1), t.stride(2)};
}

struct Sizes {
  int64_t batch, heads, length, chunk, depth;
  std::vector<int64_t> widths;  // D, hidden ..., D
  int64_t widest;
  bool momentum, forget, anchored;
  double clip;

  Sizes(const Tensor& q, const Tensors& weights, bool momentum, bool forget, bool anchored, int64_t chunk, double clip)
      : batch(q.size(0)), heads(q.size(1)), length(q.size(2)), chunk(std::min(chunk, q.size(2))), depth(weights.size()),
        widths{q.size(3)}, widest(q.size(3)), momentum(momentum), forget(forget), anchored(anchored), clip(clip) {
    for (const auto& w : weights) widths.push_back(w.size(-2)), widest = std::max(widest, w.size(-2));
  }
  int64_t in(int64_t l) const { return widths[l]; }
  int64_t out(int64_t l) const { return widths[l + 1]; }
  int64_t weight(int64_t l) const { return in(l) * out(l); }
  int64_t chunks() const { return (length + chunk - 1) / chunk; }
};

template <typename T>
struct Gates {  // products of the gates over one chunk
  std::vector<T> read, wrote, keep, past, through, home, stay, eta, theta;  // G, N, beta, f, m, 1 - beta

  explicit Gates(int64_t c)
      : read(c * c), wrote(c * c), keep(c), past(c), through(c), home(c), stay(c), eta(c), theta(c) {}

  // row by row: N_t = eta_t N_{t-1} + theta_t e_t,  G_t = (1 - alpha_t) G_{t-1} + N_t; no division, no logarithm
  void fill(const Sizes& s, View<T> step, View<T> momentum, View<T> forget, int64_t start, int64_t c) {
    T keep_before = 1, past_before = 0, through_before = 1;
    for (int64_t t = 0; t < c; ++t) {
      stay[t] = s.forget ? 1 - forget.data[(start + t) * forget.stride] : T(1);
      eta[t] = s.momentum ? momentum.data[(start + t) * momentum.stride] : T(0);
      theta[t] = step.data[(start + t) * step.stride];
      T* n = wrote.data() + t * c;
      T* g = read.data() + t * c;
      for (int64_t k = 0; k < t; ++k) {
        n[k] = eta[t] * n[k - c];
        g[k] = stay[t] * g[k - c] + n[k];
      }
      n[t] = g[t] = theta[t];
      std::fill(n + t + 1, n + c, T(0));
      std::fill(g + t + 1, g + c, T(0));
      keep[t] = keep_before = stay[t] * keep_before;
      home[t] = 1 - keep[t];
      through[t] = through_before = eta[t] * through_before;
      past[t] = past_before = stay[t] * past_before + through[t];
    }
  }

  // gradients of the gates of a chunk from those of the products; d_read (c, c) counts on and below the diagonal
  void backward(const T* d_read, const T* d_keep, const T* d_past, const T* d_wrote_last, T d_through_last, int64_t c,
                T* d_theta, T* d_eta, T* d_alpha) const {
    std::vector<T> a_read(c, T(0)), a_wrote(c, T(0));
    T a_keep = 0, a_past = 0, a_through = 0;
    for (int64_t t = c - 1; t >= 0; --t) {
      if (t == c - 1) {
        std::copy(d_wrote_last, d_wrote_last + c, a_wrote.begin());
        a_through = d_through_last;
      }
      a_keep += d_keep[t], a_past += d_past[t], a_through += a_past;
      for (int64_t k = 0; k <= t; ++k) a_read[k] += d_read[t * c + k];
      for (int64_t k = 0; k <= t; ++k) a_wrote[k] += a_read[k];
      const T keep_1 = t ? keep[t - 1] : T(1), past_1 = t ? past[t - 1] : T(0), through_1 = t ? through[t - 1] : T(1);
      d_theta[t] = a_wrote[t];
      T d_stay = a_keep * keep_1 + a_past * past_1, d_momentum = a_through * through_1;
      if (t) {
        d_stay += dot(a_read.data(), read.data() + (t - 1) * c, t);
        d_momentum += dot(a_wrote.data(), wrote.data() + (t - 1) * c, t);
      }
      d_alpha[t] = -d_stay;
      d_eta[t] = d_momentum;
      a_keep *= stay[t], a_past *= stay[t], a_through *= eta[t];
      for (int64_t k = 0; k < t; ++k) a_read[k] *= stay[t], a_wrote[k] *= eta[t];
    }
  }
};

template <typename T>
struct Row {  // one (batch, head): its weights, and room for one chunk
  const Sizes& s;
  Gates<T> gates;
  std::vector<std::vector<T>> own_weights, own_surprise;
  std::vector<T*> weights, surprise;  // the row's own, which change with each chunk, or a state's, which are only read
  std::vector<const T*> anchor;
  std::vector<std::vector<T>> outputs, sigmoids, inputs, errors, backs, shrinks, hidden, gated, seen;
  std::vector<std::vector<T>> scores;  // x X^T o G
  std::vector<T> scaled;

  Row(const Sizes& s, bool own) : s(s), gates(s.chunk), scaled(s.chunk * s.widest) {
    const int64_t c = s.chunk;
    for (int64_t l = 0; l < s.depth; ++l) {
      own_weights.emplace_back(own ? s.weight(l) : 0);
      own_surprise.emplace_back(own && s.momentum ? s.weight(l) : 0);
      weights.push_back(own_weights[l].data());
      surprise.push_back(own_surprise[l].data());
      for (auto* room : {&outputs, &sigmoids, &errors, &hidden, &gated}) room->emplace_back(c * s.out(l));
      for (auto* room : {&inputs, &backs, &seen}) room->emplace_back(c * s.in(l));
      shrinks.emplace_back(c);
      scores.emplace_back(c * c);
    }
    anchor.resize(s.depth);
  }

  // e / sqrt(1 + mean(e^2) / clip^2), row by row
  void clip(T* error, T* shrink, int64_t c, int64_t width) {
    if (s.clip <= 0) return;
    const T scale = 1 / (s.clip * s.clip * width);
    for (int64_t t = 0; t < c; ++t) {
      T* e = error + t * width;
      shrink[t] = 1 / std::sqrt(1 + scale * dot(e, e, width));
      for (int64_t i = 0; i < width; ++i) e[i] *= shrink[t];
    }
  }

  // gradient before `clip` from that behind it, in place
  void clip_backward(T* d_error, const T* error, const T* shrink, int64_t c, int64_t width) {
    if (s.clip <= 0) return;
    const T scale = 1 / (s.clip * s.clip * width);
    for (int64_t t = 0; t < c; ++t) {
      T* d = d_error + t * width;
      const T* e = error + t * width;
      const T along = scale * dot(d, e, width);
      for (int64_t i = 0; i < width; ++i) d[i] = shrink[t] * (d[i] - along * e[i]);
    }
  }

  static T slope(T z, T sigmoid) { return sigmoid * (1 + z * (1 - sigmoid)); }

  // X_l of the layers: the keys, then what lies between
  const T* input(int64_t l, View<T> k, int64_t start) const { return l ? inputs[l].data() : k.data + start * k.stride; }
  int64_t input_stride(int64_t l, View<T> k) const { return l ? s.in(l) : k.stride; }

  void write(View<T> k, View<T> v, int64_t start, int64_t c) {
    for (int64_t l = 0; l < s.depth; ++l) {
      multiply<T>(false, true, c, s.out(l), s.in(l), 1, input(l, k, start), input_stride(l, k), weights[l],
                  s.in(l), 0, outputs[l].data(), s.out(l));
      if (l + 1 < s.depth) silu(outputs[l].data(), sigmoids[l].data(), inputs[l + 1].data(), c * s.out(l));
    }
    const int64_t last = s.depth - 1, width = s.out(last);
    for (int64_t t = 0; t < c; ++t)
      for (int64_t i = 0; i < width; ++i)
        errors[last][t * width + i] = 2 * (outputs[last][t * width + i] - v.data[(start + t) * v.stride + i]);
    clip(errors[last].data(), shrinks[last].data(), c, width);
    for (int64_t l = last; l-- > 0;) {
      T* back = backs[l + 1].data();
      multiply<T>(false, false, c, s.out(l), s.out(l + 1), 1, errors[l + 1].data(), s.out(l + 1),
                  weights[l + 1], s.out(l), 0, back, s.out(l));
      for (int64_t i = 0; i < c * s.out(l); ++i) errors[l][i] = back[i] * slope(outputs[l][i], sigmoids[l][i]);
      clip(errors[l].data(), shrinks[l].data(), c, s.out(l));
    }
  }

  // the read against what this chunk's tokens wrote
  void read(View<T> q, View<T> k, int64_t start, int64_t c, int64_t layers, T* out, int64_t ldo) {
    std::vector<View<const T>> given, wrote;
    for (int64_t l = 0; l < s.depth; ++l) {
      given.push_back({input(l, k, start), input_stride(l, k)});
      wrote.push_back({errors[l].data(), s.out(l)});
    }
    read(q, start, c, given, wrote, c, layers, out, ldo);
  }

  // layers up to `layers` of the read, the last of them into out; keeps what each layer reads. `given` and `wrote`: X_l
  // and delta_l of `slots` tokens, which gates.read (c, slots) has the shares of
  void read(View<T> q, int64_t start, int64_t c, const std::vector<View<const T>>& given,
            const std::vector<View<const T>>& wrote, int64_t slots, int64_t layers, T* out, int64_t ldo) {
    const T* x = q.data + start * q.stride;
    int64_t ldx = q.stride;
    for (int64_t l = 0; l < layers; ++l) {
      const bool final = l + 1 == s.depth;
      T* z = final ? out : hidden[l].data();
      const int64_t ldz = final ? ldo : s.out(l);
      T* score = scores[l].data();
      multiply<T>(false, true, c, slots, s.in(l), 1, x, ldx, given[l].data, given[l].stride, 0, score, slots);
      for (int64_t i = 0; i < c * slots; ++i) score[i] *= gates.read[i];
      multiply<T>(false, false, c, s.out(l), slots, -1, score, slots, wrote[l].data, wrote[l].stride, 0, z, ldz);
      add_read(x, ldx, gates.keep.data(), weights[l], l, c, z, ldz);
      if (s.anchored) add_read(x, ldx, gates.home.data(), anchor[l], l, c, z, ldz);
      if (s.momentum) add_read(x, ldx, gates.past.data(), surprise[l], l, c, z, ldz);
      if (final) break;
      silu(z, gated[l].data(), seen[l + 1].data(), c * s.out(l));
      x = seen[l + 1].data(), ldx = s.out(l);
    }
  }

  void add_read(const T* x, int64_t ldx, const T* factor, const T* matrix, int64_t l, int64_t c, T* z, int64_t ldz) {
    scale_rows(x, ldx, factor, scaled.data(), c, s.in(l));
    multiply<T>(false, true, c, s.out(l), s.in(l), 1, scaled.data(), s.in(l), matrix, s.in(l), 1, z, ldz);
  }

  void carry(View<T> k, int64_t start, int64_t c) {
    const T keep = gates.keep[c - 1], past = gates.past[c - 1], through = gates.through[c - 1];
    for (int64_t l = 0; l < s.depth; ++l) {
      T* w = weights[l];
      T* m = surprise[l];
      const int64_t count = s.weight(l);
      if (s.momentum)
        for (int64_t i = 0; i < count; ++i) w[i] = keep * w[i] + past * m[i], m[i] *= through;
      else
        for (int64_t i = 0; i < count; ++i) w[i] *= keep;
      if (s.anchored)
        for (int64_t i = 0; i < count; ++i) w[i] += (1 - keep) * anchor[l][i];
      add_outer(gates.read.data() + (c - 1) * c, k, start, c, l, w);
      if (s.momentum) add_outer(gates.wrote.data() + (c - 1) * c, k, start, c, l, m);
    }
  }

  // target -= (factor o delta)^T X
  void add_outer(const T* factor, View<T> k, int64_t start, int64_t c, int64_t l, T* target) {
    scale_rows(errors[l].data(), s.out(l), factor, scaled.data(), c, s.out(l));
    multiply<T>(true, false, s.out(l), s.in(l), c, -1, scaled.data(), s.out(l), input(l, k, start), input_stride(l, k),
                1, target, s.in(l));
  }
};

template <typename T>
void load(std::vector<T>& to, const T* from) { std::memcpy(to.data(), from, to.size() * sizeof(T)); }

template <typename T>
T* matrix(const Tensor& t, int64_t b, int64_t h) { return t.mutable_data_ptr<T>() + b * t.stride(0) + h * t.stride(1); }

template <typename T>
T* start_of(const Tensor& t, int64_t n, int64_t b, int64_t h) {
  return t.mutable_data_ptr<T>() + n * t.stride(0) + b * t.stride(1) + h * t.stride(2);
}

// y (B, H, T, D); weights, surprise behind the last token; the same at each chunk's start (N, B, H, O, I)
std::tuple<Tensor, Tensors, Tensors, Tensors> forward(const Tensor& q, const Tensor& k, const Tensor& v,
                                                      const Tensor& theta, const Optional& eta, const Optional& alpha,
                                                      const Tensors& weights, const Tensors& surprise,
                                                      const Tensors& anchor, int64_t chunk, double clip, bool keep) {
  const Sizes s(q, weights, eta.has_value(), alpha.has_value(), !anchor.empty(), chunk, clip);
  Tensor y = at::empty({s.batch, s.length, s.heads, s.widths.back()}, q.options()).transpose(1, 2);
  Tensors weights_out, surprise_out, starts;
  for (int64_t l = 0; l < s.depth; ++l) {
    const std::vector<int64_t> shape{s.batch, s.heads, s.out(l), s.in(l)};
    std::vector<int64_t> many{s.chunks()};
    many.insert(many.end(), shape.begin(), shape.end());
    weights_out.push_back(at::empty(shape, q.options()));
    if (s.momentum) surprise_out.push_back(at::empty(shape, q.options()));
    for (int64_t which = 0; keep && which < 1 + s.momentum; ++which) starts.push_back(at::empty(many, q.options()));
  }
  AT_DISPATCH_FLOATING_TYPES(q.scalar_type(), "scan_forward", [&] {
    using T = scalar_t;
    at::parallel_for(0, s.batch * s.heads, 1, [&](int64_t begin, int64_t end) {
      Row<T> row(s, true);
      for (int64_t r = begin; r < end; ++r) {
        const int64_t b = r / s.heads, h = r % s.heads;
        const View<T> q_r = slice<T>(q, b, h), k_r = slice<T>(k, b, h), v_r = slice<T>(v, b, h), y_r = slice<T>(y, b, h);
        const View<T> theta_r = slice<T>(theta, b, h), eta_r = s.momentum ? slice<T>(*eta, b, h) : View<T>{},
                      alpha_r = s.forget ? slice<T>(*alpha, b, h) : View<T>{};
        for (int64_t l = 0; l < s.depth; ++l) {
          load(row.own_weights[l], matrix<T>(weights[l], b, h));
          if (s.momentum) load(row.own_surprise[l], matrix<T>(surprise[l], b, h));
          row.anchor[l] = s.anchored ? matrix<T>(anchor[l], b, h) : nullptr;
        }
        for (int64_t n = 0; n < s.chunks(); ++n) {
          const int64_t start = n * s.chunk, c = std::min(s.chunk, s.length - start);
          for (int64_t l = 0; keep && l < s.depth; ++l) {
            const int64_t at = l * (1 + s.momentum);
            std::copy(row.own_weights[l].begin(), row.own_weights[l].end(), start_of<T>(starts[at], n, b, h));
            if (s.momentum)
              std::copy(row.own_surprise[l].begin(), row.own_surprise[l].end(), start_of<T>(starts[at + 1], n, b, h));
          }
          row.gates.fill(s, theta_r, eta_r, alpha_r, start, c);
          row.write(k_r, v_r, start, c);
          row.read(q_r, k_r, start, c, s.depth, y_r.data + start * y_r.stride, y_r.stride);
          row.carry(k_r, start, c);
        }
        for (int64_t l = 0; l < s.depth; ++l) {
          std::copy(row.own_weights[l].begin(), row.own_weights[l].end(), matrix<T>(weights_out[l], b, h));
          if (s.momentum) std::copy(row.own_surprise[l].begin(), row.own_surprise[l].end(), matrix<T>(surprise_out[l], b, h));
        }
      }
    });
  });
  return {y, weights_out, surprise_out, starts};
}

// tokens into the open chunk of a stream, behind the `fill` that every row has there; see `stream._extend`. `inputs` and
// `errors`: (B, H, C, I) and (B, H, C, O) per layer; `read_row`, `write_row` (B, H, C); `scales` (B, H, 3)
// -> y, and the same behind the tokens: inputs, errors, then read_row, write_row, scales
std::tuple<Tensor, Tensors, Tensors, Tensors> extend(const Tensor& q, const Tensor& k, const Tensor& v,
                                                     const Tensor& theta, const Optional& eta, const Optional& alpha,
                                                     const Tensors& weights, const Tensors& surprise,
                                                     const Tensors& anchor, const Tensors& inputs,
                                                     const Tensors& errors, const Tensor& read_row,
                                                     const Tensor& write_row, const Tensor& scales, int64_t fill,
                                                     double clip) {
  const int64_t capacity = read_row.size(2);
  const Sizes s(q, weights, eta.has_value(), alpha.has_value(), !anchor.empty(), capacity, clip);
  Sizes room = s;
  room.chunk = capacity;
  Tensor y = at::empty({s.batch, s.length, s.heads, s.widths.back()}, q.options()).transpose(1, 2);
  Tensors inputs_out, errors_out, rows_out{read_row.clone(), write_row.clone(), scales.contiguous().clone()};
  for (int64_t l = 0; l < s.depth; ++l) {
    inputs_out.push_back(inputs[l].clone());
    errors_out.push_back(errors[l].clone());
  }
  AT_DISPATCH_FLOATING_TYPES(q.scalar_type(), "scan_extend", [&] {
    using T = scalar_t;
    at::parallel_for(0, s.batch * s.heads, s.length > 1 ? 1 : s.batch * s.heads, [&](int64_t begin, int64_t end) {
      Row<T> row(room, false);
      const int64_t c = s.length, slots = fill + c;
      for (int64_t r = begin; r < end; ++r) {
        const int64_t b = r / s.heads, h = r % s.heads;
        const View<T> q_r = slice<T>(q, b, h), k_r = slice<T>(k, b, h), v_r = slice<T>(v, b, h), y_r = slice<T>(y, b, h);
        const View<T> theta_r = slice<T>(theta, b, h), eta_r = s.momentum ? slice<T>(*eta, b, h) : View<T>{},
                      alpha_r = s.forget ? slice<T>(*alpha, b, h) : View<T>{};
        T *read_r = slice<T>(rows_out[0], b, h).data, *write_r = slice<T>(rows_out[1], b, h).data,
          *scale = slice<T>(rows_out[2], b, h).data;
        for (int64_t t = 0; t < c; ++t) {
          const T stay = s.forget ? 1 - alpha_r.data[t * alpha_r.stride] : T(1);
          const T carried = s.momentum ? eta_r.data[t * eta_r.stride] : T(0);
          write_r[fill + t] = theta_r.data[t * theta_r.stride];
          for (int64_t i = 0; i < fill + t; ++i) write_r[i] *= carried;
          for (int64_t i = 0; i <= fill + t; ++i) read_r[i] = stay * read_r[i] + write_r[i];
          scale[0] *= stay;
          if (s.momentum) scale[2] *= carried, scale[1] = stay * scale[1] + scale[2];
          std::copy(read_r, read_r + slots, row.gates.read.begin() + t * slots);
          row.gates.keep[t] = scale[0], row.gates.home[t] = 1 - scale[0], row.gates.past[t] = scale[1];
        }
        if (!s.momentum) std::fill(write_r, write_r + slots, T(0));  // no later token hears of it
        std::vector<View<const T>> given, wrote;
        for (int64_t l = 0; l < s.depth; ++l) {
          row.weights[l] = matrix<T>(weights[l], b, h);
          row.surprise[l] = s.momentum ? matrix<T>(surprise[l], b, h) : nullptr;
          row.anchor[l] = s.anchored ? matrix<T>(anchor[l], b, h) : nullptr;
          given.push_back({matrix<T>(inputs_out[l], b, h), s.in(l)});
          wrote.push_back({matrix<T>(errors_out[l], b, h), s.out(l)});
        }
        row.write(k_r, v_r, 0, c);
        for (int64_t l = 0; l < s.depth; ++l) {
          T* x = matrix<T>(inputs_out[l], b, h) + fill * s.in(l);
          for (int64_t t = 0; t < c; ++t)
            std::memcpy(x + t * s.in(l), row.input(l, k_r, 0) + t * row.input_stride(l, k_r), s.in(l) * sizeof(T));
          std::memcpy(matrix<T>(errors_out[l], b, h) + fill * s.out(l), row.errors[l].data(), c * s.out(l) * sizeof(T));
        }
        row.read(q_r, 0, c, given, wrote, slots, s.depth, y_r.data, y_r.stride);
      }
    });
  });
  return {y, inputs_out, errors_out, rows_out};
}

template <typename T>
struct Backward {  // gradients of one row, chunk by chunk from the last
  Row<T>& row;
  const Sizes& s;
  std::vector<std::vector<T>> d_weights, d_surprise, d_anchor, d_errors, d_inputs, d_outputs;
  std::vector<T> d_read, d_keep, d_past, d_last, room, other, more, d_scores, plain;

  explicit Backward(Row<T>& row) : row(row), s(row.s) {
    const int64_t c = s.chunk;
    for (int64_t l = 0; l < s.depth; ++l) {
      d_weights.emplace_back(s.weight(l));
      d_surprise.emplace_back(s.momentum ? s.weight(l) : 0);
      d_anchor.emplace_back(s.anchored ? s.weight(l) : 0);
      for (auto* each : {&d_errors, &d_outputs}) each->emplace_back(c * s.out(l));
      d_inputs.emplace_back(c * s.in(l));
    }
    for (auto* each : {&d_read, &d_scores, &plain}) each->resize(c * c);
    for (auto* each : {&d_keep, &d_past, &d_last}) each->resize(c);
    for (auto* each : {&room, &other, &more}) each->resize(c * s.widest);
  }

  // W' = beta W + (1 - beta) A + f S - (G_C o delta)^T X,  S' = m S - (N_C o delta)^T X; returns the gradient of m
  T carry(View<T> k, int64_t start, int64_t c) {
    const Gates<T>& g = row.gates;
    const T keep = g.keep[c - 1], past = g.past[c - 1], through = g.through[c - 1];
    T d_through = 0;
    for (int64_t l = 0; l < s.depth; ++l) {
      T* dw = d_weights[l].data();
      T* dm = d_surprise[l].data();
      const int64_t count = s.weight(l);
      std::fill(d_errors[l].begin(), d_errors[l].end(), T(0));
      outer(g.read.data() + (c - 1) * c, dw, k, start, c, l, 0, d_read.data() + (c - 1) * c);
      if (s.momentum) outer(g.wrote.data() + (c - 1) * c, dm, k, start, c, l, 1, d_last.data());
      const T* w = row.weights[l];
      const T* m = row.surprise[l];
      T d_k = dot(dw, w, count);
      if (s.anchored) {
        const T* a = row.anchor[l];
        d_k -= dot(dw, a, count);
        for (int64_t i = 0; i < count; ++i) d_anchor[l][i] += (1 - keep) * dw[i];
      }
      d_keep[c - 1] += d_k;
      if (s.momentum) {
        d_past[c - 1] += dot(dw, m, count);
        d_through += dot(dm, m, count);
        for (int64_t i = 0; i < count; ++i) dm[i] = past * dw[i] + through * dm[i];
      }
      for (int64_t i = 0; i < count; ++i) dw[i] *= keep;
    }
    return d_through;
  }

  // target = ... - (factor o delta)^T X, given the target's gradient
  void outer(const T* factor, const T* d_target, View<T> k, int64_t start, int64_t c, int64_t l, T beta, T* d_factor) {
    const int64_t in = s.in(l), out = s.out(l);
    const T* error = row.errors[l].data();
    multiply<T>(false, true, c, out, in, -1, row.input(l, k, start), row.input_stride(l, k), d_target, in, 0,
                room.data(), out);
    for (int64_t t = 0; t < c; ++t) {
      d_factor[t] += dot(error + t * out, room.data() + t * out, out);
      for (int64_t i = 0; i < out; ++i) d_errors[l][t * out + i] += factor[t] * room[t * out + i];
    }
    scale_rows(error, out, factor, room.data(), c, out);
    multiply<T>(false, false, c, in, out, -1, room.data(), out, d_target, in, beta, d_inputs[l].data(), in);
  }

  // z = beta (x W^T) + (1 - beta) (x A^T) + f (x S^T) - ((x X^T) o G) delta; d_z (c, O) becomes that of q
  void read(View<T> q, View<T> k, int64_t start, int64_t c, const T* d_y, int64_t ldy, T* d_q, int64_t ldq) {
    const Gates<T>& g = row.gates;
    const T* d_z = d_y;
    int64_t ldz = ldy;
    for (int64_t l = s.depth; l-- > 0;) {
      const int64_t in = s.in(l), out = s.out(l);
      const T* x = l ? row.seen[l].data() : q.data + start * q.stride;
      const int64_t ldx = l ? in : q.stride;
      const T* given = row.input(l, k, start);
      const int64_t ldg = row.input_stride(l, k);
      T* d_x = other.data();
      // scores
      multiply<T>(false, true, c, c, out, -1, d_z, ldz, row.errors[l].data(), out, 0, d_scores.data(), c);
      multiply<T>(false, true, c, c, in, 1, x, ldx, given, ldg, 0, plain.data(), c);
      for (int64_t i = 0; i < c * c; ++i) {
        d_read[i] += d_scores[i] * plain[i];
        d_scores[i] *= g.read[i];
        plain[i] *= g.read[i];
      }
      multiply<T>(true, false, c, out, c, -1, plain.data(), c, d_z, ldz, 1, d_errors[l].data(), out);
      multiply<T>(true, false, c, in, c, 1, d_scores.data(), c, x, ldx, 1, d_inputs[l].data(), in);
      multiply<T>(false, false, c, in, c, 1, d_scores.data(), c, given, ldg, 0, d_x, in);
      through(d_z, ldz, x, ldx, g.keep.data(), row.weights[l], l, c, 1, d_keep.data(), d_weights[l].data());
      if (s.anchored) through(d_z, ldz, x, ldx, g.home.data(), row.anchor[l], l, c, -1, d_keep.data(), d_anchor[l].data());
      if (s.momentum)
        through(d_z, ldz, x, ldx, g.past.data(), row.surprise[l], l, c, 1, d_past.data(), d_surprise[l].data());
      if (l) {
        const T* z = row.hidden[l - 1].data();
        const T* sigmoid = row.gated[l - 1].data();
        for (int64_t i = 0; i < c * in; ++i) more[i] = d_x[i] * Row<T>::slope(z[i], sigmoid[i]);
        d_z = more.data(), ldz = in;
      } else {
        for (int64_t t = 0; t < c; ++t) std::copy(d_x + t * in, d_x + (t + 1) * in, d_q + t * ldq);
      }
    }
  }

  // z += factor o (x matrix^T): adds to d_x, the factor's and the matrix' gradient
  void through(const T* d_z, int64_t ldz, const T* x, int64_t ldx, const T* factor, const T* matrix, int64_t l,
               int64_t c, T sign, T* d_factor, T* d_matrix) {
    const int64_t in = s.in(l), out = s.out(l);
    T* d_x = other.data();
    multiply<T>(false, false, c, in, out, 1, d_z, ldz, matrix, in, 0, room.data(), in);
    for (int64_t t = 0; t < c; ++t) {
      T* each = room.data() + t * in;
      d_factor[t] += sign * dot(each, x + t * ldx, in);
      for (int64_t i = 0; i < in; ++i) {
        d_x[t * in + i] += factor[t] * each[i];
        each[i] = factor[t] * x[t * ldx + i];
      }
    }
    multiply<T>(true, false, out, in, c, 1, d_z, ldz, room.data(), in, 1, d_matrix, in);
  }

  // the memory's own forward and backward
  void write(View<T> k, int64_t start, int64_t c, T* d_k, int64_t ldk, T* d_v, int64_t ldv) {
    for (int64_t l = 0; l + 1 < s.depth; ++l) {
      const int64_t out = s.out(l), next = s.out(l + 1);
      row.clip_backward(d_errors[l].data(), row.errors[l].data(), row.shrinks[l].data(), c, out);
      const T *z = row.outputs[l].data(), *sigmoid = row.sigmoids[l].data(), *back = row.backs[l + 1].data();
      for (int64_t i = 0; i < c * out; ++i) {
        const T rest = 1 - sigmoid[i], curve = sigmoid[i] * rest * (2 + z[i] * (rest - sigmoid[i]));
        d_outputs[l][i] = d_errors[l][i] * back[i] * curve;
        room[i] = d_errors[l][i] * Row<T>::slope(z[i], sigmoid[i]);
      }
      multiply<T>(true, false, next, out, c, 1, row.errors[l + 1].data(), next, room.data(), out, 1,
                  d_weights[l + 1].data(), out);
      multiply<T>(false, true, c, next, out, 1, room.data(), out, row.weights[l + 1], out, 1,
                  d_errors[l + 1].data(), next);
    }
    const int64_t last = s.depth - 1, width = s.out(last);
    row.clip_backward(d_errors[last].data(), row.errors[last].data(), row.shrinks[last].data(), c, width);
    for (int64_t t = 0; t < c; ++t)
      for (int64_t i = 0; i < width; ++i) {
        const T d = 2 * d_errors[last][t * width + i];
        d_outputs[last][t * width + i] = d;
        d_v[t * ldv + i] = -d;
      }
    for (int64_t l = s.depth; l-- > 0;) {
      const int64_t in = s.in(l), out = s.out(l);
      const T* d_z = d_outputs[l].data();
      multiply<T>(true, false, out, in, c, 1, d_z, out, row.input(l, k, start), row.input_stride(l, k), 1,
                  d_weights[l].data(), in);
      multiply<T>(false, false, c, in, out, 1, d_z, out, row.weights[l], in, 1, d_inputs[l].data(), in);
      if (l) {
        const T *z = row.outputs[l - 1].data(), *sigmoid = row.sigmoids[l - 1].data();
        for (int64_t i = 0; i < c * in; ++i) d_outputs[l - 1][i] += d_inputs[l][i] * Row<T>::slope(z[i], sigmoid[i]);
      } else {
        for (int64_t t = 0; t < c; ++t)
          std::copy(d_inputs[0].data() + t * in, d_inputs[0].data() + (t + 1) * in, d_k + t * ldk);
      }
    }
  }
};

// gradients of q, k, v, theta, eta, alpha, then of the weights, the surprise and the anchor of each layer
Tensors backward(const Tensor& d_y, const Tensors& d_weights, const Tensors& d_surprise, const Tensor& q,
                 const Tensor& k, const Tensor& v, const Tensor& theta, const Optional& eta, const Optional& alpha,
                 const Tensors& starts, const Tensors& anchor, int64_t chunk, double clip) {
  const Sizes s(q, d_weights, eta.has_value(), alpha.has_value(), !anchor.empty(), chunk, clip);
  const auto like = [&](int64_t width) {
    return at::empty({s.batch, s.length, s.heads, width}, q.options()).transpose(1, 2);
  };
  const auto gate = [&] { return at::empty({s.batch, s.heads, s.length}, q.options()); };
  Tensors found{like(s.widths[0]), like(s.widths[0]), like(s.widths.back()), gate(), gate(), gate()};
  const int64_t kinds = 1 + s.momentum + s.anchored;
  for (int64_t l = 0; l < s.depth; ++l)
    for (int64_t which = 0; which < kinds; ++which)
      found.push_back(at::empty({s.batch, s.heads, s.out(l), s.in(l)}, q.options()));
  AT_DISPATCH_FLOATING_TYPES(q.scalar_type(), "scan_backward", [&] {
    using T = scalar_t;
    at::parallel_for(0, s.batch * s.heads, 1, [&](int64_t begin, int64_t end) {
      Row<T> row(s, true);
      Backward<T> back(row);
      for (int64_t r = begin; r < end; ++r) {
        const int64_t b = r / s.heads, h = r % s.heads;
        const View<T> q_r = slice<T>(q, b, h), k_r = slice<T>(k, b, h), v_r = slice<T>(v, b, h);
        const View<T> theta_r = slice<T>(theta, b, h), eta_r = s.momentum ? slice<T>(*eta, b, h) : View<T>{},
                      alpha_r = s.forget ? slice<T>(*alpha, b, h) : View<T>{};
        const View<T> dy_r = slice<T>(d_y, b, h), dq_r = slice<T>(found[0], b, h), dk_r = slice<T>(found[1], b, h),
                      dv_r = slice<T>(found[2], b, h);
        T* d_gates[3];
        for (int64_t i = 0; i < 3; ++i) d_gates[i] = slice<T>(found[3 + i], b, h).data;
        for (int64_t l = 0; l < s.depth; ++l) {
          load(back.d_weights[l], matrix<T>(d_weights[l], b, h));
          if (s.momentum) load(back.d_surprise[l], matrix<T>(d_surprise[l], b, h));
          std::fill(back.d_anchor[l].begin(), back.d_anchor[l].end(), T(0));
          row.anchor[l] = s.anchored ? matrix<T>(anchor[l], b, h) : nullptr;
        }
        for (int64_t n = s.chunks(); n-- > 0;) {
          const int64_t start = n * s.chunk, c = std::min(s.chunk, s.length - start);
          for (int64_t l = 0; l < s.depth; ++l) {
            const int64_t at = l * (1 + s.momentum);
            load(row.own_weights[l], start_of<T>(starts[at], n, b, h));
            if (s.momentum) load(row.own_surprise[l], start_of<T>(starts[at + 1], n, b, h));
          }
          row.gates.fill(s, theta_r, eta_r, alpha_r, start, c);
          row.write(k_r, v_r, start, c);
          row.read(q_r, k_r, start, c, s.depth - 1, nullptr, 0);
          for (auto* each : {&back.d_read, &back.d_keep, &back.d_past, &back.d_last})
            std::fill(each->begin(), each->end(), T(0));
          const T d_through = back.carry(k_r, start, c);
          back.read(q_r, k_r, start, c, dy_r.data + start * dy_r.stride, dy_r.stride, dq_r.data + start * dq_r.stride,
                    dq_r.stride);
          back.write(k_r, start, c, dk_r.data + start * dk_r.stride, dk_r.stride, dv_r.data + start * dv_r.stride,
                     dv_r.stride);
          row.gates.backward(back.d_read.data(), back.d_keep.data(), back.d_past.data(), back.d_last.data(), d_through,
                             c, d_gates[0] + start, d_gates[1] + start, d_gates[2] + start);
        }
        for (int64_t l = 0; l < s.depth; ++l) {
          const int64_t at = 6 + l * kinds;
          std::copy(back.d_weights[l].begin(), back.d_weights[l].end(), matrix<T>(found[at], b, h));
          if (s.momentum)
            std::copy(back.d_surprise[l].begin(), back.d_surprise[l].end(), matrix<T>(found[at + 1], b, h));
          if (s.anchored)
            std::copy(back.d_anchor[l].begin(), back.d_anchor[l].end(), matrix<T>(found[at + kinds - 1], b, h));
        }
      }
    });
  });
  return found;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(titans_seq, library) {
  library.def(
      "scan_forward(Tensor q, Tensor k, Tensor v, Tensor theta, Tensor? eta, Tensor? alpha, Tensor[] weights, "
      "Tensor[] surprise, Tensor[] anchor, int chunk, float clip, bool keep) -> (Tensor, Tensor[], Tensor[], Tensor[])",
      &forward);
  library.def(
      "scan_extend(Tensor q, Tensor k, Tensor v, Tensor theta, Tensor? eta, Tensor? alpha, Tensor[] weights, "
      "Tensor[] surprise, Tensor[] anchor, Tensor[] inputs, Tensor[] errors, Tensor read_row, Tensor write_row, "
      "Tensor scales, int fill, float clip) -> (Tensor, Tensor[], Tensor[], Tensor[])",
      &extend);
  library.def(
      "scan_backward(Tensor d_y, Tensor[] d_weights, Tensor[] d_surprise, Tensor q, Tensor k, Tensor v, Tensor theta, "
      "Tensor? eta, Tensor? alpha, Tensor[] starts, Tensor[] anchor, int chunk, float clip) -> Tensor[]",
      &backward);
}
