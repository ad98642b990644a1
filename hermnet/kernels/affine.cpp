// Products of each segment's rows with that segment's matrix, whose last row may be a bias.
//
//   0   C_r = A_r B_r (+ b_r)        1   A_r = C_r B_r^T        2   B_r = A_r^T C_r, b_r = sum of C_r

#include "vectors.h"

namespace {

constexpr int64_t BLOCK = 256;  // rows whose products with a part of the matrix stay in the cache

// What Python passes: eight bytes each, in this order.
template <typename T>
struct Args {
  int64_t n_segments, n_in, n_out, n_threads;
  int64_t stride, width;  // of the rows A: numbers from one to the next, numbers to write
  int64_t bias;           // 0 there is none, 1 it is the last row of B, 2 it counts as zero
  const int32_t* ends;    // (n_segments), where the rows of each segment end
  T *a, *b, *c;           // (n_rows, width), (n_segments, n_in [+ 1], n_out), (n_rows, n_out)
};

template <typename T>
struct Piece {  // rows of one segment
  int64_t first, count;
  T* b;
};

constexpr int N = LONG;

template <typename T>
void forward(const Args<T>& a, const Piece<T>& p) {
  product<T, N>({a.a + p.first * a.stride, a.stride, 1}, p.b, a.n_out, p.count, a.n_in, a.n_out,
                a.c + p.first * a.n_out, a.n_out,
                {a.bias == 1 ? p.b + a.n_in * a.n_out : nullptr, 0});
}

template <typename T>
void backward(const Args<T>& a, const Piece<T>& p, const std::vector<T>& turned, int64_t padded,
              std::vector<T>& wide) {
  const Matrix<T> left{a.c + p.first * a.n_out, a.n_out, 1};
  T* to = a.a + p.first * a.width;
  if (padded == a.width) {
    product<T, N>(left, turned.data(), padded, p.count, a.n_out, padded, to, padded, {nullptr, 0});
    return;
  }
  wide.resize(p.count * padded);
  product<T, N>(left, turned.data(), padded, p.count, a.n_out, padded, wide.data(), padded,
                {nullptr, 0});
  for (int64_t k = 0; k < p.count; ++k) {
    std::copy_n(wide.data() + k * padded, a.n_in, to + k * a.width);
    std::fill_n(to + k * a.width + a.n_in, a.width - a.n_in, T(0));
  }
}

template <typename T>
void outer(const Args<T>& a, const Piece<T>& p, bool fresh) {
  const T* c = a.c + p.first * a.n_out;
  product<T, N>({a.a + p.first * a.stride, 1, a.stride}, c, a.n_out, a.n_in, p.count, a.n_out, p.b,
                a.n_out, {fresh ? nullptr : p.b, a.n_out});
  T* to = p.b + a.n_in * a.n_out;
  if (a.bias && fresh) std::fill_n(to, a.n_out, T(0));
  if (a.bias != 1) return;
  for (int64_t k = 0; k < p.count; ++k)
    for (int64_t n = 0; n < a.n_out; ++n) to[n] += c[k * a.n_out + n];
}

// Each thread has whole segments: of `outer` no two write to the same matrix.
template <typename T>
void any(int which, const Args<T>& a) {
  constexpr int64_t half = 16 / sizeof(T);
  const int64_t padded = (a.n_in + half - 1) / half * half;
  const int64_t size = (a.n_in + (a.bias > 0)) * a.n_out;
#pragma omp parallel for num_threads(a.n_threads) schedule(dynamic)
  for (int64_t s = 0; s < a.n_segments; ++s) {
    const int64_t begin = s ? a.ends[s - 1] : 0, end = a.ends[s];
    T* b = a.b + s * size;
    if (which == 2 && begin == end) std::fill_n(b, size, T(0));
    if (begin == end) continue;
    std::vector<T> turned, wide;
    if (which == 1) turn<T>(b, a.n_in, a.n_out, turned, padded);
    for (int64_t k = begin; k < end; k += BLOCK) {
      const Piece<T> piece{k, std::min(BLOCK, end - k), b};
      if (which == 0) forward(a, piece);
      if (which == 1) backward(a, piece, turned, padded, wide);
      if (which == 2) outer(a, piece, k == begin);
    }
  }
}

}  // namespace

extern "C" void hermnet_affine_float(int which, const void* args) {
  any<float>(which, *static_cast<const Args<float>*>(args));
}

extern "C" void hermnet_affine_double(int which, const void* args) {
  any<double>(which, *static_cast<const Args<double>*>(args));
}
