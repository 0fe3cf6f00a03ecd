// The scan of scan.py for processors, forward: over whole sequences, and into the open chunk of a stream.
//
// Same equations and names as functional.py; axes in scan.h. N chunks.
#include "scan.h"

namespace {

using namespace titans_seq;

// y (B, H, T, D); weights and surprise behind the last token (B, H, O, I); and, to go backwards, per layer the matrices
// that are carried at the start of each group of chunks but the first (groups - 1, B, H, M I, O)
std::tuple<Tensor, Tensors, Tensors, Tensors> forward(const Tensor& q, const Tensor& k, const Tensor& v,
                                                      const Tensor& theta, const Optional& eta, const Optional& alpha,
                                                      const Tensors& weights, const Tensors& surprise,
                                                      const Tensors& anchor, int64_t chunk, double clip, bool keep) {
  const Sizes s(q, weights.empty() ? anchor : weights, eta.has_value(), alpha.has_value(), !anchor.empty(), std::min(chunk, q.size(2)), clip);
  Tensor y = at::empty({s.batch, s.length, s.heads, s.widths.back()}, q.options()).transpose(1, 2);
  Tensors weights_out, surprise_out, starts;
  const int64_t group = s.group(q.element_size());
  for (int64_t l = 0; l < s.depth; ++l) {
    weights_out.push_back(at::empty({s.batch, s.heads, s.out(l), s.in(l)}, q.options()));
    if (s.momentum) surprise_out.push_back(at::empty({s.batch, s.heads, s.out(l), s.in(l)}, q.options()));
    if (keep) starts.push_back(at::empty({(s.chunks() - 1) / group, s.batch, s.heads, s.carried * s.in(l), s.out(l)}, q.options()));
  }
  AT_DISPATCH_FLOATING_TYPES(q.scalar_type(), "scan_forward", [&] {
    using T = scalar_t;
    at::parallel_for(0, s.batch * s.heads, 1, [&](int64_t begin, int64_t end) {
      const FlushDenormals flushed;
      Row<T> row(s);
      for (int64_t r = begin; r < end; ++r) {
        const int64_t h = r / s.batch, b = r % s.batch;  // rows that share an anchor one after the other
        const View<T> q_r = slice<T>(q, b, h), k_r = slice<T>(k, b, h), v_r = slice<T>(v, b, h), y_r = slice<T>(y, b, h);
        const View<T> theta_r = slice<T>(theta, b, h), eta_r = s.momentum ? slice<T>(*eta, b, h) : View<T>{},
                      alpha_r = s.forget ? slice<T>(*alpha, b, h) : View<T>{};
        row.load(weights, surprise, anchor, b, h);
        for (int64_t n = 0; n < s.chunks(); ++n) {
          const int64_t start = n * s.chunk, c = std::min(s.chunk, s.length - start);
          for (int64_t l = 0; keep && n > 0 && n % group == 0 && l < s.depth; ++l)
            std::copy_n(row.distance(l), s.carried * s.weight(l), start_of<T>(starts[l], n / group - 1, b, h));
          row.gates.fill(theta_r, eta_r, alpha_r, start, c);
          row.write(k_r, v_r, start, c);
          row.read(q_r, start, c, row.chunk_inputs(k_r, start), c, s.depth, y_r.at(start), y_r.stride);
          row.carry(k_r, start, c);
        }
        row.store(weights_out, surprise_out, b, h);
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
  const int64_t c = q.size(2), slots = fill + c;
  const Sizes s(q, weights.empty() ? anchor : weights, eta.has_value(), alpha.has_value(), !anchor.empty(), slots, clip);
  Tensor y = at::empty({s.batch, s.length, s.heads, s.widths.back()}, q.options()).transpose(1, 2);
  Tensors inputs_out, errors_out, rows_out;
  const auto copy = [](const Tensor& t) { return t.clone(at::MemoryFormat::Contiguous); };
  for (const auto& t : {read_row, write_row, scales}) rows_out.push_back(copy(t));
  for (int64_t l = 0; l < s.depth; ++l) {
    inputs_out.push_back(copy(inputs[l]));
    errors_out.push_back(copy(errors[l]));
  }
  AT_DISPATCH_FLOATING_TYPES(q.scalar_type(), "scan_extend", [&] {
    using T = scalar_t;
    at::parallel_for(0, s.batch * s.heads, s.length > 1 ? 1 : s.batch * s.heads, [&](int64_t begin, int64_t end) {
      const FlushDenormals flushed;
      Row<T> row(s);
      Gates<T>& gates = row.gates;
      for (int64_t r = begin; r < end; ++r) {
        const int64_t h = r / s.batch, b = r % s.batch;  // rows that share an anchor one after the other
        const View<T> q_r = slice<T>(q, b, h), k_r = slice<T>(k, b, h), v_r = slice<T>(v, b, h), y_r = slice<T>(y, b, h);
        const View<T> theta_r = slice<T>(theta, b, h), eta_r = s.momentum ? slice<T>(*eta, b, h) : View<T>{},
                      alpha_r = s.forget ? slice<T>(*alpha, b, h) : View<T>{};
        T *read_r = slice<T>(rows_out[0], b, h).data, *write_r = slice<T>(rows_out[1], b, h).data,
          *scale = slice<T>(rows_out[2], b, h).data;
        for (int64_t t = 0; t < c; ++t) {
          const T stay = s.forget ? 1 - *alpha_r.at(t) : T(1), carried = s.momentum ? *eta_r.at(t) : T(0);
          write_r[fill + t] = *theta_r.at(t);
          for (int64_t i = 0; i < fill + t; ++i) write_r[i] *= carried;
          for (int64_t i = 0; i <= fill + t; ++i) read_r[i] = stay * read_r[i] + write_r[i];
          scale[0] *= stay;
          if (s.momentum) scale[2] *= carried, scale[1] = stay * scale[1] + scale[2];
          std::copy_n(read_r, slots, gates.read.begin() + t * slots);
          gates.keep[t] = scale[0], gates.past[t] = scale[1];
        }
        if (!s.momentum) std::fill_n(write_r, slots, T(0));  // no later token hears of it
        row.load(weights, surprise, anchor, b, h);
        row.write(k_r, v_r, 0, c);
        std::vector<View<const T>> given;
        for (int64_t l = 0; l < s.depth; ++l) {
          T *x = matrix<T>(inputs_out[l], b, h), *error = matrix<T>(errors_out[l], b, h);
          const auto own = row.input(l, k_r, 0);
          for (int64_t t = 0; t < c; ++t) std::copy_n(own.at(t), s.in(l), x + (fill + t) * s.in(l));
          std::copy_n(row.errors(l, c), c * s.out(l), error + fill * s.out(l));
          std::copy_n(error, fill * s.out(l), row.errors(l, slots));
          given.push_back({x, s.in(l)});
        }
        row.read(q_r, 0, c, given, slots, s.depth, y_r.data, y_r.stride);
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
