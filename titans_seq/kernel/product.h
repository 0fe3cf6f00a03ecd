// Matrix products of the sizes that a chunk has: too small for a library, whose calls would cost as much as the work.
//
// All matrices are row-major. The right operand is read by vectors along its rows, so it is never transposed here
// (`transpose` is for the caller, who can use the result twice); the left one may stand either way.
#pragma once

#include <cstdint>
#include <type_traits>

namespace titans_seq {

#if defined(__AVX512F__)
constexpr int VECTOR = 64, ROWS = 8, COLUMNS = 3;  // bytes; rows and vectors of a tile that stays in registers
#elif defined(__AVX__)
constexpr int VECTOR = 32, ROWS = 6, COLUMNS = 2;
#else
constexpr int VECTOR = 16, ROWS = 4, COLUMNS = 2;
#endif

template <typename T, int N>
struct Lanes {  // N numbers side by side, anywhere in memory
  typedef T type __attribute__((vector_size(N * sizeof(T)), aligned(alignof(T)), may_alias));
};
template <typename T>
struct Lanes<T, 1> {
  typedef T type;
};

template <typename T>
struct Left {  // the left operand: element (i, p) stands at data[i * row + p * column]
  const T* data;
  int64_t row, column;
};

template <typename T>
Left<T> plain(const T* data, int64_t stride) { return {data, stride, 1}; }
template <typename T>
Left<T> turned(const T* data, int64_t stride) { return {data, 1, stride}; }  // (k, m) in memory

// R rows and V vectors of N columns of the result
template <typename T, int N, int R, int V>
inline __attribute__((always_inline)) void tile(int64_t k, T alpha, Left<T> a, const T* b, int64_t ldb, bool add, T* out,
                                                int64_t ldo) {
  using W = typename Lanes<T, N>::type;
  W sum[R][V];
  for (int i = 0; i < R; ++i)
    for (int j = 0; j < V; ++j) sum[i][j] = W{};
  for (int64_t p = 0; p < k; ++p) {
    W right[V];
    for (int j = 0; j < V; ++j) right[j] = *reinterpret_cast<const W*>(b + p * ldb + j * N);
    for (int i = 0; i < R; ++i) {
      const T left = a.data[i * a.row + p * a.column];
      for (int j = 0; j < V; ++j) sum[i][j] += left * right[j];
    }
  }
  for (int i = 0; i < R; ++i)
    for (int j = 0; j < V; ++j) {
      W* to = reinterpret_cast<W*>(out + i * ldo + j * N);
      *to = add ? *to + alpha * sum[i][j] : alpha * sum[i][j];
    }
}

template <typename T, int N, int R, int V>
inline void rows_of(int64_t m, int64_t k, T alpha, Left<T> a, const T* b, int64_t ldb, bool add, T* out, int64_t ldo) {
  while (m >= R) {
    tile<T, N, R, V>(k, alpha, a, b, ldb, add, out, ldo);
    a.data += R * a.row, out += R * ldo, m -= R;
  }
  if constexpr (R > 1)
    if (m) rows_of<T, N, (R > 4 ? 4 : R / 2), V>(m, k, alpha, a, b, ldb, add, out, ldo);
}

template <typename T, int N, int V>
inline int64_t columns_of(int64_t done, int64_t m, int64_t n, int64_t k, T alpha, Left<T> a, const T* b, int64_t ldb,
                          bool add, T* out, int64_t ldo) {
  for (; done + N * V <= n && !(V == 3 && n - done == 4 * N); done += N * V)
    rows_of<T, N, ROWS, V>(m, k, alpha, a, b + done, ldb, add, out + done, ldo);
  if constexpr (V > 1) return columns_of<T, N, V - 1>(done, m, n, k, alpha, a, b, ldb, add, out, ldo);
  if constexpr (V == 1 && N > 1)
    return columns_of<T, (N > 4 ? N / 2 : 1), 1>(done, m, n, k, alpha, a, b, ldb, add, out, ldo);
  return done;
}

// out (m, n) = alpha a (m, k) b (k, n), added to what is there if `add`
template <typename T>
__attribute__((noinline)) void product(int64_t m, int64_t n, int64_t k, T alpha, Left<T> a, const T* b, int64_t ldb,
                                       bool add, T* out, int64_t ldo) {
  columns_of<T, VECTOR / sizeof(T), COLUMNS>(0, m, n, k, alpha, a, b, ldb, add, out, ldo);
}

#if defined(__clang__)
#define PICK(x, y, ...) __builtin_shufflevector(x, y, __VA_ARGS__)
#else
#define PICK(x, y, ...) __builtin_shuffle(x, y, typename Lanes<Index, 4>::type{__VA_ARGS__})
#endif

// out (n, m) = the transpose of x (m, n), by blocks of 4 x 4
template <typename T>
void transpose(int64_t m, int64_t n, const T* x, int64_t ldx, T* out, int64_t ldo) {
  using W = typename Lanes<T, 4>::type;
  using Index [[maybe_unused]] = std::conditional_t<sizeof(T) == 8, int64_t, int32_t>;
  const auto load = [&](const T* from) { return *reinterpret_cast<const W*>(from); };
  int64_t i = 0;
  for (; i + 4 <= m; i += 4) {
    const T* from = x + i * ldx;
    int64_t j = 0;
    for (; j + 4 <= n; j += 4) {
      const W a = load(from + j), b = load(from + ldx + j), c = load(from + 2 * ldx + j), d = load(from + 3 * ldx + j);
      const W ab = PICK(a, b, 0, 4, 1, 5), ba = PICK(a, b, 2, 6, 3, 7);
      const W cd = PICK(c, d, 0, 4, 1, 5), dc = PICK(c, d, 2, 6, 3, 7);
      T* to = out + j * ldo + i;
      *reinterpret_cast<W*>(to) = PICK(ab, cd, 0, 1, 4, 5);
      *reinterpret_cast<W*>(to + ldo) = PICK(ab, cd, 2, 3, 6, 7);
      *reinterpret_cast<W*>(to + 2 * ldo) = PICK(ba, dc, 0, 1, 4, 5);
      *reinterpret_cast<W*>(to + 3 * ldo) = PICK(ba, dc, 2, 3, 6, 7);
    }
    for (; j < n; ++j)
      for (int64_t r = 0; r < 4; ++r) out[j * ldo + i + r] = from[r * ldx + j];
  }
  for (; i < m; ++i)
    for (int64_t j = 0; j < n; ++j) out[j * ldo + i] = x[i * ldx + j];
}

#undef PICK

}  // namespace titans_seq
