// What a thread does with its edges in message.cpp: messages and their two derivatives.

#pragma once

#include "vectors.h"

namespace {

constexpr int64_t BLOCK = 64;  // edges
constexpr int64_t AHEAD = 2;

// What Python passes: eight bytes each, in this order. Pointers that are not wanted are null.
template <typename T>
struct Args {
  int64_t n_edges, n_slots, n_matrices, n_channels, n_basis, basis_stride, n_threads;
  int64_t n_sources, n_atoms, v_stride, tv_stride;
  const int32_t* ends;  // (n_slots), where the edges of each slot end
  const int64_t *rows, *neighbors, *atoms;  // (n_edges): receiving row, row of phi, row of v
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
class Worker {
 public:
  Worker(const Args<T>& args, T* d_phi, T* d_v)
      : a(args), C(args.n_channels), K(args.n_basis), d_phi(d_phi), d_v(d_v) {
    const int64_t half = Pack<T, N / 2>::size;
    padded = (K + half - 1) / half * half;
    f.resize(BLOCK * 3 * C);
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

  void forward(const Block<T>& b) {
    filters(b, a.basis, b.weight, f, false);
    for (int64_t k = 0; k < b.count; ++k) prefetch(b.first + k, false);
    for (int64_t k = 0; k < b.count;) {
      const int64_t row = a.rows[b.first + k];
      int64_t n = k + 1;
      while (n < b.count && a.rows[b.first + n] == row) ++n;
      sum_run(b.first, k, n, a.out + row * 4 * C);
      k = n;
    }
  }

  void backward(const Block<T>& b) {
    constexpr int64_t L = Pack<T, N>::size;
    d_f.resize(BLOCK * 3 * C);
    filters(b, a.basis, b.weight, f, false);
    for (int64_t k = 0; k < b.count; ++k) {
      const int64_t e = b.first + k, j = a.neighbors[e];
      if (k + AHEAD < b.count) prefetch(e + AHEAD, true);
      const T *p = a.phi + j * 3 * C, *v = a.v + a.atoms[e] * a.v_stride;
      const T *g = a.grad + a.rows[e] * 4 * C, *fe = f.data() + k * 3 * C;
      const T x = a.dirs[3 * e], y = a.dirs[3 * e + 1], z = a.dirs[3 * e + 2];
      T* df = d_f.data() + k * 3 * C;
      Vec<T, N> dx{}, dy{}, dz{};
      for (int64_t c = 0; c < C; c += L) {
        const auto gs = load<T, N>(g + c), gx = load<T, N>(g + C + c);
        const auto gy = load<T, N>(g + 2 * C + c), gz = load<T, N>(g + 3 * C + c);
        const auto ps = load<T, N>(p + c), pr = load<T, N>(p + C + c);
        const auto pv = load<T, N>(p + 2 * C + c);
        const auto fs = load<T, N>(fe + c), fr = load<T, N>(fe + C + c);
        const auto fv = load<T, N>(fe + 2 * C + c);
        const auto along = gx * x + gy * y + gz * z;
        const auto inner = gx * load<T, N>(v + c) + gy * load<T, N>(v + C + c) +
                           gz * load<T, N>(v + 2 * C + c);
        store<T, N>(df + c, gs * ps);
        store<T, N>(df + C + c, along * pr);
        store<T, N>(df + 2 * C + c, inner * pv);
        if (d_phi) {
          T* dp = d_phi + j * 3 * C + c;
          add<T, N>(dp, gs * fs);
          add<T, N>(dp + C, along * fr);
          add<T, N>(dp + 2 * C, inner * fv);
        }
        const auto m = pr * fr;
        dx += m * gx;
        dy += m * gy;
        dz += m * gz;
        if (d_v) {
          T* dv = d_v + a.atoms[e] * 3 * C + c;
          const auto q = pv * fv;
          add<T, N>(dv, q * gx);
          add<T, N>(dv + C, q * gy);
          add<T, N>(dv + 2 * C, q * gz);
        }
      }
      if (a.d_dirs) put(e, dx, dy, dz);
    }
    if (a.d_basis) to_basis(b, d_f, w_turned, false);
    if (b.d_weight) to_weight(b, a.basis, d_f);
  }

  // The gradient of <t, backward(...)> in all its inputs.
  void twice(const Block<T>& b) {
    constexpr int64_t L = Pack<T, N>::size;
    t_f.assign(BLOCK * 3 * C, T(0));
    d_f.resize(BLOCK * 3 * C);
    d_tf.resize(BLOCK * 3 * C);
    filters(b, a.basis, b.weight, f, false);
    if (a.t_basis) filters(b, a.t_basis, b.weight, t_f, false);
    if (b.t_weight) filters(b, a.basis, b.t_weight, t_f, true);
    const std::vector<T> nothing(3 * C, T(0));
    for (int64_t k = 0; k < b.count; ++k) {
      const int64_t e = b.first + k, j = a.neighbors[e], i = a.atoms[e];
      if (k + AHEAD < b.count) prefetch(e + AHEAD, true);
      const T *p = a.phi + j * 3 * C, *v = a.v + i * a.v_stride, *g = a.grad + a.rows[e] * 4 * C;
      const T* tp = a.t_phi ? a.t_phi + j * 3 * C : nothing.data();
      const T* tv = a.t_v ? a.t_v + i * a.tv_stride : nothing.data();
      const T *fe = f.data() + k * 3 * C, *tf = t_f.data() + k * 3 * C;
      T *df = d_f.data() + k * 3 * C, *dtf = d_tf.data() + k * 3 * C;
      const T x = a.dirs[3 * e], y = a.dirs[3 * e + 1], z = a.dirs[3 * e + 2];
      const T tx = a.t_dirs ? a.t_dirs[3 * e] : 0, ty = a.t_dirs ? a.t_dirs[3 * e + 1] : 0;
      const T tz = a.t_dirs ? a.t_dirs[3 * e + 2] : 0;
      T* out = a.out + a.rows[e] * 4 * C;
      Vec<T, N> dx{}, dy{}, dz{};
      for (int64_t c = 0; c < C; c += L) {
        const auto gs = load<T, N>(g + c), gx = load<T, N>(g + C + c);
        const auto gy = load<T, N>(g + 2 * C + c), gz = load<T, N>(g + 3 * C + c);
        const auto ps = load<T, N>(p + c), pr = load<T, N>(p + C + c);
        const auto pv = load<T, N>(p + 2 * C + c);
        const auto tps = load<T, N>(tp + c), tpr = load<T, N>(tp + C + c);
        const auto tpv = load<T, N>(tp + 2 * C + c);
        const auto fs = load<T, N>(fe + c), fr = load<T, N>(fe + C + c);
        const auto fv = load<T, N>(fe + 2 * C + c);
        const auto tfs = load<T, N>(tf + c), tfr = load<T, N>(tf + C + c);
        const auto tfv = load<T, N>(tf + 2 * C + c);
        const auto vx = load<T, N>(v + c), vy = load<T, N>(v + C + c);
        const auto vz = load<T, N>(v + 2 * C + c);
        const auto tvx = load<T, N>(tv + c), tvy = load<T, N>(tv + C + c);
        const auto tvz = load<T, N>(tv + 2 * C + c);
        const auto along = gx * x + gy * y + gz * z, inner = gx * vx + gy * vy + gz * vz;
        const auto t_along = gx * tx + gy * ty + gz * tz;
        const auto t_inner = gx * tvx + gy * tvy + gz * tvz;
        const auto mr = pr * fr, mv = pv * fv;
        const auto tmr = tpr * fr + pr * tfr, tmv = tpv * fv + pv * tfv;
        add<T, N>(out + c, tps * fs + ps * tfs);
        add<T, N>(out + C + c, tmr * x + mr * tx + tmv * vx + mv * tvx);
        add<T, N>(out + 2 * C + c, tmr * y + mr * ty + tmv * vy + mv * tvy);
        add<T, N>(out + 3 * C + c, tmr * z + mr * tz + tmv * vz + mv * tvz);
        store<T, N>(df + c, gs * tps);
        store<T, N>(df + C + c, tpr * along + pr * t_along);
        store<T, N>(df + 2 * C + c, tpv * inner + pv * t_inner);
        store<T, N>(dtf + c, gs * ps);
        store<T, N>(dtf + C + c, pr * along);
        store<T, N>(dtf + 2 * C + c, pv * inner);
        if (d_phi) {
          T* dp = d_phi + j * 3 * C + c;
          add<T, N>(dp, gs * tfs);
          add<T, N>(dp + C, tfr * along + fr * t_along);
          add<T, N>(dp + 2 * C, tfv * inner + fv * t_inner);
        }
        if (d_v) {
          T* dv = d_v + i * 3 * C + c;
          add<T, N>(dv, tmv * gx);
          add<T, N>(dv + C, tmv * gy);
          add<T, N>(dv + 2 * C, tmv * gz);
        }
        dx += tmr * gx;
        dy += tmr * gy;
        dz += tmr * gz;
      }
      if (a.d_dirs) put(e, dx, dy, dz);
    }
    if (a.d_basis) {
      to_basis(b, d_f, w_turned, false);
      if (b.t_weight) to_basis(b, d_tf, tw_turned, true);
    }
    if (b.d_weight) {
      to_weight(b, a.basis, d_f);
      if (a.t_basis) to_weight(b, a.t_basis, d_tf);
    }
  }

 private:
  void prefetch(int64_t e, bool gradients) {
    const int64_t bytes = 3 * C * sizeof(T);
    const char* p = reinterpret_cast<const char*>(a.phi + a.neighbors[e] * 3 * C);
    const char* v = reinterpret_cast<const char*>(a.v + a.atoms[e] * a.v_stride);
    for (int64_t k = 0; k < bytes; k += 64) {
      __builtin_prefetch(p + k);
      __builtin_prefetch(v + k);
    }
    if (!gradients) return;
    const char* dp = reinterpret_cast<const char*>(d_phi + a.neighbors[e] * 3 * C);
    const char* dv = reinterpret_cast<const char*>(d_v + a.atoms[e] * 3 * C);
    for (int64_t k = 0; k < bytes; k += 64) {
      if (d_phi) __builtin_prefetch(dp + k, 1);
      if (d_v) __builtin_prefetch(dv + k, 1);
    }
  }

  const Args<T>& a;
  const int64_t C, K;
  T *d_phi, *d_v;
  int64_t padded;
  std::vector<T> f, t_f, d_f, d_tf, w_turned, tw_turned, wide;

  void turn(const T* weight, std::vector<T>& turned) {  // (K, 3C) -> (3C, padded)
    if (!a.d_basis) return;
    turned.assign(3 * C * padded, T(0));
    for (int64_t k = 0; k < K; ++k)
      for (int64_t c = 0; c < 3 * C; ++c) turned[c * padded + k] = weight[k * 3 * C + c];
  }

  void filters(const Block<T>& b, const T* basis, const T* weight, std::vector<T>& to, bool plus) {
    product<T, N>({basis + b.first * a.basis_stride, a.basis_stride, 1}, weight, 3 * C, b.count, K,
                  3 * C, to.data(), 3 * C, {plus ? to.data() : nullptr, 3 * C});
  }

  void to_basis(const Block<T>& b, const std::vector<T>& grad, const std::vector<T>& turned,
                bool plus) {
    wide.resize(BLOCK * padded);
    product<T, N>({grad.data(), 3 * C, 1}, turned.data(), padded, b.count, 3 * C, padded,
                  wide.data(), padded, {nullptr, 0});
    for (int64_t k = 0; k < b.count; ++k)
      for (int64_t n = 0; n < K; ++n) {
        T& to = a.d_basis[(b.first + k) * a.basis_stride + n];
        to = (plus ? to : T(0)) + wide[k * padded + n];
      }
  }

  void to_weight(const Block<T>& b, const T* basis, const std::vector<T>& grad) {
    product<T, N>({basis + b.first * a.basis_stride, 1, a.basis_stride}, grad.data(), 3 * C, K,
                  b.count, 3 * C, b.d_weight, 3 * C, {b.d_weight, 3 * C});
  }

  void put(int64_t e, Vec<T, N> dx, Vec<T, N> dy, Vec<T, N> dz) {
    a.d_dirs[3 * e] = total<T, N>(dx);
    a.d_dirs[3 * e + 1] = total<T, N>(dy);
    a.d_dirs[3 * e + 2] = total<T, N>(dz);
  }

  void sum_run(int64_t first, int64_t begin, int64_t end, T* out) {
    constexpr int64_t L = Pack<T, N>::size;
    for (int64_t c = 0; c < C; c += L) {
      Vec<T, N> s{}, x{}, y{}, z{};
      for (int64_t k = begin; k < end; ++k) {
        const int64_t e = first + k;
        const T *p = a.phi + a.neighbors[e] * 3 * C + c, *v = a.v + a.atoms[e] * a.v_stride + c;
        const T *fe = f.data() + k * 3 * C + c, *d = a.dirs + 3 * e;
        s += load<T, N>(p) * load<T, N>(fe);
        const auto r = load<T, N>(p + C) * load<T, N>(fe + C);
        const auto q = load<T, N>(p + 2 * C) * load<T, N>(fe + 2 * C);
        x += r * d[0] + q * load<T, N>(v);
        y += r * d[1] + q * load<T, N>(v + C);
        z += r * d[2] + q * load<T, N>(v + 2 * C);
      }
      add<T, N>(out + c, s);
      add<T, N>(out + C + c, x);
      add<T, N>(out + 2 * C + c, y);
      add<T, N>(out + 3 * C + c, z);
    }
  }
};

}  // namespace
