// Vectors of the processor and a small matrix product, for all kernels.

#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace {

// A tile of the matrix product is as many rows and vectors as the registers hold.
#ifdef __AVX512F__
constexpr int LONG = 64, ROWS = 8, WIDE = 3;  // bytes of a vector; 32 registers
#else
constexpr int LONG = 32, ROWS = 6, WIDE = 2;  // 16 registers
#endif

// A vector of N bytes that may lie anywhere.
template <typename T, int N>
struct Pack {
  typedef T type __attribute__((vector_size(N), aligned(alignof(T)), may_alias));
  static constexpr int64_t size = N / sizeof(T);
};

template <typename T, int N>
using Vec = typename Pack<T, N>::type;

template <typename T, int N>
inline Vec<T, N> load(const T* p) {
  return *reinterpret_cast<const Vec<T, N>*>(p);
}

template <typename T, int N>
inline void store(T* p, Vec<T, N> value) {
  *reinterpret_cast<Vec<T, N>*>(p) = value;
}

template <typename T, int N>
inline void add(T* p, Vec<T, N> value) {
  store<T, N>(p, load<T, N>(p) + value);
}

template <typename T, int N>
inline T total(Vec<T, N> value) {
  T sum = 0;
  for (int64_t k = 0; k < Pack<T, N>::size; ++k) sum += value[k];
  return sum;
}

// A strided matrix: entry (i, k) stands at p[i * row + k * col].
template <typename T>
struct Matrix {
  const T* p;
  int64_t row, col;
};

// What a product is added to: zero, the result's own rows, or with `row` = 0 the same for all.
template <typename T>
struct Start {
  const T* p;
  int64_t row;
};

template <typename T, int N, int M, int W>
inline void tile(Matrix<T> a, const T* b, int64_t ldb, int64_t n, T* c, int64_t ldc,
                 Start<T> start) {
  constexpr int64_t L = Pack<T, N>::size;
  Vec<T, N> sum[M][W];
  for (int i = 0; i < M; ++i)
    for (int w = 0; w < W; ++w)
      sum[i][w] = start.p ? load<T, N>(start.p + i * start.row + w * L) : Vec<T, N>{};
  for (int64_t k = 0; k < n; ++k) {
    Vec<T, N> right[W];
    for (int w = 0; w < W; ++w) right[w] = load<T, N>(b + k * ldb + w * L);
    for (int i = 0; i < M; ++i) {
      const T left = a.p[i * a.row + k * a.col];
      for (int w = 0; w < W; ++w) sum[i][w] += left * right[w];
    }
  }
  for (int i = 0; i < M; ++i)
    for (int w = 0; w < W; ++w) store<T, N>(c + i * ldc + w * L, sum[i][w]);
}

template <typename T, int N, int M, int W>
inline void tiles(int64_t& i, Matrix<T> a, const T* b, int64_t ldb, int64_t m, int64_t n, T* c,
                  int64_t ldc, Start<T> start) {
  for (; i + M <= m; i += M)
    tile<T, N, M, W>({a.p + i * a.row, a.row, a.col}, b, ldb, n, c + i * ldc, ldc,
                     {start.p ? start.p + i * start.row : nullptr, start.row});
}

template <typename T, int N, int W>
inline void strip(Matrix<T> a, const T* b, int64_t ldb, int64_t m, int64_t n, T* c, int64_t ldc,
                  Start<T> start) {
  int64_t i = 0;
  tiles<T, N, ROWS, W>(i, a, b, ldb, m, n, c, ldc, start);
  tiles<T, N, 2, W>(i, a, b, ldb, m, n, c, ldc, start);
  tiles<T, N, 1, W>(i, a, b, ldb, m, n, c, ldc, start);
}

template <typename T, int N, int W>
inline void strips(int64_t& j, Matrix<T> a, const T* b, int64_t ldb, int64_t m, int64_t n,
                   int64_t columns, T* c, int64_t ldc, Start<T> start) {
  constexpr int64_t step = W * Pack<T, N>::size;
  for (; j + step <= columns; j += step)
    strip<T, N, W>(a, b + j, ldb, m, n, c + j, ldc,
                   {start.p ? start.p + j : nullptr, start.row});
}

// C (m, columns) = start + A (m, n) B (n, columns); columns fill vectors of at least 8 bytes.
template <typename T, int N>
void product(Matrix<T> a, const T* b, int64_t ldb, int64_t m, int64_t n, int64_t columns, T* c,
             int64_t ldc, Start<T> start) {
  int64_t j = 0;
  strips<T, N, WIDE>(j, a, b, ldb, m, n, columns, c, ldc, start);
  strips<T, N, 1>(j, a, b, ldb, m, n, columns, c, ldc, start);
  if (N > 8 && j < columns) strips<T, (N > 8 ? N / 2 : 8), 1>(j, a, b, ldb, m, n, columns, c, ldc, start);
  if (N > 16 && j < columns) strips<T, (N > 16 ? N / 4 : 8), 1>(j, a, b, ldb, m, n, columns, c, ldc, start);
  if (N > 32 && j < columns) strips<T, (N > 32 ? N / 8 : 8), 1>(j, a, b, ldb, m, n, columns, c, ldc, start);
}

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define HERMNET_SHUFFLES
#endif
#endif

// Four rows of four numbers, transposed.
template <typename T>
inline void turn_four(const T* from, int64_t columns, T* to, int64_t width) {
#ifdef HERMNET_SHUFFLES
  constexpr int N = 4 * sizeof(T);
  const auto a = load<T, N>(from), b = load<T, N>(from + columns);
  const auto c = load<T, N>(from + 2 * columns), d = load<T, N>(from + 3 * columns);
  const auto ab = __builtin_shufflevector(a, b, 0, 4, 1, 5);
  const auto cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
  const auto ef = __builtin_shufflevector(a, b, 2, 6, 3, 7);
  const auto gh = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  store<T, N>(to, __builtin_shufflevector(ab, cd, 0, 1, 4, 5));
  store<T, N>(to + width, __builtin_shufflevector(ab, cd, 2, 3, 6, 7));
  store<T, N>(to + 2 * width, __builtin_shufflevector(ef, gh, 0, 1, 4, 5));
  store<T, N>(to + 3 * width, __builtin_shufflevector(ef, gh, 2, 3, 6, 7));
#else
  for (int64_t r = 0; r < 4; ++r)
    for (int64_t c = 0; c < 4; ++c) to[c * width + r] = from[r * columns + c];
#endif
}

// (rows, columns) -> (columns, rows), of which each has `width` numbers, zero after the first ones.
template <typename T>
void turn(const T* from, int64_t rows, int64_t columns, std::vector<T>& to, int64_t width) {
  to.resize(columns * width);
  if (width > rows) std::fill(to.begin(), to.end(), T(0));
  for (int64_t i = 0; i < rows; i += 4)
    for (int64_t j = 0; j < columns; j += 4) {
      if (i + 4 <= rows && j + 4 <= columns) {
        turn_four(from + i * columns + j, columns, to.data() + j * width + i, width);
        continue;
      }
      for (int64_t c = j; c < std::min(columns, j + 4); ++c)
        for (int64_t r = i; r < std::min(rows, i + 4); ++r)
          to[c * width + r] = from[r * columns + c];
    }
}

// What threads have added up apart, in their order, so that it is the same in every run.
template <typename T>
void add_up(T* to, const std::vector<std::vector<T>>& parts, int64_t size, int64_t n_threads) {
  (void)n_threads;
#pragma omp parallel for num_threads(n_threads) schedule(static)
  for (int64_t start = 0; start < size; start += 4096)
    for (const auto& part : parts)
      for (int64_t k = start; k < std::min(size, start + 4096); ++k) to[k] += part[k];
}

}  // namespace
