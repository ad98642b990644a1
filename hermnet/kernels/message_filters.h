// Filters of a block of edges in message.cpp, and where the gradients of filters go.

#pragma once

#include "vectors.h"

namespace {

constexpr int64_t BLOCK = 64;  // edges

// What Python passes: eight bytes each, in this order. Pointers that are not wanted are null.
template <typename T>
struct Args {
  int64_t n_edges, n_ways, n_rows, n_slots, n_matrices, n_channels, n_basis, basis_stride;
  int64_t n_threads, n_sources, n_atoms, v_stride, tv_stride;  // no atoms: all v are zero
  const int32_t* ends;  // (n_slots), where the edges of each slot end
  const int64_t *rows, *neighbors, *atoms;  // (n_edges, n_ways): receiving row, row of phi, of v
  const T *phi, *v, *basis, *dirs, *weight, *grad;
  const T *t_phi, *t_v, *t_basis, *t_dirs, *t_weight;
  T *out, *d_phi, *d_v, *d_basis, *d_dirs, *d_weight;
};

template <typename T>
struct Block {
  int64_t first, count;
  const T *weight, *t_weight;
  T* d_weight;
};

template <typename T, int N>
class Filters {
 public:
  explicit Filters(const Args<T>& args)
      : a(args), C(args.n_channels), K(args.n_basis), used((args.n_atoms ? 3 : 2) * C) {
    const int64_t half = Pack<T, N / 2>::size;
    padded = (K + half - 1) / half * half;
  }

  std::vector<T> first_d_weight;  // of a slot whose matrix other threads may write too
  int64_t first_matrix = -1;

  // Call `work` for each block of the edges [begin, end), none of which spans two slots.
  template <typename Work>
  void blocks(int64_t begin, int64_t end, Work work) {
    const int64_t size = K * 3 * C;
    int64_t slot = 0;
    for (int64_t e = begin; e < end;) {
      while (a.ends[slot] <= e) ++slot;
      const int64_t matrix = a.n_matrices == 1 ? 0 : slot;
      const int64_t stop = std::min<int64_t>(end, a.n_matrices == 1 ? end : a.ends[slot]);
      T* d_weight = a.d_weight ? a.d_weight + matrix * size : nullptr;
      if (d_weight && e == begin) {
        first_matrix = matrix;
        first_d_weight.assign(size, T(0));
        d_weight = first_d_weight.data();
      }
      turn(a.weight + matrix * size, w_turned);
      if (a.t_weight) turn(a.t_weight + matrix * size, tw_turned);
      for (; e < stop; e += BLOCK) {
        Block<T> block{e, std::min(BLOCK, stop - e), a.weight + matrix * size,
                       a.t_weight ? a.t_weight + matrix * size : nullptr, d_weight};
        work(block);
      }
      e = stop;
    }
  }

  void make(const Block<T>& b, std::vector<T>& f) { products(b, a.basis, b.weight, f, false); }

  void make_tangent(const Block<T>& b, std::vector<T>& t_f) {
    if (a.t_basis) products(b, a.t_basis, b.weight, t_f, false);
    if (b.t_weight) products(b, a.basis, b.t_weight, t_f, true);
  }

  // To basis and weights, from the gradient of filters and, if there is one, of their tangents.
  void pass_on(const Block<T>& b, const std::vector<T>& d_f, const std::vector<T>& d_tf) {
    const bool twice = !d_tf.empty();
    if (a.d_basis) {
      to_basis(b, d_f, w_turned, false);
      if (twice && b.t_weight) to_basis(b, d_tf, tw_turned, true);
    }
    if (b.d_weight) {
      to_weight(b, a.basis, d_f);
      if (twice && a.t_basis) to_weight(b, a.t_basis, d_tf);
    }
  }

 private:
  const Args<T>& a;
  const int64_t C, K, used;  // columns of filters: those that meet v come last
  int64_t padded;
  std::vector<T> w_turned, tw_turned, wide;

  void turn(const T* weight, std::vector<T>& turned) {  // (K, 3C) -> (3C, padded)
    if (!a.d_basis) return;
    turned.assign(3 * C * padded, T(0));
    for (int64_t k = 0; k < K; ++k)
      for (int64_t c = 0; c < 3 * C; ++c) turned[c * padded + k] = weight[k * 3 * C + c];
  }

  void products(const Block<T>& b, const T* basis, const T* weight, std::vector<T>& to,
                bool plus) {
    product<T, N>({basis + b.first * a.basis_stride, a.basis_stride, 1}, weight, 3 * C, b.count, K,
                  used, to.data(), 3 * C, {plus ? to.data() : nullptr, 3 * C});
  }

  void to_basis(const Block<T>& b, const std::vector<T>& grad, const std::vector<T>& turned,
                bool plus) {
    wide.resize(BLOCK * padded);
    product<T, N>({grad.data(), 3 * C, 1}, turned.data(), padded, b.count, used, padded,
                  wide.data(), padded, {nullptr, 0});
    for (int64_t k = 0; k < b.count; ++k)
      for (int64_t n = 0; n < K; ++n) {
        T& to = a.d_basis[(b.first + k) * a.basis_stride + n];
        to = (plus ? to : T(0)) + wide[k * padded + n];
      }
  }

  void to_weight(const Block<T>& b, const T* basis, const std::vector<T>& grad) {
    product<T, N>({basis + b.first * a.basis_stride, 1, a.basis_stride}, grad.data(), 3 * C, K,
                  b.count, used, b.d_weight, 3 * C, {b.d_weight, 3 * C});
  }
};

}  // namespace
