// Behind the memory, in one pass: root mean square norm of each head, times the gate.
//
// Axes: B batch, T tokens, H heads, D features of a head.
#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <tuple>
#include <vector>

#include "vector.h"

namespace {

using at::Tensor;
constexpr int64_t PIECES = 64;  // of the tokens; the weight's gradient is summed in their order, whatever the threads

// y (B, H, T, D), gate (B, T, H D), weight (D) -> (B, T, H D)
Tensor forward(const Tensor& y, const Tensor& gate, const Tensor& weight) {
  const int64_t batch = y.size(0), heads = y.size(1), length = y.size(2), size = y.size(3);
  Tensor out = at::empty({batch, length, heads * size}, y.options());
  AT_DISPATCH_FLOATING_TYPES(y.scalar_type(), "gate_forward", [&] {
    using T = scalar_t;
    const T* w = weight.const_data_ptr<T>();
    const T *all_y = y.const_data_ptr<T>(), *all_gates = gate.const_data_ptr<T>();
    T* all_out = out.mutable_data_ptr<T>();
    const int64_t next_b = y.stride(0), next_h = y.stride(1), next_t = y.stride(2);
    at::parallel_for(0, batch * length, 256, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row)
        for (int64_t h = 0; h < heads; ++h) {
          const int64_t b = row / length, t = row % length, at = (row * heads + h) * size;
          const T *from = all_y + b * next_b + h * next_h + t * next_t, *g = all_gates + at;
          T* to = all_out + at;
          const T scale = scale_of(from, size);
          for (int64_t i = 0; i < size; ++i) to[i] = scale * from[i] * w[i] * g[i];
        }
    });
  });
  return out;
}

// gradients of y, gate and weight
std::tuple<Tensor, Tensor, Tensor> backward(const Tensor& d_out, const Tensor& y, const Tensor& gate,
                                            const Tensor& weight) {
  const int64_t batch = y.size(0), heads = y.size(1), length = y.size(2), size = y.size(3), rows = batch * length;
  Tensor d_y = at::empty({batch, length, heads, size}, y.options()).transpose(1, 2);
  Tensor d_gate = at::empty_like(gate), d_weight = at::empty({size}, y.options());
  AT_DISPATCH_FLOATING_TYPES(y.scalar_type(), "gate_backward", [&] {
    using T = scalar_t;
    const T* w = weight.const_data_ptr<T>();
    std::vector<T> shares(PIECES * size, T(0));
    const T *all_y = y.const_data_ptr<T>(), *all_gates = gate.const_data_ptr<T>(), *all_d = d_out.const_data_ptr<T>();
    T *all_d_y = d_y.mutable_data_ptr<T>(), *all_d_gates = d_gate.mutable_data_ptr<T>();
    const int64_t next_b = y.stride(0), next_h = y.stride(1), next_t = y.stride(2);
    const int64_t d_b = d_y.stride(0), d_h = d_y.stride(1), d_t = d_y.stride(2);
    at::parallel_for(0, PIECES, 1, [&](int64_t begin, int64_t end) {
      std::vector<T> d_normed(size);
      for (int64_t piece = begin; piece < end; ++piece) {
        T* share = shares.data() + piece * size;
        for (int64_t row = rows * piece / PIECES; row < rows * (piece + 1) / PIECES; ++row)
          for (int64_t h = 0; h < heads; ++h) {
            const int64_t b = row / length, t = row % length, at = (row * heads + h) * size;
            const T *from = all_y + b * next_b + h * next_h + t * next_t, *g = all_gates + at, *d = all_d + at;
            T *to = all_d_y + b * d_b + h * d_h + t * d_t, *to_gate = all_d_gates + at;
            const T scale = scale_of(from, size);
            for (int64_t i = 0; i < size; ++i) {
              const T normed = scale * from[i];
              to_gate[i] = d[i] * normed * w[i];
              share[i] += d[i] * normed * g[i];
              d_normed[i] = d[i] * g[i] * w[i];
            }
            const T along = scale * scale / size * dot(d_normed.data(), from, size);
            for (int64_t i = 0; i < size; ++i) to[i] = scale * (d_normed[i] - along * from[i]);
          }
      }
    });
    T* d_w = d_weight.mutable_data_ptr<T>();
    std::fill(d_w, d_w + size, T(0));
    for (int64_t piece = 0; piece < PIECES; ++piece)
      for (int64_t i = 0; i < size; ++i) d_w[i] += shares[piece * size + i];
  });
  return {d_y, d_gate, d_weight};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(titans_seq, library) {
  library.def("gate_forward(Tensor y, Tensor gate, Tensor weight) -> Tensor", &forward);
  library.def("gate_backward(Tensor d_out, Tensor y, Tensor gate, Tensor weight) -> (Tensor, Tensor, Tensor)", &backward);
}
