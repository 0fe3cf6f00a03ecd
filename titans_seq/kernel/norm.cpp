// Root mean square norm in one pass: x / sqrt(mean(x^2) + eps), times a weight.
//
// Axes: N tokens, D features.
#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
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

// x (N, D), weight (D) -> (N, D)
Tensor forward(const Tensor& x, const Tensor& weight) {
  const int64_t rows = x.size(0), size = x.size(1);
  Tensor out = at::empty_like(x);
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "norm_forward", [&] {
    using T = scalar_t;
    const T *from = x.const_data_ptr<T>(), *w = weight.const_data_ptr<T>();
    T* to = out.mutable_data_ptr<T>();
    at::parallel_for(0, rows, std::max<int64_t>(1, 32768 / size), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const T *a = from + row * size, scale = scale_of(a, size);
        for (int64_t i = 0; i < size; ++i) to[row * size + i] = scale * a[i] * w[i];
      }
    });
  });
  return out;
}

// gradients of x and weight
std::tuple<Tensor, Tensor> backward(const Tensor& d_out, const Tensor& x, const Tensor& weight) {
  const int64_t rows = x.size(0), size = x.size(1);
  Tensor d_x = at::empty_like(x), d_weight = at::empty_like(weight);
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "norm_backward", [&] {
    using T = scalar_t;
    const T *from = x.const_data_ptr<T>(), *d = d_out.const_data_ptr<T>(), *w = weight.const_data_ptr<T>();
    T *to = d_x.mutable_data_ptr<T>(), *d_w = d_weight.mutable_data_ptr<T>();
    std::vector<T> shares(PIECES * size, T(0));
    at::parallel_for(0, PIECES, rows * size > 32768 ? 1 : PIECES, [&](int64_t begin, int64_t end) {
      std::vector<T> d_normed(size);
      for (int64_t piece = begin; piece < end; ++piece) {
        T* share = shares.data() + piece * size;
        for (int64_t row = rows * piece / PIECES; row < rows * (piece + 1) / PIECES; ++row) {
          const T *a = from + row * size, *g = d + row * size, scale = scale_of(a, size);
          for (int64_t i = 0; i < size; ++i) {
            share[i] += g[i] * scale * a[i];
            d_normed[i] = g[i] * w[i];
          }
          const T along = scale * scale / size * dot(d_normed.data(), a, size);
          for (int64_t i = 0; i < size; ++i) to[row * size + i] = scale * (d_normed[i] - along * a[i]);
        }
      }
    });
    std::fill(d_w, d_w + size, T(0));
    for (int64_t piece = 0; piece < PIECES; ++piece)
      for (int64_t i = 0; i < size; ++i) d_w[i] += shares[piece * size + i];
  });
  return {d_x, d_weight};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(titans_seq, library) {
  library.def("norm_forward(Tensor x, Tensor weight) -> Tensor", &forward);
  library.def("norm_backward(Tensor d_out, Tensor x, Tensor weight) -> (Tensor, Tensor)", &backward);
}
