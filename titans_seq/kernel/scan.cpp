// The scan of scan.py for processors, forward: over whole sequences, and on from the middle of a stream.
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
                                                      const Tensors& anchor, int64_t chunk, double clip, double shift,
                                                      double scale, bool keep) {
  const Sizes s(q, weights.empty() ? anchor : weights, eta.has_value(), alpha.has_value(), !anchor.empty(), std::min(chunk, q.size(2)), clip, shift, scale);
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

// One row's open chunk: what it has written, and the last rows of its gates; see `stream.StreamState`.
template <typename T>
struct OpenChunk {
  std::vector<T*> inputs, errors;  // (C, I), (C, O) per layer
  T *read, *write, *scale;         // (C), (C), (3)

  OpenChunk(const Tensors& inputs_in, const Tensors& errors_in, const Tensors& rows, int64_t b, int64_t h)
      : read(matrix<T>(rows[0], b, h)), write(matrix<T>(rows[1], b, h)), scale(matrix<T>(rows[2], b, h)) {
    for (const auto& x : inputs_in) inputs.push_back(matrix<T>(x, b, h));
    for (const auto& e : errors_in) errors.push_back(matrix<T>(e, b, h));
  }

  void clear(const Sizes& s) {
    for (int64_t l = 0; l < s.depth; ++l) {
      std::fill_n(inputs[l], s.chunk * s.in(l), T(0));
      std::fill_n(errors[l], s.chunk * s.out(l), T(0));
    }
    std::fill_n(read, s.chunk, T(0));
    std::fill_n(write, s.chunk, T(0));
    scale[0] = scale[2] = 1, scale[1] = 0;
  }

  std::vector<View<const T>> views(const Sizes& s) const {
    std::vector<View<const T>> given;
    for (int64_t l = 0; l < s.depth; ++l) given.push_back({inputs[l], s.in(l)});
    return given;
  }
};

template <typename T>
struct TokenViews {
  View<T> q, k, v, theta, eta, alpha, y;
};

// c tokens from `start` on into the slots of an open chunk behind the `fill` that are taken
template <typename T>
void extend(Row<T>& row, OpenChunk<T>& open, const TokenViews<T>& of, int64_t start, int64_t c, int64_t fill) {
  const Sizes& s = row.s;
  const int64_t slots = fill + c;
  Gates<T>& gates = row.gates;
  for (int64_t t = 0; t < c; ++t) {
    const T stay = s.forget ? 1 - *of.alpha.at(start + t) : T(1), carried = s.momentum ? *of.eta.at(start + t) : T(0);
    open.write[fill + t] = *of.theta.at(start + t);
    for (int64_t i = 0; i < fill + t; ++i) open.write[i] *= carried;
    for (int64_t i = 0; i <= fill + t; ++i) open.read[i] = stay * open.read[i] + open.write[i];
    open.scale[0] *= stay;
    if (s.momentum) open.scale[2] *= carried, open.scale[1] = stay * open.scale[1] + open.scale[2];
    std::copy_n(open.read, slots, gates.read.begin() + t * slots);
    gates.keep[t] = open.scale[0], gates.past[t] = open.scale[1];
  }
  if (!s.momentum) std::fill_n(open.write, slots, T(0));  // no later token hears of it
  row.write(of.k, of.v, start, c);
  for (int64_t l = 0; l < s.depth; ++l) {
    T *x = open.inputs[l], *error = open.errors[l];
    const auto own = row.input(l, of.k, start);
    for (int64_t t = 0; t < c; ++t) std::copy_n(own.at(t), s.in(l), x + (fill + t) * s.in(l));
    std::copy_n(row.errors(l, c), c * s.out(l), error + fill * s.out(l));
    std::copy_n(error, fill * s.out(l), row.errors(l, slots));
  }
  row.read(of.q, start, c, open.views(s), slots, s.depth, of.y.at(start), of.y.stride);
}

// tokens of rows of different `lengths` that stand behind `fill` tokens of their open chunk, (B) int64; see
// `stream.advance`. `inputs`, `errors`: (B, H, C, I) and (B, H, C, O) per layer; `rows`: the last rows of the gates,
// (B, H, C) twice and (B, H, 3) -> y, zero past a row's length, and the same behind the tokens: weights and surprise
// (none where no row has closed its chunk: they are as before), inputs, errors, rows
std::tuple<Tensor, Tensors, Tensors, Tensors, Tensors, Tensors> stream(
    const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& theta, const Optional& eta, const Optional& alpha,
    const Tensors& weights, const Tensors& surprise, const Tensors& anchor, const Tensors& inputs,
    const Tensors& errors, const Tensors& rows, const Tensor& fill, const Tensor& lengths, double clip,
    double shift, double scale) {
  const int64_t size = inputs[0].size(2);
  const int64_t *fills = fill.const_data_ptr<int64_t>(), *counts = lengths.const_data_ptr<int64_t>();
  int64_t most = 1;
  bool whole = true;
  for (int64_t b = 0; b < q.size(0); ++b) {
    TORCH_CHECK(0 <= fills[b] && fills[b] < size && 0 <= counts[b] && counts[b] <= q.size(2), "wrong fill or length");
    most = std::max(most, fills[b] + counts[b]), whole &= counts[b] == q.size(2);
  }
  const bool closes = most >= size;
  const Tensors& given = weights.empty() ? anchor : weights;
  const Sizes s(q, given, eta.has_value(), alpha.has_value(), !anchor.empty(), std::min(most, size), clip, shift, scale);
  const auto room = whole ? at::empty({s.batch, s.length, s.heads, s.widths.back()}, q.options())
                          : at::zeros({s.batch, s.length, s.heads, s.widths.back()}, q.options());
  const Tensor y = room.transpose(1, 2);
  const auto copies = [](const Tensors& of) {
    Tensors found;
    for (const auto& t : of) found.push_back(t.clone(at::MemoryFormat::Contiguous));
    return found;
  };
  const Tensors inputs_out = copies(inputs), errors_out = copies(errors), rows_out = copies(rows);
  Tensors weights_out, surprise_out;
  for (int64_t l = 0; closes && l < s.depth; ++l)
    for (auto* out : {&weights_out, &surprise_out})
      if (s.momentum || out == &weights_out) out->push_back(at::empty({s.batch, s.heads, s.out(l), s.in(l)}, q.options()));
  AT_DISPATCH_FLOATING_TYPES(q.scalar_type(), "scan_stream", [&] {
    using T = scalar_t;
    at::parallel_for(0, s.batch * s.heads, s.length > 1 ? 1 : s.batch * s.heads, [&](int64_t begin, int64_t end) {
      const FlushDenormals flushed;
      Row<T> row(s);
      for (int64_t r = begin; r < end; ++r) {
        const int64_t h = r / s.batch, b = r % s.batch;  // rows that share an anchor one after the other
        const TokenViews<T> of{slice<T>(q, b, h), slice<T>(k, b, h), slice<T>(v, b, h), slice<T>(theta, b, h),
                               s.momentum ? slice<T>(*eta, b, h) : View<T>{},
                               s.forget ? slice<T>(*alpha, b, h) : View<T>{}, slice<T>(y, b, h)};
        OpenChunk<T> open(inputs_out, errors_out, rows_out, b, h);
        row.load(weights, surprise, anchor, b, h);
        int64_t taken = fills[b];
        for (int64_t start = 0, c; start < counts[b]; start += c) {
          c = std::min(size - taken, counts[b] - start);
          if (c == size) {
            row.gates.fill(of.theta, of.eta, of.alpha, start, c);
            row.write(of.k, of.v, start, c);
            row.read(of.q, start, c, row.chunk_inputs(of.k, start), c, s.depth, of.y.at(start), of.y.stride);
            row.carry(of.k, start, c);
            continue;
          }
          extend(row, open, of, start, c, taken);
          taken = (taken + c) % size;
          if (taken > 0) continue;
          row.carry(open.views(s), size, open.read, open.write, open.scale[0], open.scale[1], open.scale[2]);
          open.clear(s);
        }
        if (!closes) continue;
        if (fills[b] + counts[b] >= size)
          row.store(weights_out, surprise_out, b, h);
        else
          for (int64_t l = 0; l < s.depth; ++l) {
            std::copy_n(matrix<T>(given[l], b, h), s.weight(l), matrix<T>(weights_out[l], b, h));
            if (!s.momentum) continue;
            T* to = matrix<T>(surprise_out[l], b, h);
            if (surprise.empty()) std::fill_n(to, s.weight(l), T(0));
            else std::copy_n(matrix<T>(surprise[l], b, h), s.weight(l), to);
          }
      }
    });
  });
  return {y, weights_out, surprise_out, inputs_out, errors_out, rows_out};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(titans_seq, library) {
  library.def(
      "scan_forward(Tensor q, Tensor k, Tensor v, Tensor theta, Tensor? eta, Tensor? alpha, Tensor[] weights, "
      "Tensor[] surprise, Tensor[] anchor, int chunk, float clip, float shift, float scale, "
      "bool keep) -> (Tensor, Tensor[], Tensor[], Tensor[])",
      &forward);
  library.def(
      "scan_stream(Tensor q, Tensor k, Tensor v, Tensor theta, Tensor? eta, Tensor? alpha, Tensor[] weights, "
      "Tensor[] surprise, Tensor[] anchor, Tensor[] inputs, Tensor[] errors, Tensor[] rows, Tensor fill, "
      "Tensor lengths, float clip, float shift, float scale) -> (Tensor, Tensor[], Tensor[], Tensor[], Tensor[], Tensor[])",
      &stream);
}
