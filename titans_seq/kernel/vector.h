// Loops over features that the compiler turns into vector instructions.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__linux__)
// glibc has vector versions; declared here so that no flag that changes NaN or infinity is needed to reach them
extern "C" {
__attribute__((simd("notinbranch"))) float expf(float) noexcept;
__attribute__((simd("notinbranch"))) double exp(double) noexcept;
}
#endif

namespace titans_seq {

// Numbers below the smallest normal one count as zero while it lives: products of many gates get there, and each
// operation on one would take as long as a hundred others
struct FlushDenormals {
#if defined(__SSE2__)
  const unsigned before = _mm_getcsr();
  FlushDenormals() { _mm_setcsr(before | 0x8040); }
  ~FlushDenormals() { _mm_setcsr(before); }
#else
  FlushDenormals() {}
#endif
};

template <typename T>
struct View {  // tokens (T, D) of one row, or (T,): `stride` from one to the next
  T* data = nullptr;
  int64_t stride = 0;

  T* at(int64_t t) const { return data + t * stride; }
};

}  // namespace titans_seq

inline float exponential(float x) { return expf(x); }
inline double exponential(double x) { return exp(x); }

template <typename T>
T dot(const T* a, const T* b, int64_t count) {
  T total = 0;
#pragma omp simd reduction(+ : total)
  for (int64_t i = 0; i < count; ++i) total += a[i] * b[i];
  return total;
}

// what brings the root mean square of x to 1
template <typename T>
T scale_of(const T* x, int64_t size) {
  return 1 / std::sqrt(dot(x, x, size) / size + std::numeric_limits<T>::epsilon());
}

// out = z sigmoid(z), and the sigmoid
template <typename T>
void silu(const T* z, T* sigmoid, T* out, int64_t count) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    sigmoid[i] = 1 / (1 + exponential(-z[i]));
    out[i] = z[i] * sigmoid[i];
  }
}

// z becomes z - shift; out = scale (silu(z - shift) - silu(-shift)), and the sigmoid
template <typename T>
void shifted_silu(T* z, T* sigmoid, T* out, int64_t count, T shift, T scale) {
  const T back = shift / (1 + exponential(shift));
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    z[i] -= shift;
    sigmoid[i] = 1 / (1 + exponential(-z[i]));
    out[i] = scale * (z[i] * sigmoid[i] + back);
  }
}
