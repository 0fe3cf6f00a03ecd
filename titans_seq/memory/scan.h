// One (batch, head) row of the scan, for processors: a thread takes whole rows, so a chunk never leaves its cache.
//
// Same equations and names as functional.py. Axes: B batch, H heads, T tokens, C chunk, c tokens of this chunk,
// D features of a head, I / O inputs / outputs of a layer. Matrices are row-major; S is the surprise.
#pragma once

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <tuple>
#include <vector>

#include "vector.h"

extern "C" {
void sgemm_(const char*, const char*, const int*, const int*, const int*, const float*, const float*, const int*,
            const float*, const int*, const float*, float*, const int*);
void dgemm_(const char*, const char*, const int*, const int*, const int*, const double*, const double*, const int*,
            const double*, const int*, const double*, double*, const int*);
}

namespace titans_seq {

using at::Tensor;
using Tensors = std::vector<Tensor>;
using Optional = std::optional<Tensor>;

// the matrix product of the library that torch brings along, column-major
inline void gemm(const char* ta, const char* tb, const int* m, const int* n, const int* k, const float* alpha, const float* a,
          const int* lda, const float* b, const int* ldb, const float* beta, float* c, const int* ldc) {
  sgemm_(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
inline void gemm(const char* ta, const char* tb, const int* m, const int* n, const int* k, const double* alpha,
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

}  // namespace titans_seq
