// Products of the gates over one chunk, and their gradients: the equations of gates.py, token after token.
//
// Axes: c tokens of the chunk.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "vector.h"

namespace titans_seq {

template <typename T>
struct Gates {
  std::vector<T> read, wrote, keep, past, through, stay, eta, theta;  // G, N (c, c), beta, f, m; 1 - alpha
  std::vector<T> d_read, d_wrote;                                     // room for `backward`

  explicit Gates(int64_t c)
      : read(c * c), wrote(c * c), keep(c), past(c), through(c), stay(c), eta(c), theta(c), d_read(c), d_wrote(c) {}

  // row by row: N_t = eta_t N_{t-1} + theta_t e_t,  G_t = (1 - alpha_t) G_{t-1} + N_t; no division, no logarithm.
  // A gate that is switched off comes without data
  void fill(View<T> step, View<T> momentum, View<T> forget, int64_t start, int64_t c) {
    T keep_before = 1, past_before = 0, through_before = 1;
    for (int64_t t = 0; t < c; ++t) {
      stay[t] = forget.data ? 1 - *forget.at(start + t) : T(1);
      eta[t] = momentum.data ? *momentum.at(start + t) : T(0);
      theta[t] = *step.at(start + t);
      T *n = wrote.data() + t * c, *g = read.data() + t * c;
      if (t == 0) {
        std::fill(n, n + c, T(0));
        std::fill(g, g + c, T(0));
      } else {
        for (int64_t k = 0; k < c; ++k) {
          n[k] = eta[t] * n[k - c];
          g[k] = stay[t] * g[k - c] + n[k];
        }
      }
      n[t] = g[t] = theta[t];
      keep[t] = keep_before = stay[t] * keep_before;
      through[t] = through_before = eta[t] * through_before;
      past[t] = past_before = stay[t] * past_before + through[t];
    }
  }

  // gradients of the gates of a chunk from those of the products; d_G (c, c) counts on and below the diagonal
  void backward(const T* d_g, const T* d_keep, const T* d_past, const T* d_wrote_last, T d_through_last, int64_t c,
                T* d_theta, T* d_eta, T* d_alpha) {
    T a_keep = 0, a_past = 0, a_through = d_through_last;
    T *a_read = d_read.data(), *a_wrote = d_wrote.data();
    std::fill(a_read, a_read + c, T(0));
    std::copy(d_wrote_last, d_wrote_last + c, a_wrote);
    for (int64_t t = c - 1; t >= 0; --t) {
      a_keep += d_keep[t], a_past += d_past[t], a_through += a_past;
      for (int64_t k = 0; k <= t; ++k) {
        a_read[k] += d_g[t * c + k];
        a_wrote[k] += a_read[k];
      }
      d_theta[t] = a_wrote[t];
      T d_stay = a_keep * (t ? keep[t - 1] : T(1)) + a_past * (t ? past[t - 1] : T(0));
      T d_momentum = a_through * (t ? through[t - 1] : T(1));
      if (t) {
        d_stay += dot(a_read, read.data() + (t - 1) * c, t);
        d_momentum += dot(a_wrote, wrote.data() + (t - 1) * c, t);
      }
      d_alpha[t] = -d_stay;
      d_eta[t] = d_momentum;
      a_keep *= stay[t], a_past *= stay[t], a_through *= eta[t];
      for (int64_t k = 0; k < t; ++k) {
        a_read[k] *= stay[t];
        a_wrote[k] *= eta[t];
      }
    }
  }
};

}  // namespace titans_seq
