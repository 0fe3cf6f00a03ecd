// One (batch, head) row of the scan, for processors: a thread takes whole rows, so a chunk never leaves its cache.
//
// Same equations as functional.py, arranged for few products, as in scan.py: the matrices that a layer is read with
// stand below one another, A, D = W - A and S, and above them what the chunk wrote, so that a read is one product
//
//   z = [-(x X^T) o G | x | beta x | f x] [delta; A^T; D^T; S^T]
//
// Axes: B batch, H heads, T tokens, C chunk, c tokens of this chunk, D features of a head, I / O inputs / outputs of a
// layer, J matrices that are read (A, D, S; without an anchor A is zero and left out), M that are carried (D, S).
#pragma once

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <tuple>
#include <vector>

#include "gates.h"
#include "product.h"
#include "vector.h"

namespace titans_seq {

using at::Tensor;
using Tensors = std::vector<Tensor>;
using Optional = std::optional<Tensor>;

template <typename T>
View<T> slice(const Tensor& t, int64_t b, int64_t h) {
  return {t.mutable_data_ptr<T>() + b * t.stride(0) + h * t.stride(1), t.stride(2)};
}

template <typename T>
T* matrix(const Tensor& t, int64_t b, int64_t h) {  // of (B, H, O, I), or (1, H, O, I) that all rows share
  return t.mutable_data_ptr<T>() + (t.size(0) > 1 ? b * t.stride(0) : 0) + h * t.stride(1);
}

template <typename T>
T* start_of(const Tensor& t, int64_t n, int64_t b, int64_t h) {
  return t.mutable_data_ptr<T>() + n * t.stride(0) + b * t.stride(1) + h * t.stride(2);
}

constexpr int64_t GROUP = 1 << 18;  // bytes of the matrices of a group of chunks: they are to stay in a near cache

struct Sizes {
  int64_t batch, heads, length, chunk, depth;
  std::vector<int64_t> widths;  // D, hidden ..., D
  int64_t widest;
  bool momentum, forget, anchored;
  double clip, shift, scale;  // between the layers: scale (silu(z - shift) - silu(-shift))
  int64_t carried, read;  // M, J

  // `weights`: or, where they are the same, the anchor
  Sizes(const Tensor& q, const Tensors& weights, bool momentum, bool forget, bool anchored, int64_t chunk, double clip,
        double shift, double scale)
      : batch(q.size(0)), heads(q.size(1)), length(q.size(2)), chunk(chunk), depth(weights.size()), widths{q.size(3)},
        widest(q.size(3)), momentum(momentum), forget(forget), anchored(anchored), clip(clip), shift(shift), scale(scale),
        carried(1 + momentum), read(carried + anchored) {
    for (const auto& w : weights) widths.push_back(w.size(-2)), widest = std::max(widest, w.size(-2));
  }
  int64_t in(int64_t l) const { return widths[l]; }
  int64_t out(int64_t l) const { return widths[l + 1]; }
  int64_t weight(int64_t l) const { return in(l) * out(l); }
  int64_t chunks() const { return (length + chunk - 1) / chunk; }
  // chunks that go backwards together: of the first alone the matrices are kept. Short chunks have so little to compute
  // that doing it again takes less time than writing matrices to memory and reading them back
  int64_t group(size_t bytes) const {
    int64_t count = 0;
    for (int64_t l = 0; l < depth; ++l) count += carried * weight(l);
    return chunk > 16 ? 1 : std::clamp<int64_t>(GROUP / (count * bytes), 1, 16);
  }
};

template <typename T>
struct Row {  // one (batch, head): its weights, and room for one chunk
  using Room = std::vector<std::vector<T>>;
  const Sizes& s;
  Gates<T> gates;
  bool fresh = false;  // D and S are zero so far
  Room rooms;                                 // delta (C, O), then A^T, D^T, S^T (J I, O)
  Room weights;                               // W^T (I, O), with an anchor
  Room back_weights;                          // W (O, I)
  Room outputs, sigmoids, inputs, backs, shrinks, hidden, gated, seen;
  Room turned_inputs;                         // X^T (I, C)
  Room scores;                                // x X^T (c, slots)
  Room lefts;                                 // [-(x X^T) o G | x | beta x | f x] (c, slots + J I)
  std::vector<T> scaled;                      // [G_C o X | N_C o X] (c, M I)
  std::vector<const T*> homes;                // A (O, I), as given

  explicit Row(const Sizes& s) : s(s), gates(s.chunk), scaled(s.chunk * s.carried * s.widest), homes(s.depth) {
    const int64_t c = s.chunk;
    for (int64_t l = 0; l < s.depth; ++l) {
      rooms.emplace_back((c + s.read * s.in(l)) * s.out(l));
      weights.emplace_back(s.anchored ? s.weight(l) : 0);
      back_weights.emplace_back(s.weight(l));
      for (auto* room : {&outputs, &sigmoids, &hidden, &gated}) room->emplace_back(c * s.out(l));
      for (auto* room : {&inputs, &backs, &seen, &turned_inputs}) room->emplace_back(c * s.in(l));
      shrinks.emplace_back(c);
      scores.emplace_back(c * c);
      lefts.emplace_back(c * (c + s.read * s.in(l)));
    }
  }

  // delta of the last `slots` tokens, with the matrices right behind them
  T* errors(int64_t l, int64_t slots) { return rooms[l].data() + (s.chunk - slots) * s.out(l); }
  T* anchor(int64_t l) { return errors(l, 0); }
  T* distance(int64_t l) { return errors(l, 0) + s.anchored * s.weight(l); }
  T* surprise(int64_t l) { return distance(l) + s.weight(l); }
  const T* weight(int64_t l) { return !s.anchored ? distance(l) : fresh ? anchor(l) : weights[l].data(); }
  const T* back_weight(int64_t l) { return fresh ? homes[l] : back_weights[l].data(); }

  // the row's matrices (O, I): weights (none: the anchor), surprise (none: zero) and anchor
  void load(const Tensors& weights_in, const Tensors& surprise_in, const Tensors& anchor_in, int64_t b, int64_t h) {
    fresh = weights_in.empty();
    for (int64_t l = 0; l < s.depth; ++l) {
      const int64_t in = s.in(l), out = s.out(l), count = s.weight(l);
      const T* home = s.anchored ? matrix<T>(anchor_in[l], b, h) : nullptr;
      if (home != homes[l]) transpose(out, in, home, in, anchor(l), out);
      homes[l] = home;
      if (fresh) continue;
      transpose(out, in, matrix<T>(weights_in[l], b, h), in, distance(l), out);
      for (int64_t i = 0; s.anchored && i < count; ++i) distance(l)[i] -= anchor(l)[i];
      if (!s.momentum) continue;
      if (surprise_in.empty())
        std::fill_n(surprise(l), count, T(0));
      else
        transpose(out, in, matrix<T>(surprise_in[l], b, h), in, surprise(l), out);
    }
  }

  void store(const Tensors& weights_out, const Tensors& surprise_out, int64_t b, int64_t h) {
    for (int64_t l = 0; l < s.depth; ++l) {
      add_anchor(l);
      transpose(s.in(l), s.out(l), weight(l), s.out(l), matrix<T>(weights_out[l], b, h), s.in(l));
      if (s.momentum) transpose(s.in(l), s.out(l), surprise(l), s.out(l), matrix<T>(surprise_out[l], b, h), s.in(l));
    }
  }

  void add_anchor(int64_t l) {  // W = A + D
    if (!s.anchored || fresh) return;
    T* w = weights[l].data();
    const T *a = anchor(l), *d = distance(l);
    for (int64_t i = 0; i < s.weight(l); ++i) w[i] = a[i] + d[i];
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

  // of `activate`, and its derivative, by what that has left
  T slope(T z, T sigmoid) const { return T(s.scale) * sigmoid * (1 + z * (1 - sigmoid)); }
  T curve(T z, T sigmoid) const {
    const T rest = 1 - sigmoid;
    return T(s.scale) * sigmoid * rest * (2 + z * (rest - sigmoid));
  }
  void activate(T* z, T* sigmoid, T* out, int64_t count) const {
    shifted_silu(z, sigmoid, out, count, T(s.shift), T(s.scale));
  }

  // X_l of the layers: the keys, then what lies between
  View<const T> input(int64_t l, View<T> k, int64_t start) const {
    return l ? View<const T>{inputs[l].data(), s.in(l)} : View<const T>{k.at(start), k.stride};
  }

  void write(View<T> k, View<T> v, int64_t start, int64_t c) {
    const int64_t last = s.depth - 1, width = s.out(last);
    for (int64_t l = 0; l < s.depth; ++l) {
      const auto x = input(l, k, start);
      add_anchor(l);
      product<T>(c, s.out(l), s.in(l), 1, plain(x.data, x.stride), weight(l), s.out(l), false, outputs[l].data(), s.out(l));
      if (l < last) activate(outputs[l].data(), sigmoids[l].data(), inputs[l + 1].data(), c * s.out(l));
    }
    T* error = errors(last, c);
    for (int64_t t = 0; t < c; ++t)
      for (int64_t i = 0; i < width; ++i) error[t * width + i] = 2 * (outputs[last][t * width + i] - v.at(start + t)[i]);
    clip(error, shrinks[last].data(), c, width);
    for (int64_t l = last; l-- > 0;) {
      const int64_t out = s.out(l), next = s.out(l + 1);
      T* back = backs[l + 1].data();
      if (!fresh) transpose(out, next, weight(l + 1), next, back_weights[l + 1].data(), out);
      product<T>(c, out, next, 1, plain<T>(error, next), back_weight(l + 1), out, false, back, out);
      error = errors(l, c);
      for (int64_t i = 0; i < c * out; ++i) error[i] = back[i] * slope(outputs[l][i], sigmoids[l][i]);
      clip(error, shrinks[l].data(), c, out);
    }
  }

  // layers up to `layers` of the read, the last of them into out; keeps what each layer reads. `given`: X_l of `slots`
  // tokens, whose errors stand in `errors` and whose shares in gates.read (c, slots)
  void read(View<T> q, int64_t start, int64_t c, const std::vector<View<const T>>& given, int64_t slots, int64_t layers,
            T* result, int64_t ld_result) {
    for (int64_t l = 0; l < layers; ++l) {
      const int64_t in = s.in(l), out = s.out(l);
      const View<const T> x = l ? View<const T>{seen[l].data(), in} : View<const T>{q.at(start), q.stride};
      prepare(l, x, c, given[l], slots);
      const bool final = l + 1 == s.depth;
      T* z = final ? result : hidden[l].data();
      const int64_t width = slots + blocks() * in;
      product<T>(c, out, width, 1, plain<T>(lefts[l].data(), width), errors(l, slots), out, false, z, final ? ld_result : out);
      if (!final) activate(z, gated[l].data(), seen[l + 1].data(), c * out);
    }
  }

  int64_t blocks() const { return fresh ? 1 : s.read; }  // that are not zero

  // X^T, x X^T and the left operand of a layer's read
  void prepare(int64_t l, View<const T> x, int64_t c, View<const T> given, int64_t slots) {
    const int64_t in = s.in(l), width = slots + blocks() * in;
    transpose(slots, in, given.data, given.stride, turned_inputs[l].data(), slots);
    product<T>(c, slots, in, 1, plain(x.data, x.stride), turned_inputs[l].data(), slots, false, scores[l].data(), slots);
    for (int64_t t = 0; t < c; ++t) {
      T* left = lefts[l].data() + t * width;
      const T *score = scores[l].data() + t * slots, *g = gates.read.data() + t * slots, *from = x.data + t * x.stride;
      for (int64_t i = 0; i < slots; ++i) left[i] = -score[i] * g[i];
      left += slots;
      if (s.anchored) std::copy(from, from + in, left), left += in;
      if (fresh) continue;
      for (int64_t i = 0; i < in; ++i) left[i] = gates.keep[t] * from[i];
      left += in;
      for (int64_t i = 0; s.momentum && i < in; ++i) left[i] = gates.past[t] * from[i];
    }
  }

  // D' = beta D + f S - (G_C o X)^T delta,  S' = m S - (N_C o X)^T delta
  void carry(View<T> k, int64_t start, int64_t c) {
    const T *g = gates.read.data() + (c - 1) * c, *n = gates.wrote.data() + (c - 1) * c;
    carry(chunk_inputs(k, start), c, g, n, gates.keep[c - 1], gates.past[c - 1], gates.through[c - 1]);
  }

  // the same of X_l of c tokens, whose errors stand in `errors`, with the last rows g and n of the gates
  void carry(const std::vector<View<const T>>& given, int64_t c, const T* g, const T* n, T keep, T past, T through) {
    for (int64_t l = 0; l < s.depth; ++l) {
      T *d = distance(l), *m = surprise(l);
      if (s.momentum && !fresh)
        for (int64_t i = 0; i < s.weight(l); ++i) d[i] = keep * d[i] + past * m[i], m[i] *= through;
      else if (!fresh)
        for (int64_t i = 0; i < s.weight(l); ++i) d[i] *= keep;
      scale(l, given[l], c, g, n);
      product<T>(s.carried * s.in(l), s.out(l), c, -1, turned<T>(scaled.data(), s.carried * s.in(l)), errors(l, c), s.out(l),
                 !fresh, d, s.out(l));
    }
    fresh = false;
  }

  void scale(int64_t l, View<const T> x, int64_t c, const T* g, const T* n) {
    const int64_t in = s.in(l);
    for (int64_t t = 0; t < c; ++t) {
      T* to = scaled.data() + t * s.carried * in;
      const T* from = x.data + t * x.stride;
      for (int64_t i = 0; i < in; ++i) to[i] = g[t] * from[i];
      for (int64_t i = 0; s.momentum && i < in; ++i) to[in + i] = n[t] * from[i];
    }
  }

  std::vector<View<const T>> chunk_inputs(View<T> k, int64_t start) const {
    std::vector<View<const T>> given;
    for (int64_t l = 0; l < s.depth; ++l) given.push_back(input(l, k, start));
    return given;
  }
};

}  // namespace titans_seq
