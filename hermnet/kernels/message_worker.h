// What a thread does with its edges in message.cpp: messages and their two derivatives.
//
// A filter is that of both ways of an edge, and so are its gradients; on the way back the direction
// is the opposite.

#pragma once

#include "message_filters.h"

namespace {

constexpr int64_t AHEAD = 2;  // edges

// Without V all v are zero, and nothing is done for them.
template <typename T, int N, bool V>
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
      if (goes_back(e)) d -= backward_way<true>(e, k);
      if (a.d_dirs) put_direction(e, d);
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
      if (goes_back(e)) d -= twice_way<true>(e, k);
      if (a.d_dirs) put_direction(e, d);
    }
    filters.pass_on(b, d_f, d_tf);
  }

 private:
  static constexpr int64_t L = Pack<T, N>::size;
  using Lanes = Vec<T, N>;

  struct Vectors {
    Lanes x{}, y{}, z{};
    void operator+=(const Vectors& o) { x += o.x, y += o.y, z += o.z; }
    void operator-=(const Vectors& o) { x -= o.x, y -= o.y, z -= o.z; }
    friend Vectors operator*(Lanes m, const Vectors& v) { return {m * v.x, m * v.y, m * v.z}; }
    template <typename Other>
    Lanes dot(const Other& o) const {
      return x * o.x + y * o.y + z * o.z;
    }
  };

  struct Direction {
    T x, y, z;
    Direction(const T* p, T sign) : x(sign * p[0]), y(sign * p[1]), z(sign * p[2]) {}
    friend Vectors operator*(Lanes m, const Direction& d) { return {m * d.x, m * d.y, m * d.z}; }
  };

  // A row of phi or of a filter: what meets scalars, directions and v. Without V no v is used.
  struct Parts {
    Lanes s, r, v;
  };

  const Args<T>& a;
  const int64_t C, W;
  T *out, *d_phi, *d_v;
  const std::vector<T> nothing;  // in place of tangents that are not given
  std::vector<T> f, t_f, d_f, d_tf;

  bool goes_back(int64_t e) const { return W == 2 && a.rows[2 * e + 1] < a.n_rows; }

  Vectors vectors(const T* p) const {
    return {load<T, N>(p), load<T, N>(p + C), load<T, N>(p + 2 * C)};
  }

  void add_vectors(T* p, const Vectors& v) const {
    add<T, N>(p, v.x);
    add<T, N>(p + C, v.y);
    add<T, N>(p + 2 * C, v.z);
  }

  Parts parts(const T* p) const {
    return {load<T, N>(p), load<T, N>(p + C), V ? load<T, N>(p + 2 * C) : Lanes{}};
  }

  template <bool IS_ADDED>
  void put(T* p, const Parts& values) const {
    put_one<IS_ADDED>(p, values.s);
    put_one<IS_ADDED>(p + C, values.r);
    if (V) put_one<IS_ADDED>(p + 2 * C, values.v);
  }

  template <bool IS_ADDED>
  static void put_one(T* p, Lanes value) {
    if (IS_ADDED)
      add<T, N>(p, value);
    else
      store<T, N>(p, value);
  }

  void put_direction(int64_t e, const Vectors& d) const {
    a.d_dirs[3 * e] = total<T, N>(d.x);
    a.d_dirs[3 * e + 1] = total<T, N>(d.y);
    a.d_dirs[3 * e + 2] = total<T, N>(d.z);
  }

  // Rows of the gradients that a way adds to, null where they are not wanted.
  T* d_phi_of(int64_t w) const { return d_phi ? d_phi + a.neighbors[w] * 3 * C : nullptr; }
  T* d_v_of(int64_t w) const { return V && d_v ? d_v + a.atoms[w] * 3 * C : nullptr; }

  const T* phi_of(int64_t w) const { return a.phi + a.neighbors[w] * 3 * C; }
  const T* v_of(int64_t w) const { return V ? a.v + a.atoms[w] * a.v_stride : nothing.data(); }

  void prefetch(int64_t e, bool gradients) const {
    for (int64_t w = e * W; w < (e + 1) * W; ++w) {
      prefetch_row<0>(phi_of(w));
      if (V) prefetch_row<0>(v_of(w));
      if (!gradients) continue;
      if (d_phi) prefetch_row<1>(d_phi_of(w));
      if (d_v) prefetch_row<1>(d_v_of(w));
    }
  }

  template <int FOR_WRITING>
  void prefetch_row(const T* p) const {
    const char* byte = reinterpret_cast<const char*>(p);
    const int64_t n = 3 * C * sizeof(T);
    for (int64_t k = 0; k < n; k += 64) __builtin_prefetch(byte + k, FOR_WRITING);
  }

  Vectors message(const Parts& p, const Parts& f, const T* v, const Direction& d) const {
    Vectors m = (p.r * f.r) * d;
    if (V) m += (p.v * f.v) * vectors(v);
    return m;
  }

  void sum_run(int64_t first, int64_t begin, int64_t end, T* to) {
    for (int64_t c = 0; c < C; c += L) {
      Lanes scalar{};
      Vectors vector;
      for (int64_t k = begin; k < end; ++k) {
        const int64_t e = first + k, w = e * W;
        const Parts p = parts(phi_of(w) + c), fe = parts(f.data() + k * 3 * C + c);
        scalar += p.s * fe.s;
        vector += message(p, fe, v_of(w) + c, {a.dirs + 3 * e, 1});
      }
      add<T, N>(to + c, scalar);
      add_vectors(to + C + c, vector);
    }
  }

  void message_back(int64_t e, int64_t k) {
    const int64_t w = 2 * e + 1;
    const T *phi = phi_of(w), *v = v_of(w), *filter = f.data() + k * 3 * C;
    const Direction d(a.dirs + 3 * e, -1);
    T* to = out + a.rows[w] * 4 * C;
    for (int64_t c = 0; c < C; c += L) {
      const Parts p = parts(phi + c), fe = parts(filter + c);
      add<T, N>(to + c, p.s * fe.s);
      add_vectors(to + C + c, message(p, fe, v + c, d));
    }
  }

  template <bool IS_BACK>
  Vectors backward_way(int64_t e, int64_t k) {
    const int64_t w = e * W + IS_BACK;
    const T *phi = phi_of(w), *v_row = v_of(w), *filter = f.data() + k * 3 * C;
    const T* grad = a.grad + a.rows[w] * 4 * C;
    const Direction d(a.dirs + 3 * e, IS_BACK ? -1 : 1);
    T *df = d_f.data() + k * 3 * C, *dp = d_phi_of(w), *dv = d_v_of(w);
    Vectors found;
    for (int64_t c = 0; c < C; c += L) {
      const Parts p = parts(phi + c), fe = parts(filter + c);
      const Lanes gs = load<T, N>(grad + c);
      const Vectors g = vectors(grad + C + c);
      const Lanes along = g.dot(d), inner = V ? g.dot(vectors(v_row + c)) : Lanes{};
      put<IS_BACK>(df + c, {gs * p.s, along * p.r, inner * p.v});
      if (dp) put<true>(dp + c, {gs * fe.s, along * fe.r, inner * fe.v});
      if (dv) add_vectors(dv + c, (p.v * fe.v) * g);
      found += (p.r * fe.r) * g;
    }
    return found;
  }

  template <bool IS_BACK>
  Vectors twice_way(int64_t e, int64_t k) {
    const int64_t w = e * W + IS_BACK, j = a.neighbors[w], i = a.atoms[w];
    const T *phi = phi_of(w), *v_row = v_of(w), *grad = a.grad + a.rows[w] * 4 * C;
    const T* t_phi = a.t_phi ? a.t_phi + j * 3 * C : nothing.data();
    const T* t_v = V && a.t_v ? a.t_v + i * a.tv_stride : nothing.data();
    const T *filter = f.data() + k * 3 * C, *t_filter = t_f.data() + k * 3 * C;
    T *df = d_f.data() + k * 3 * C, *dtf = d_tf.data() + k * 3 * C;
    T *to = out + a.rows[w] * 4 * C, *dp = d_phi_of(w), *dv = d_v_of(w);
    const T sign = IS_BACK ? -1 : 1;
    const Direction d(a.dirs + 3 * e, sign);
    const Direction td((a.t_dirs ? a.t_dirs : a.dirs) + 3 * e, a.t_dirs ? sign : 0);
    Vectors found;
    for (int64_t c = 0; c < C; c += L) {
      const Parts p = parts(phi + c), fe = parts(filter + c);
      const Parts tp = parts(t_phi + c), tf = parts(t_filter + c);
      const Lanes gs = load<T, N>(grad + c);
      const Vectors g = vectors(grad + C + c);
      const Vectors v = V ? vectors(v_row + c) : Vectors{}, tv = V ? vectors(t_v + c) : Vectors{};
      const Lanes along = g.dot(d), inner = g.dot(v);
      const Lanes t_along = g.dot(td), t_inner = g.dot(tv);
      const Lanes tmr = tp.r * fe.r + p.r * tf.r, tmv = tp.v * fe.v + p.v * tf.v;
      Vectors sum = tmr * d;
      sum += (p.r * fe.r) * td;
      if (V) sum += tmv * v;
      if (V) sum += (p.v * fe.v) * tv;
      add<T, N>(to + c, tp.s * fe.s + p.s * tf.s);
      add_vectors(to + C + c, sum);
      put<IS_BACK>(df + c, {gs * tp.s, tp.r * along + p.r * t_along,
                            tp.v * inner + p.v * t_inner});
      put<IS_BACK>(dtf + c, {gs * p.s, p.r * along, p.v * inner});
      if (dp)
        put<true>(dp + c, {gs * tf.s, tf.r * along + fe.r * t_along,
                           tf.v * inner + fe.v * t_inner});
      if (dv) add_vectors(dv + c, tmv * g);
      found += tmr * g;
    }
    return found;
  }
};

}  // namespace
