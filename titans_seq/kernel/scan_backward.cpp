// The scan of scan.py for processors, backward.
//
// Same equations and names as functional.py; axes in scan.h. N chunks.
#include "scan.h"

namespace {

using namespace titans_seq;

template <typename T>
struct Backward {  // gradients of one row, chunk by chunk from the last
  Row<T>& row;
  const Sizes& s;
  std::vector<std::vector<T>> d_rooms;  // as row.rooms: of delta (C, O), then of A^T, D^T, S^T (J I, O)
  std::vector<std::vector<T>> matrices;  // A, D, S (O, J I)
  std::vector<std::vector<T>> d_inputs, d_outputs;
  std::vector<std::vector<T>> kept;  // of the chunks of a group
  std::vector<T> d_read, d_keep, d_past, d_last, room, more, d_left, d_scores, d_weight, d_turned;
  T d_through = 0;

  explicit Backward(Row<T>& row) : row(row), s(row.s) {
    const int64_t c = s.chunk;
    int64_t largest = 0;
    for (int64_t l = 0; l < s.depth; ++l) {
      d_rooms.emplace_back((c + s.read * s.in(l)) * s.out(l));
      matrices.emplace_back(s.out(l) * s.read * s.in(l));
      d_outputs.emplace_back(c * s.out(l));
      d_inputs.emplace_back(c * s.in(l));
      largest = std::max(largest, s.weight(l));
    }
    for (auto* each : {&d_read, &d_scores}) each->resize(c * c);
    for (auto* each : {&d_keep, &d_past, &d_last}) each->resize(c);
    for (auto* each : {&room, &more}) each->resize(c * s.widest);
    d_left.resize(c * s.read * s.widest);
    d_weight.resize(largest);
    d_turned.resize(s.carried * largest);
  }

  T* d_errors(int64_t l, int64_t c) { return d_rooms[l].data() + (s.chunk - c) * s.out(l); }
  T* d_anchor(int64_t l) { return d_errors(l, 0); }
  T* d_distance(int64_t l) { return d_errors(l, 0) + s.anchored * s.weight(l); }
  T* d_surprise(int64_t l) { return d_distance(l) + s.weight(l); }

  void open() {  // a group of rows that share an anchor
    for (int64_t l = 0; s.anchored && l < s.depth; ++l) std::fill_n(d_anchor(l), s.weight(l), T(0));
  }

  // the row's matrices behind the last token: gradients (O, I), none where nobody asks
  void load(const Tensors& d_weights, const Tensors& d_surprises, int64_t b, int64_t h) {
    for (int64_t l = 0; l < s.depth; ++l) {
      const int64_t in = s.in(l), out = s.out(l);
      if (d_weights.empty()) {
        std::fill_n(d_distance(l), s.carried * s.weight(l), T(0));
        continue;
      }
      transpose(out, in, matrix<T>(d_weights[l], b, h), in, d_distance(l), out);  // W = A + D
      for (int64_t i = 0; s.anchored && i < s.weight(l); ++i) d_anchor(l)[i] += d_distance(l)[i];
      if (s.momentum) transpose(out, in, matrix<T>(d_surprises[l], b, h), in, d_surprise(l), out);
    }
  }

  // gradients of what `Row::load` took, but for the anchor; D = W - A, unless W is A
  void store(const Tensors& d_weights, const Tensors& d_surprises, int64_t b, int64_t h) {
    for (int64_t l = 0; l < s.depth; ++l) {
      const int64_t in = s.in(l), out = s.out(l);
      if (!d_surprises.empty()) transpose(in, out, d_surprise(l), out, matrix<T>(d_surprises[l], b, h), in);
      if (d_weights.empty()) continue;
      transpose(in, out, d_distance(l), out, matrix<T>(d_weights[l], b, h), in);
      for (int64_t i = 0; s.anchored && i < s.weight(l); ++i) d_anchor(l)[i] -= d_distance(l)[i];
    }
  }

  void close(const Tensors& d_anchors, int64_t group, int64_t h) {
    for (int64_t l = 0; s.anchored && l < s.depth; ++l)
      transpose(s.in(l), s.out(l), d_anchor(l), s.out(l), start_of<T>(d_anchors[l], group, 0, h), s.in(l));
  }

  // what is carried at the start of the i-th chunk of a group: noted, and put back
  void keep(int64_t i) {
    if (static_cast<int64_t>(kept.size()) <= i) kept.resize(i + 1);
    kept[i].clear();
    for (int64_t l = 0; l < s.depth; ++l)
      kept[i].insert(kept[i].end(), row.distance(l), row.distance(l) + s.carried * s.weight(l));
  }

  void restore(int64_t i) {
    const T* from = kept[i].data();
    for (int64_t l = 0; l < s.depth; ++l) {
      std::copy_n(from, s.carried * s.weight(l), row.distance(l));
      from += s.carried * s.weight(l);
    }
  }

  void clear(int64_t c) {
    for (auto* each : {&d_read, &d_keep, &d_past, &d_last}) std::fill(each->begin(), each->end(), T(0));
    for (int64_t l = 0; l < s.depth; ++l) {
      std::fill_n(d_errors(l, c), c * s.out(l), T(0));
      std::fill_n(d_inputs[l].data(), c * s.in(l), T(0));
    }
    d_through = 0;
  }

  // D' = beta D + f S - (G_C o X)^T delta,  S' = m S - (N_C o X)^T delta
  void carry(View<T> k, int64_t start, int64_t c) {
    const Gates<T>& g = row.gates;
    const T keep = g.keep[c - 1], past = g.past[c - 1], through = g.through[c - 1];
    for (int64_t l = 0; l < s.depth; ++l) {
      const int64_t in = s.in(l), out = s.out(l), width = s.carried * in;
      const auto x = row.input(l, k, start);
      row.scale(l, x, c, g.read.data() + (c - 1) * c, g.wrote.data() + (c - 1) * c);
      product<T>(c, out, width, -1, plain<T>(row.scaled.data(), width), d_distance(l), out, false, d_errors(l, c), out);
      transpose(width, out, d_distance(l), out, d_turned.data(), width);
      product<T>(c, width, out, -1, plain<T>(row.errors(l, c), out), d_turned.data(), width, false, d_left.data(), width);
      for (int64_t t = 0; t < c; ++t) {
        const T *from = x.at(t), *d = d_left.data() + t * width;
        const T of_read = g.read[(c - 1) * c + t], of_write = g.wrote[(c - 1) * c + t];
        T* to = d_inputs[l].data() + t * in;
        d_read[(c - 1) * c + t] += dot(d, from, in);
        for (int64_t i = 0; i < in; ++i) to[i] = of_read * d[i];
        if (!s.momentum) continue;
        d_last[t] += dot(d + in, from, in);
        for (int64_t i = 0; i < in; ++i) to[i] += of_write * d[in + i];
      }
      if (!row.fresh) mix(l, c - 1, keep, past, through);
    }
  }

  // gradients of D, S and of the gates that mixed them
  void mix(int64_t l, int64_t last, T keep, T past, T through) {
    const int64_t count = s.weight(l);
    T* dd = d_distance(l);
    d_keep[last] += dot(dd, row.distance(l), count);
    if (s.momentum) {
      T* dm = d_surprise(l);
      d_past[last] += dot(dd, row.surprise(l), count);
      d_through += dot(dm, row.surprise(l), count);
      for (int64_t i = 0; i < count; ++i) dm[i] = past * dd[i] + through * dm[i];
    }
    for (int64_t i = 0; i < count; ++i) dd[i] *= keep;
  }

  // matrices of a layer as products with them from the right need them; `row.back_weights` becomes W (O, I)
  const T* turn(int64_t l) {
    if (row.fresh) return row.homes[l];
    const int64_t in = s.in(l), out = s.out(l), width = s.read * in;
    transpose(width, out, row.errors(l, 0), out, matrices[l].data(), width);
    T* w = row.back_weights[l].data();
    for (int64_t o = 0; o < out; ++o) {
      const T *a = matrices[l].data() + o * width, *d = a + in;
      if (s.anchored)
        for (int64_t i = 0; i < in; ++i) w[o * in + i] = a[i] + d[i];
      else
        std::copy_n(a, in, w + o * in);
    }
    return matrices[l].data();
  }

  // z = [-(x X^T) o G | x | beta x | f x] [delta; A^T; D^T; S^T]; d_z (c, O) becomes that of q
  void read(View<T> q, View<T> k, int64_t start, int64_t c, const T* d_y, int64_t ldy, T* d_q, int64_t ldq) {
    const Gates<T>& g = row.gates;
    const T* d_z = d_y;
    int64_t ldz = ldy;
    for (int64_t l = s.depth; l-- > 0;) {
      const int64_t in = s.in(l), out = s.out(l), width = row.blocks() * in, all = c + width;
      const View<const T> x = l ? View<const T>{row.seen[l].data(), in} : View<const T>{q.at(start), q.stride};
      const auto given = row.input(l, k, start);
      if (l + 1 == s.depth) row.prepare(l, x, c, given, c);
      const T* right = turn(l);
      // the left operand's gradient: scores, then what reads the matrices
      transpose(c, out, row.errors(l, c), out, room.data(), c);
      product<T>(c, c, out, -1, plain<T>(d_z, ldz), room.data(), c, false, d_scores.data(), c);
      product<T>(c, width, out, 1, plain<T>(d_z, ldz), right, width, false, d_left.data(), width);
      product<T>(all, out, c, 1, turned<T>(row.lefts[l].data(), all), d_z, ldz, true, d_errors(l, c), out);
      for (int64_t i = 0; i < c * c; ++i) {
        d_read[i] += d_scores[i] * row.scores[l][i];
        d_scores[i] *= g.read[i];
      }
      T* d_x = room.data();
      gather(x, d_left.data(), width, c, in, d_x);
      product<T>(c, in, c, 1, plain<T>(d_scores.data(), c), given.data, given.stride, true, d_x, in);
      product<T>(c, in, c, 1, turned<T>(d_scores.data(), c), x.data, x.stride, true, d_inputs[l].data(), in);
      if (l) {
        const T *z = row.hidden[l - 1].data(), *sigmoid = row.gated[l - 1].data();
        for (int64_t i = 0; i < c * in; ++i) more[i] = d_x[i] * row.slope(z[i], sigmoid[i]);
        d_z = more.data(), ldz = in;
      } else {
        for (int64_t t = 0; t < c; ++t) std::copy_n(d_x + t * in, in, d_q + t * ldq);
      }
    }
  }

  // d_x from the gradients of x, beta x and f x, and those of beta and f
  void gather(View<const T> x, const T* d_left, int64_t width, int64_t c, int64_t in, T* d_x) {
    const Gates<T>& g = row.gates;
    for (int64_t t = 0; t < c; ++t) {
      const T *d = d_left + t * width, *from = x.at(t);
      T* to = d_x + t * in;
      std::fill_n(to, in, T(0));
      if (s.anchored) std::copy_n(d, in, to), d += in;
      if (row.fresh) continue;
      d_keep[t] += dot(d, from, in);
      for (int64_t i = 0; i < in; ++i) to[i] += g.keep[t] * d[i];
      if (!s.momentum) continue;
      d += in;
      d_past[t] += dot(d, from, in);
      for (int64_t i = 0; i < in; ++i) to[i] += g.past[t] * d[i];
    }
  }

  // the memory's own forward and backward
  void write(View<T> k, int64_t start, int64_t c, T* d_k, int64_t ldk, T* d_v, int64_t ldv) {
    for (int64_t l = 0; l + 1 < s.depth; ++l) {
      const int64_t out = s.out(l), next = s.out(l + 1);
      T* d_error = d_errors(l, c);
      row.clip_backward(d_error, row.errors(l, c), row.shrinks[l].data(), c, out);
      const T *z = row.outputs[l].data(), *sigmoid = row.sigmoids[l].data(), *back = row.backs[l + 1].data();
      for (int64_t i = 0; i < c * out; ++i) {
        d_outputs[l][i] = d_error[i] * back[i] * row.curve(z[i], sigmoid[i]);
        d_error[i] *= row.slope(z[i], sigmoid[i]);
      }
      grow(l + 1, turned<T>(d_error, out), row.errors(l + 1, c), next, c);
      product<T>(c, next, out, 1, plain<T>(d_error, out), row.weight(l + 1), next, true, d_errors(l + 1, c), next);
    }
    const int64_t last = s.depth - 1, width = s.out(last);
    T* d_error = d_errors(last, c);
    row.clip_backward(d_error, row.errors(last, c), row.shrinks[last].data(), c, width);
    for (int64_t t = 0; t < c; ++t)
      for (int64_t i = 0; i < width; ++i) {
        const T d = 2 * d_error[t * width + i];
        d_outputs[last][t * width + i] = d;
        d_v[t * ldv + i] = -d;
      }
    for (int64_t l = s.depth; l-- > 0;) {
      const int64_t in = s.in(l), out = s.out(l);
      const auto x = row.input(l, k, start);
      const T* d_z = d_outputs[l].data();
      grow(l, turned<T>(x.data, x.stride), d_z, out, c);
      product<T>(c, in, out, 1, plain<T>(d_z, out), row.back_weight(l), in, true, d_inputs[l].data(), in);
      if (l) {
        const T *z = row.outputs[l - 1].data(), *sigmoid = row.sigmoids[l - 1].data();
        for (int64_t i = 0; i < c * in; ++i) d_outputs[l - 1][i] += d_inputs[l][i] * row.slope(z[i], sigmoid[i]);
      } else {
        for (int64_t t = 0; t < c; ++t) std::copy_n(d_inputs[0].data() + t * in, in, d_k + t * ldk);
      }
    }
  }

  // adds left (c, I)^T right (c, O) to the gradient of W = A + D
  void grow(int64_t l, Left<T> left, const T* right, int64_t ld, int64_t c) {
    const int64_t in = s.in(l), out = s.out(l);
    if (!s.anchored) return product<T>(in, out, c, 1, left, right, ld, true, d_distance(l), out);
    if (row.fresh) return product<T>(in, out, c, 1, left, right, ld, true, d_anchor(l), out);  // D is not asked for
    product<T>(in, out, c, 1, left, right, ld, false, d_weight.data(), out);
    T *a = d_anchor(l), *d = d_distance(l);
    for (int64_t i = 0; i < s.weight(l); ++i) a[i] += d_weight[i], d[i] += d_weight[i];
  }
};

// gradients of q, k, v, theta, eta, alpha, then per layer of the weights, the surprise and the anchor that were given; d_weights and d_surprise are empty where nobody asked for
// what lies behind the last token; `starts` as `scan_forward` returns them
Tensors backward(const Tensor& d_y, const Tensors& d_weights, const Tensors& d_surprise, const Tensor& q,
                 const Tensor& k, const Tensor& v, const Tensor& theta, const Optional& eta, const Optional& alpha,
                 const Tensors& weights, const Tensors& surprise, const Tensors& anchor, const Tensors& starts,
                 int64_t chunk, double clip, double shift, double scale) {
  const Sizes s(q, weights.empty() ? anchor : weights, eta.has_value(), alpha.has_value(), !anchor.empty(), std::min(chunk, q.size(2)), clip, shift, scale);
  const auto like = [&](int64_t width) {
    return at::empty({s.batch, s.length, s.heads, width}, q.options()).transpose(1, 2);
  };
  const auto gate = [&] { return at::empty({s.batch, s.heads, s.length}, q.options()); };
  Tensors found{like(s.widths[0]), like(s.widths[0]), like(s.widths.back()), gate(), gate(), gate()};
  // an anchor that rows share gets one sum per group of them, whatever the number of threads
  const int64_t group = s.group(q.element_size());
  const bool shared = s.anchored && anchor[0].size(0) == 1;
  const int64_t size = shared ? std::clamp<int64_t>(s.batch / 16, 1, 32) : 1, groups = (s.batch + size - 1) / size;
  Tensors of_weights, of_surprise, of_anchor;
  for (int64_t l = 0; l < s.depth; ++l) {
    const auto empty = [&](int64_t rows) { return at::empty({rows, 1, s.heads, s.out(l), s.in(l)}, q.options()); };
    if (!weights.empty()) of_weights.push_back(empty(s.batch).squeeze(1));
    if (!surprise.empty()) of_surprise.push_back(empty(s.batch).squeeze(1));
    if (s.anchored) of_anchor.push_back(empty(groups));
  }
  AT_DISPATCH_FLOATING_TYPES(q.scalar_type(), "scan_backward", [&] {
    using T = scalar_t;
    at::parallel_for(0, groups * s.heads, 1, [&](int64_t begin, int64_t end) {
      const FlushDenormals flushed;
      Row<T> row(s);
      Backward<T> back(row);
      const auto go_back = [&](int64_t b, int64_t h) {
        const View<T> q_r = slice<T>(q, b, h), k_r = slice<T>(k, b, h), v_r = slice<T>(v, b, h);
        const View<T> theta_r = slice<T>(theta, b, h), eta_r = s.momentum ? slice<T>(*eta, b, h) : View<T>{},
                      alpha_r = s.forget ? slice<T>(*alpha, b, h) : View<T>{};
        const View<T> dy_r = slice<T>(d_y, b, h), dq_r = slice<T>(found[0], b, h), dk_r = slice<T>(found[1], b, h),
                      dv_r = slice<T>(found[2], b, h);
        T* d_gates[3];
        for (int64_t i = 0; i < 3; ++i) d_gates[i] = slice<T>(found[3 + i], b, h).data;
        back.load(d_weights, d_surprise, b, h);
        row.load(weights, surprise, anchor, b, h);
        const auto begin_at = [&](int64_t n) { row.fresh = n == 0 && weights.empty(); };
        const auto enter = [&](int64_t first, int64_t end) {  // goes from a group's first chunk to its last
          if (first == 0 && s.chunks() > 1) row.load(weights, surprise, anchor, b, h);
          for (int64_t l = 0; first > 0 && l < s.depth; ++l)
            std::copy_n(start_of<T>(starts[l], first / group - 1, b, h), s.carried * s.weight(l), row.distance(l));
          begin_at(first);
          for (int64_t n = first; n + 1 < end; ++n) {
            back.keep(n - first);
            row.gates.fill(theta_r, eta_r, alpha_r, n * s.chunk, s.chunk);
            row.write(k_r, v_r, n * s.chunk, s.chunk);
            row.carry(k_r, n * s.chunk, s.chunk);
          }
        };
        for (int64_t n = s.chunks(), end = n; n-- > 0;) {
          const int64_t start = n * s.chunk, c = std::min(s.chunk, s.length - start), first = n / group * group;
          if (n + 1 == end) {
            enter(first, end);
            end = first;
          } else {
            back.restore(n - first);
          }
          begin_at(n);
          row.gates.fill(theta_r, eta_r, alpha_r, start, c);
          row.write(k_r, v_r, start, c);
          row.read(q_r, start, c, row.chunk_inputs(k_r, start), c, s.depth - 1, nullptr, 0);
          back.clear(c);
          if (start + c < s.length || !d_weights.empty()) back.carry(k_r, start, c);
          back.read(q_r, k_r, start, c, dy_r.at(start), dy_r.stride, dq_r.at(start), dq_r.stride);
          back.write(k_r, start, c, dk_r.at(start), dk_r.stride, dv_r.at(start), dv_r.stride);
          row.gates.backward(back.d_read.data(), back.d_keep.data(), back.d_past.data(), back.d_last.data(),
                             back.d_through, c, d_gates[0] + start, d_gates[1] + start, d_gates[2] + start);
        }
        back.store(of_weights, of_surprise, b, h);
      };
      for (int64_t unit = begin; unit < end; ++unit) {
        const int64_t h = unit / groups, one = unit % groups;
        back.open();
        for (int64_t b = one * size; b < std::min((one + 1) * size, s.batch); ++b) go_back(b, h);
        back.close(of_anchor, one, h);
      }
    });
  });
  const auto add = [&](const Tensors& gradients, const Tensors& given) {  // rows that share a matrix: their sum
    for (size_t l = 0; l < given.size(); ++l)
      found.push_back(gradients[l].size(0) > given[l].size(0) ? gradients[l].sum(0, true) : gradients[l]);
  };
  for (auto& gradient : of_anchor) gradient = gradient.squeeze(1);
  add(of_weights, weights);
  add(of_surprise, surprise);
  if (s.anchored) add(of_anchor, anchor);
  return found;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(titans_seq, library) {
  library.def(
      "scan_backward(Tensor d_y, Tensor[] d_weights, Tensor[] d_surprise, Tensor q, Tensor k, Tensor v, Tensor theta, "
      "Tensor? eta, Tensor? alpha, Tensor[] weights, Tensor[] surprise, Tensor[] anchor, Tensor[] starts, int chunk, "
      "float clip, float shift, float scale) -> Tensor[]",
      &backward);
}
