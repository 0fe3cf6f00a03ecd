// The middle of a gated MLP in one pass: silu(g) v.
//
// Axes: N tokens, D hidden features.
#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include <algorithm>

#include "vector.h"

namespace {

using at::Tensor;

template <typename T>
void gated(const T* g, const T* v, T* out, int64_t count) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) out[i] = v[i] * g[i] / (1 + exponential(-g[i]));
}

template <typename T>
void gated_backward(const T* d, const T* g, const T* v, T* d_g, T* d_v, int64_t count) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    const T sigmoid = 1 / (1 + exponential(-g[i]));
    d_v[i] = d[i] * g[i] * sigmoid;
    d_g[i] = d[i] * v[i] * sigmoid * (1 + g[i] * (1 - sigmoid));
  }
}

// x (N, 2 D), g and v side by side -> (N, D)
Tensor forward(const Tensor& x) {
  const int64_t rows = x.size(0), size = x.size(1) / 2;
  Tensor out = at::empty({rows, size}, x.options());
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "swiglu_forward", [&] {
    using T = scalar_t;
    const T* from = x.const_data_ptr<T>();
    T* to = out.mutable_data_ptr<T>();
    at::parallel_for(0, rows, std::max<int64_t>(1, 16384 / size), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const T* g = from + row * 2 * size;
        gated(g, g + size, to + row * size, size);
      }
    });
  });
  return out;
}

// gradient of x
Tensor backward(const Tensor& d_out, const Tensor& x) {
  const int64_t rows = x.size(0), size = x.size(1) / 2;
  Tensor d_x = at::empty_like(x);
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "swiglu_backward", [&] {
    using T = scalar_t;
    const T *from = x.const_data_ptr<T>(), *given = d_out.const_data_ptr<T>();
    T* to = d_x.mutable_data_ptr<T>();
    at::parallel_for(0, rows, std::max<int64_t>(1, 16384 / size), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const T* g = from + row * 2 * size;
        T* d_g = to + row * 2 * size;
        gated_backward(given + row * size, g, g + size, d_g, d_g + size, size);
      }
    });
  });
  return d_x;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(titans_seq, library) {
  library.def("swiglu_forward(Tensor x) -> Tensor", &forward);
  library.def("swiglu_backward(Tensor d_out, Tensor x) -> Tensor", &backward);
}
