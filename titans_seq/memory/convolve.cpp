// Between projection and memory, in one pass: causal depthwise convolution, SiLU, and length: queries and keys are brought
// to 1, values are divided by the square root of D.
//
// Axes: B batch, T tokens, K taps of the convolution, H heads, D features of a head, P = 3 H D convolved features: those of
// all queries, then keys, then values; behind them stand H D of the output gate, which take SiLU alone.
#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>
#include <tuple>
#include <utility>
#include <vector>

#include "vector.h"

namespace {

using at::Tensor;
constexpr double EPSILON = 1e-6;   // as `convolve.unit`
constexpr int64_t BLOCK = 64;      // tokens of one task

template <typename T>
struct Mixer {  // one row of the batch
  const Tensor &x, &tail;
  const int64_t b, taps, width, heads, size, length;
  std::vector<T> kernel, mixed, sigmoid, activated, scales;  // kernel (K, P), scales (3 H)

  Mixer(const Tensor& x, const Tensor& tail, const Tensor& weight, int64_t heads, int64_t b)
      : x(x), tail(tail), b(b), taps(weight.size(1)), width(weight.size(0)), heads(heads), size(width / (3 * heads)),
        length(x.size(1)), kernel(taps * width), mixed(width), sigmoid(width), activated(width), scales(3 * heads) {
    const T* w = weight.const_data_ptr<T>();
    for (int64_t i = 0; i < width; ++i)
      for (int64_t j = 0; j < taps; ++j) kernel[j * width + i] = w[i * taps + j];
  }

  // what was projected of token t, which may lie in the tail before the first token
  const T* input(int64_t t) const {
    return t >= 0 ? x.const_data_ptr<T>() + b * x.stride(0) + t * x.stride(1)
                  : tail.const_data_ptr<T>() + b * tail.stride(0) + (t + taps - 1) * tail.stride(1);
  }

  // mixed, sigmoid and SiLU of token t, and what brings each head's queries and keys to unit length, values near it
  void run(int64_t t) {
    for (int64_t j = 0; j < taps; ++j) {
      const T *from = input(t - taps + 1 + j), *w = kernel.data() + j * width;
      T* to = mixed.data();
      if (j == 0)
        for (int64_t i = 0; i < width; ++i) to[i] = w[i] * from[i];
      else
        for (int64_t i = 0; i < width; ++i) to[i] += w[i] * from[i];
    }
    silu(mixed.data(), sigmoid.data(), activated.data(), width);
    for (int64_t head = 0; head < 3 * heads; ++head) {
      const T* a = activated.data() + head * size;
      scales[head] = 1 / (head < 2 * heads ? std::sqrt(dot(a, a, size) + T(EPSILON)) : std::sqrt(T(size)));
    }
  }

  // gradient of mixed at token t, given that of what was made of it
  void backward(int64_t t, const std::vector<Tensor>& d_out, T* d_mixed) {
    run(t);
    for (int64_t head = 0; head < 3 * heads; ++head) {
      const Tensor& d_part = d_out[head / heads];
      const T* d = d_part.const_data_ptr<T>() + b * d_part.stride(0) + head % heads * d_part.stride(1) + t * d_part.stride(2);
      const T *z = mixed.data() + head * size, *s = sigmoid.data() + head * size, *a = activated.data() + head * size;
      const T scale = scales[head], along = head < 2 * heads ? scale * scale * dot(d, a, size) : T(0);
      T* to = d_mixed + head * size;
      for (int64_t i = 0; i < size; ++i) to[i] = scale * (d[i] - along * a[i]) * (s[i] * (1 + z[i] * (1 - s[i])));
    }
  }
};

template <typename T, typename Work>
void over_blocks(const Tensor& x, const Tensor& tail, const Tensor& weight, int64_t heads, const Work& work) {
  const int64_t length = x.size(1), blocks = (length + BLOCK - 1) / BLOCK;
  at::parallel_for(0, x.size(0) * blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end;) {
      const int64_t b = task / blocks, first = task % blocks, last = std::min(blocks, first + end - task);
      Mixer<T> mixer(x, tail, weight, heads, b);
      work(mixer, first * BLOCK, std::min(length, last * BLOCK));
      task += last - first;
    }
  });
}

// x (B, T, P + H D), tail (B, K - 1, P), weight (P, K) -> q, k, v (B, H, T, D), gate (B, T, H D)
std::vector<Tensor> forward(const Tensor& x, const Tensor& tail, const Tensor& weight, int64_t heads) {
  const int64_t size = weight.size(0) / (3 * heads);
  std::vector<Tensor> out;
  for (int part = 0; part < 3; ++part)
    out.push_back(at::empty({x.size(0), x.size(1), heads, size}, x.options()).transpose(1, 2));
  out.push_back(at::empty({x.size(0), x.size(1), heads * size}, x.options()));
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "convolve_forward", [&] {
    over_blocks<scalar_t>(x, tail, weight, heads, [&](Mixer<scalar_t>& mixer, int64_t start, int64_t stop) {
      for (int64_t t = start; t < stop; ++t) {
        mixer.run(t);
        for (int64_t head = 0; head < 3 * heads; ++head) {
          const Tensor& part = out[head / heads];
          scalar_t* y = part.mutable_data_ptr<scalar_t>() + mixer.b * part.stride(0) + head % heads * part.stride(1) + t * part.stride(2);
          const scalar_t *a = mixer.activated.data() + head * size, scale = mixer.scales[head];
          for (int64_t i = 0; i < size; ++i) y[i] = scale * a[i];
        }
        silu(mixer.input(t) + mixer.width, mixer.sigmoid.data(),
             out[3].mutable_data_ptr<scalar_t>() + mixer.b * out[3].stride(0) + t * out[3].stride(1), heads * size);
      }
    });
  });
  return out;
}

// gradients of x, of the tail and of the weight
std::tuple<Tensor, Tensor, Tensor> backward(const std::vector<Tensor>& d_out, const Tensor& x, const Tensor& tail,
                                            const Tensor& weight, int64_t heads) {
  const int64_t batch = x.size(0), length = x.size(1), taps = weight.size(1), width = weight.size(0);
  const int64_t all = width / 3 * 4;
  Tensor d_x = at::empty({batch, length, all}, x.options()), d_tail = at::empty({batch, taps - 1, width}, x.options());
  Tensor d_weight = at::empty({width, taps}, x.options());
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "convolve_backward", [&] {
    using T = scalar_t;
    std::map<std::pair<int64_t, int64_t>, std::vector<T>> shares;  // of d_weight (K, P), in an order that stays
    std::mutex adding;
    over_blocks<T>(x, tail, weight, heads, [&](Mixer<T>& mixer, int64_t start, int64_t stop) {
      std::vector<T> own(taps * width, T(0)), recent(taps * width, T(0));  // d_mixed of the last K tokens
      // token t, or t + K - 1 of the tail where t is negative, hears of tokens t to t + K - 1
      const int64_t lowest = start == 0 ? 1 - taps : start, highest = stop;
      for (int64_t t = start; t < highest + taps - 1; ++t) {
        T* d_mixed = recent.data() + t % taps * width;
        if (t < length) mixer.backward(t, d_out, d_mixed);
        else std::fill(d_mixed, d_mixed + width, T(0));
        if (t < stop)
          for (int64_t j = 0; j < taps; ++j) {
            const T* from = mixer.input(t - taps + 1 + j);
            T* d_w = own.data() + j * width;
            for (int64_t i = 0; i < width; ++i) d_w[i] += d_mixed[i] * from[i];
          }
        const int64_t to = t - taps + 1;  // complete now
        if (to < lowest) continue;
        T* d_to = to >= 0 ? d_x.mutable_data_ptr<T>() + (mixer.b * length + to) * all
                          : d_tail.mutable_data_ptr<T>() + (mixer.b * (taps - 1) + to + taps - 1) * width;
        std::fill(d_to, d_to + width, T(0));
        for (int64_t j = 0; j < taps; ++j) {  // token `to` stood at tap j of token to + K - 1 - j
          const int64_t heard = to + taps - 1 - j;
          if (heard < start) continue;
          const T *d = recent.data() + heard % taps * width, *w = mixer.kernel.data() + j * width;
          for (int64_t i = 0; i < width; ++i) d_to[i] += w[i] * d[i];
        }
      }
      for (int64_t t = start; t < stop; ++t) {
        const T *z = mixer.input(t) + width, *d = d_out[3].const_data_ptr<T>() + mixer.b * d_out[3].stride(0) + t * d_out[3].stride(1);
        T* to = d_x.mutable_data_ptr<T>() + (mixer.b * length + t) * all + width;
        for (int64_t i = 0; i < all - width; ++i) {
          const T s = 1 / (1 + exponential(-z[i]));
          to[i] = d[i] * s * (1 + z[i] * (1 - s));
        }
      }
      const std::lock_guard<std::mutex> lock(adding);
      shares[{mixer.b, start}] = std::move(own);
    });
    std::vector<T> d_kernel(taps * width, T(0));
    for (const auto& share : shares)
      for (int64_t i = 0; i < taps * width; ++i) d_kernel[i] += share.second[i];
    T* d_w = d_weight.mutable_data_ptr<T>();
    for (int64_t i = 0; i < width; ++i)
      for (int64_t j = 0; j < taps; ++j) d_w[i * taps + j] = d_kernel[j * width + i];
  });
  return {d_x, d_tail, d_weight};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(titans_seq, library) {
  library.def("convolve_forward(Tensor x, Tensor tail, Tensor weight, int heads) -> Tensor[]", &forward);
  library.def(
      "convolve_backward(Tensor[] d_out, Tensor x, Tensor tail, Tensor weight, int heads) -> (Tensor, Tensor, Tensor)",
      &backward);
}
