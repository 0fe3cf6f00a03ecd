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
#include <vector>

#include "vector.h"

namespace {

using at::Tensor;
constexpr double EPSILON = 1e-6;   // as `convolve.unit`
constexpr int64_t BLOCK = 64;      // tokens of one task
constexpr int64_t WIDEST = 4;      // taps that are taken in one pass

template <typename T>
struct Strided {  // a tensor (B, H, T, D), or (B, T, D) as H = 1; asking the tensor itself at each token would take longer
  T* data;
  int64_t b, h, t;

  explicit Strided(const Tensor& x)
      : data(x.mutable_data_ptr<T>()), b(x.stride(0)), h(x.dim() > 3 ? x.stride(1) : 0), t(x.stride(-2)) {}
  T* at(int64_t row, int64_t head, int64_t token) const { return data + row * b + head * h + token * t; }
};

template <typename T>
struct Mixer {  // one row of the batch after the other
  const Strided<T> x, tail;
  int64_t b = 0;
  const int64_t taps, width, heads, size, length;
  std::vector<T> kernel, mixed, sigmoid, activated, scales;  // kernel (K, P), scales (3 H)
  std::vector<T> d_kernel, recent;                           // (K, P): the kernel's gradient; d_mixed of the last K tokens

  Mixer(const Tensor& x, const Tensor& tail, const Tensor& weight, int64_t heads)
      : x(x), tail(tail), taps(weight.size(1)), width(weight.size(0)), heads(heads), size(width / (3 * heads)),
        length(x.size(1)), kernel(taps * width), mixed(width), sigmoid(width), activated(width), scales(3 * heads) {
    const T* w = weight.const_data_ptr<T>();
    for (int64_t i = 0; i < width; ++i)
      for (int64_t j = 0; j < taps; ++j) kernel[j * width + i] = w[i * taps + j];
  }

  // what was projected of token t, which may lie in the tail before the first token
  const T* input(int64_t t) const {
    return t >= 0 ? x.at(b, 0, t) : tail.at(b, 0, t + taps - 1);
  }

  // to = sum over taps of w_j from_j
  void sum_of_products(const T* w, const T* const* from, int64_t first, T* to) const {
    if (taps == WIDEST) {
      for (int64_t i = 0; i < width; ++i)
        to[i] = w[i] * from[0][i] + w[width + i] * from[1][i] + w[2 * width + i] * from[2][i] + w[3 * width + i] * from[3][i];
      return;
    }
    std::fill(to, to + width, T(0));
    for (int64_t j = 0; j < taps; ++j) {
      const T* one = taps < WIDEST ? from[j] : input(first + j);
      for (int64_t i = 0; i < width; ++i) to[i] += w[j * width + i] * one[i];
    }
  }

  // adds what token t's d_mixed says of the kernel
  void grow_kernel(int64_t t, const T* d_mixed) {
    T* to = d_kernel.data();
    if (taps == WIDEST) {
      const T *a = input(t - 3), *b = input(t - 2), *c = input(t - 1), *d = input(t);
      for (int64_t i = 0; i < width; ++i) {
        to[i] += d_mixed[i] * a[i];
        to[width + i] += d_mixed[i] * b[i];
        to[2 * width + i] += d_mixed[i] * c[i];
        to[3 * width + i] += d_mixed[i] * d[i];
      }
      return;
    }
    for (int64_t j = 0; j < taps; ++j) {
      const T* from = input(t - taps + 1 + j);
      for (int64_t i = 0; i < width; ++i) to[j * width + i] += d_mixed[i] * from[i];
    }
  }

  // mixed, sigmoid and SiLU of token t, and what brings each head's queries and keys to unit length, values near it
  void run(int64_t t) {
    const T* from[WIDEST];
    for (int64_t j = 0; j < taps; ++j) from[j % WIDEST] = input(t - taps + 1 + j);
    sum_of_products(kernel.data(), from, t - taps + 1, mixed.data());
    silu(mixed.data(), sigmoid.data(), activated.data(), width);
    for (int64_t head = 0; head < 3 * heads; ++head) {
      const T* a = activated.data() + head * size;
      scales[head] = 1 / (head < 2 * heads ? std::sqrt(dot(a, a, size) + T(EPSILON)) : std::sqrt(T(size)));
    }
  }

  // gradient of mixed at token t, given that of what was made of it
  void backward(int64_t t, const std::vector<Strided<T>>& d_out, T* d_mixed) {
    run(t);
    for (int64_t head = 0; head < 3 * heads; ++head) {
      const T* d = d_out[head / heads].at(b, head % heads, t);
      const T *z = mixed.data() + head * size, *s = sigmoid.data() + head * size, *a = activated.data() + head * size;
      const T scale = scales[head], along = head < 2 * heads ? scale * scale * dot(d, a, size) : T(0);
      T* to = d_mixed + head * size;
      for (int64_t i = 0; i < size; ++i) to[i] = scale * (d[i] - along * a[i]) * (s[i] * (1 + z[i] * (1 - s[i])));
    }
  }
};

template <typename T, typename Work, typename Done>
void over_blocks(const Tensor& x, const Tensor& tail, const Tensor& weight, int64_t heads, const Work& work,
                 const Done& done) {
  const int64_t length = x.size(1), blocks = (length + BLOCK - 1) / BLOCK;
  at::parallel_for(0, x.size(0) * blocks, 1, [&](int64_t begin, int64_t end) {
    Mixer<T> mixer(x, tail, weight, heads);
    for (int64_t task = begin; task < end;) {
      const int64_t first = task % blocks, last = std::min(blocks, first + end - task);
      mixer.b = task / blocks;
      work(mixer, first * BLOCK, std::min(length, last * BLOCK));
      task += last - first;
    }
    done(mixer, begin);
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
    const std::vector<Strided<scalar_t>> parts(out.begin(), out.end());
    over_blocks<scalar_t>(x, tail, weight, heads, [&](Mixer<scalar_t>& mixer, int64_t start, int64_t stop) {
      for (int64_t t = start; t < stop; ++t) {
        mixer.run(t);
        for (int64_t head = 0; head < 3 * heads; ++head) {
          scalar_t* y = parts[head / heads].at(mixer.b, head % heads, t);
          const scalar_t *a = mixer.activated.data() + head * size, scale = mixer.scales[head];
          for (int64_t i = 0; i < size; ++i) y[i] = scale * a[i];
        }
        silu(mixer.input(t) + mixer.width, mixer.sigmoid.data(),
             parts[3].at(mixer.b, 0, t), heads * size);
      }
    }, [](Mixer<scalar_t>&, int64_t) {});
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
    std::map<int64_t, std::vector<T>> shares;  // of d_weight (K, P), in an order that stays
    std::mutex adding;
    const std::vector<Strided<T>> parts(d_out.begin(), d_out.end());
    const Strided<T> to_x(d_x), to_tail(d_tail);
    const auto work = [&](Mixer<T>& mixer, int64_t start, int64_t stop) {
      mixer.d_kernel.resize(taps * width);
      mixer.recent.resize(taps * width);
      // token t, or t + K - 1 of the tail where t is negative, hears of tokens t to t + K - 1
      const int64_t lowest = start == 0 ? 1 - taps : start, highest = stop;
      for (int64_t t = start; t < highest + taps - 1; ++t) {
        T* d_mixed = mixer.recent.data() + t % taps * width;
        if (t < length) mixer.backward(t, parts, d_mixed);
        else std::fill(d_mixed, d_mixed + width, T(0));
        if (t < stop) mixer.grow_kernel(t, d_mixed);
        const int64_t to = t - taps + 1;  // complete now
        if (to < lowest) continue;
        T* d_to = to >= 0 ? to_x.at(mixer.b, 0, to) : to_tail.at(mixer.b, 0, to + taps - 1);
        const auto heard = [&](int64_t j) { return mixer.recent.data() + (to + taps - 1 - j) % taps * width; };
        if (taps == WIDEST && to >= start) {  // token `to` stood at tap j of token to + K - 1 - j
          const T* const of[WIDEST] = {heard(0), heard(1), heard(2), heard(3)};
          mixer.sum_of_products(mixer.kernel.data(), of, 0, d_to);
          continue;
        }
        std::fill(d_to, d_to + width, T(0));
        for (int64_t j = 0; j < taps && to + taps - 1 - j >= start; ++j) {
          const T *d = heard(j), *w = mixer.kernel.data() + j * width;
          for (int64_t i = 0; i < width; ++i) d_to[i] += w[i] * d[i];
        }
      }
      for (int64_t t = start; t < stop; ++t) {
        const T *z = mixer.input(t) + width, *d = parts[3].at(mixer.b, 0, t);
        T* to = to_x.at(mixer.b, 0, t) + width;
        for (int64_t i = 0; i < all - width; ++i) {
          const T s = 1 / (1 + exponential(-z[i]));
          to[i] = d[i] * s * (1 + z[i] * (1 - s));
        }
      }
    };
    over_blocks<T>(x, tail, weight, heads, work, [&](Mixer<T>& mixer, int64_t begin) {
      const std::lock_guard<std::mutex> lock(adding);
      shares[begin] = std::move(mixer.d_kernel);
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
