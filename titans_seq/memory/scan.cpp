// The scan of scan.py for processors, forward: over whole sequences, and into the open chunk of a stream.
//
// Same equations and names as functional.py. Axes: B batch, H heads, T tokens, C chunk, c tokens of this chunk,
// D features of a head, I / O inputs / outputs of a layer. Matrices are row-major; S is the surprise.
#include "scan.h"

namespace {

using namespace titans_seq;

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
}
