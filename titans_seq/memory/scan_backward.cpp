// The scan of scan.py for processors, backward.
//
// Same equations and names as functional.py. Axes: B batch, H heads, T tokens, C chunk, c tokens of this chunk,
// D features of a head, I / O inputs / outputs of a layer. Matrices are row-major; S is the surprise.
#include "scan.h"

namespace {

using namespace titans_seq;

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
      "scan_backward(Tensor d_y, Tensor[] d_weights, Tensor[] d_surprise, Tensor q, Tensor k, Tensor v, Tensor theta, "
      "Tensor? eta, Tensor? alpha, Tensor[] starts, Tensor[] anchor, int chunk, float clip) -> Tensor[]",
      &backward);
}
