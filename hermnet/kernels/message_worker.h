// What a thread does with its edges in message.cpp: messages and their two derivatives.
//
// A filter is that of both ways of an edge, and so are its gradients; on the way back the direction
// is the opposite.

#pragma once

#include "message_filters.h"

namespace {

constexpr int64_t AHEAD = 2;  // edges

template <typename T, int N>
class Worker {
 public:
  Worker(const Args<T>& args, T* out, T* d_phi, T* d_v)
      : filters(args), a(args), C(args.n_channels), W(args.n_ways), out(out), d_phi(d_phi),
        d_v(d_v), nothing(3 * C, T(0)) {
    f.resize(BLOCK * 3 * C);
  }

  Filters<T, N> filters;

  void forward(const Block<T>& b) {
    filters.make(b, f);
    for (int64_t k = 0; k < b.count; ++k) prefetch(b.first + k, false);
    for (int64_t k = 0; k < b.count;) {
      const int64_t begin = k, row = a.rows[(b.first + k) * W];
      while (k < b.count && a.rows[(b.first + k) * W] == row) ++k;
      sum_run(b.first, begin, k, out + row * 4 * C);
      if (W == 1) continue;
      for (int64_t n = begin; n < k; ++n)
        if (goes_back(b.first + n)) message_back(b.first + n, n);
    }
  }

  void backward(const Block<T>& b) {
    d_f.resize(BLOCK * 3 * C);
    filters.make(b, f);
    for (int64_t k = 0; k < b.count; ++k) {
      const int64_t e = b.first + k;
      if (k + AHEAD < b.count) prefetch(e + AHEAD, true);
      Vectors d = backward_way<false>(e, k);
      if (goes_back(e)) d.subtract(backward_way<true>(e, k));
      if (a.d_dirs) put(e, d);
    }
    filters.pass_on(b, d_f, d_tf);
  }

  // The gradient of <t, backward(...)> in all its inputs.
  void twice(const Block<T>& b) {
    t_f.assign(BLOCK * 3 * C, T(0));
    d_f.resize(BLOCK * 3 * C);
    d_tf.resize(BLOCK * 3 * C);
    filters.make(b, f);
    filters.make_tangent(b, t_f);
    for (int64_t k = 0; k < b.count; ++k) {
      const int64_t e = b.first + k;
      if (k + AHEAD < b.count) prefetch(e + AHEAD, true);
      Vectors d = twice_way<false>(e, k);
      if (goes_back(e)) d.subtract(twice_way<true>(e, k));
      if (a.d_dirs) put(e, d);
    }
    filters.pass_on(b, d_f, d_tf);
  }

 private:
  static constexpr int64_t L = Pack<T, N>::size;

  // The gradient of a direction before lanes are added up.
  struct Vectors {
    Vec<T, N> x{}, y{}, z{};
    void subtract(const Vectors& other) {
      x -= other.x;
      y -= other.y;
      z -= other.z;
    }
  };

  const Args<T>& a;
  const int64_t C, W;
  T *out, *d_phi, *d_v;
  const std::vector<T> nothing;  // in place of tangents that are not given
  std::vector<T> f, t_f, d_f, d_tf;

  bool goes_back(int64_t e) const { return W == 2 && a.rows[2 * e + 1] < a.n_rows; }

  // What the way there writes the way back adds to.
  template <bool IS_BACK>
  static void put_or_add(T* p, Vec<T, N> value) {
    if (IS_BACK)
      add<T, N>(p, value);
    else
      store<T, N>(p, value);
  }

  void prefetch(int64_t e, bool gradients) const {
    const int64_t bytes = 3 * C * sizeof(T);
    for (int64_t w = e * W; w < (e + 1) * W; ++w) {
      const char* p = reinterpret_cast<const char*>(a.phi + a.neighbors[w] * 3 * C);
      const char* v = reinterpret_cast<const char*>(a.v + a.atoms[w] * a.v_stride);
      for (int64_t k = 0; k < bytes; k += 64) {
        __builtin_prefetch(p + k);
        __builtin_prefetch(v + k);
      }
      if (!gradients) continue;
      const char* dp = reinterpret_cast<const char*>(d_phi + a.neighbors[w] * 3 * C);
      const char* dv = reinterpret_cast<const char*>(d_v + a.atoms[w] * 3 * C);
      for (int64_t k = 0; k < bytes; k += 64) {
        if (d_phi) __builtin_prefetch(dp + k, 1);
        if (d_v) __builtin_prefetch(dv + k, 1);
      }
    }
  }

  void sum_run(int64_t first, int64_t begin, int64_t end, T* to) {
    for (int64_t c = 0; c < C; c += L) {
      Vec<T, N> s{}, x{}, y{}, z{};
      for (int64_t k = begin; k < end; ++k) {
        const int64_t e = first + k, w = e * W;
        const T *p = a.phi + a.neighbors[w] * 3 * C + c, *v = a.v + a.atoms[w] * a.v_stride + c;
        const T *fe = f.data() + k * 3 * C + c, *d = a.dirs + 3 * e;
        s += load<T, N>(p) * load<T, N>(fe);
        const auto r = load<T, N>(p + C) * load<T, N>(fe + C);
        const auto q = load<T, N>(p + 2 * C) * load<T, N>(fe + 2 * C);
        x += r * d[0] + q * load<T, N>(v);
        y += r * d[1] + q * load<T, N>(v + C);
        z += r * d[2] + q * load<T, N>(v + 2 * C);
      }
      add<T, N>(to + c, s);
      add<T, N>(to + C + c, x);
      add<T, N>(to + 2 * C + c, y);
      add<T, N>(to + 3 * C + c, z);
    }
  }

  void message_back(int64_t e, int64_t k) {
    const int64_t w = 2 * e + 1;
    const T *p = a.phi + a.neighbors[w] * 3 * C, *v = a.v + a.atoms[w] * a.v_stride;
    const T *fe = f.data() + k * 3 * C, *d = a.dirs + 3 * e;
    T* to = out + a.rows[w] * 4 * C;
    for (int64_t c = 0; c < C; c += L) {
      const auto r = load<T, N>(p + C + c) * load<T, N>(fe + C + c);
      const auto q = load<T, N>(p + 2 * C + c) * load<T, N>(fe + 2 * C + c);
      add<T, N>(to + c, load<T, N>(p + c) * load<T, N>(fe + c));
      add<T, N>(to + C + c, q * load<T, N>(v + c) - r * d[0]);
      add<T, N>(to + 2 * C + c, q * load<T, N>(v + C + c) - r * d[1]);
      add<T, N>(to + 3 * C + c, q * load<T, N>(v + 2 * C + c) - r * d[2]);
    }
  }

  template <bool IS_BACK>
  Vectors backward_way(int64_t e, int64_t k) {
    const int64_t w = e * W + IS_BACK, j = a.neighbors[w];
    const T *p = a.phi + j * 3 * C, *v = a.v + a.atoms[w] * a.v_stride;
    const T *g = a.grad + a.rows[w] * 4 * C, *fe = f.data() + k * 3 * C;
    const T sign = IS_BACK ? -1 : 1, *d = a.dirs + 3 * e;
    const T x = sign * d[0], y = sign * d[1], z = sign * d[2];
    T* df = d_f.data() + k * 3 * C;
    Vectors found;
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
      put_or_add<IS_BACK>(df + c, gs * ps);
      put_or_add<IS_BACK>(df + C + c, along * pr);
      put_or_add<IS_BACK>(df + 2 * C + c, inner * pv);
      if (d_phi) {
        T* dp = d_phi + j * 3 * C + c;
        add<T, N>(dp, gs * fs);
        add<T, N>(dp + C, along * fr);
        add<T, N>(dp + 2 * C, inner * fv);
      }
      const auto m = pr * fr;
      found.x += m * gx;
      found.y += m * gy;
      found.z += m * gz;
      if (d_v) {
        T* dv = d_v + a.atoms[w] * 3 * C + c;
        const auto q = pv * fv;
        add<T, N>(dv, q * gx);
        add<T, N>(dv + C, q * gy);
        add<T, N>(dv + 2 * C, q * gz);
      }
    }
    return found;
  }

  template <bool IS_BACK>
  Vectors twice_way(int64_t e, int64_t k) {
    const int64_t w = e * W + IS_BACK, j = a.neighbors[w], i = a.atoms[w];
    const T *p = a.phi + j * 3 * C, *v = a.v + i * a.v_stride, *g = a.grad + a.rows[w] * 4 * C;
    const T* tp = a.t_phi ? a.t_phi + j * 3 * C : nothing.data();
    const T* tv = a.t_v ? a.t_v + i * a.tv_stride : nothing.data();
    const T *fe = f.data() + k * 3 * C, *tf = t_f.data() + k * 3 * C;
    T *df = d_f.data() + k * 3 * C, *dtf = d_tf.data() + k * 3 * C;
    const T sign = IS_BACK ? -1 : 1, t_sign = a.t_dirs ? sign : 0;
    const T *d = a.dirs + 3 * e, *t_d = a.t_dirs ? a.t_dirs + 3 * e : d;
    const T x = sign * d[0], y = sign * d[1], z = sign * d[2];
    const T tx = t_sign * t_d[0], ty = t_sign * t_d[1], tz = t_sign * t_d[2];
    T* to = out + a.rows[w] * 4 * C;
    Vectors found;
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
      add<T, N>(to + c, tps * fs + ps * tfs);
      add<T, N>(to + C + c, tmr * x + mr * tx + tmv * vx + mv * tvx);
      add<T, N>(to + 2 * C + c, tmr * y + mr * ty + tmv * vy + mv * tvy);
      add<T, N>(to + 3 * C + c, tmr * z + mr * tz + tmv * vz + mv * tvz);
      put_or_add<IS_BACK>(df + c, gs * tps);
      put_or_add<IS_BACK>(df + C + c, tpr * along + pr * t_along);
      put_or_add<IS_BACK>(df + 2 * C + c, tpv * inner + pv * t_inner);
      put_or_add<IS_BACK>(dtf + c, gs * ps);
      put_or_add<IS_BACK>(dtf + C + c, pr * along);
      put_or_add<IS_BACK>(dtf + 2 * C + c, pv * inner);
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
      found.x += tmr * gx;
      found.y += tmr * gy;
      found.z += tmr * gz;
    }
    return found;
  }

  void put(int64_t e, const Vectors& d) {
    a.d_dirs[3 * e] = total<T, N>(d.x);
    a.d_dirs[3 * e + 1] = total<T, N>(d.y);
    a.d_dirs[3 * e + 2] = total<T, N>(d.z);
  }
};

}  // namespace
