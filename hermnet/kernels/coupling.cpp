// Products of gathered features with harmonics and weights, summed on receiving rows (NequIP).
//
//   out[to_e, l3 k] += sum_p C^p_jki x[from_e, l1 i] y[e, l2 j] w[e, p]     channel by channel
//
// over paths p = (l1, l2, l3) with l1 + l2 + l3 even, and its two derivatives. The harmonics of an
// edge and the C meet first, in one small matrix for each path; only these meet the channels.
// Everything is a derivative of <g, out>, which is linear in each of g, x, y and w.
//
// An edge may go several ways: there, and back along the opposite direction, where harmonics of odd
// degree change their sign. A way whose receiving row is none goes nowhere. Where `runs` says that
// the edges of a row stand together, a thread owns whole rows; else each has results of its own,
// and these are added up in the order of threads.

#include "paths.h"

namespace {

constexpr int64_t LEAST = 32;  // edges of a thread

// What Python passes: eight bytes each, in this order. Pointers that are not wanted are null.
template <typename T>
struct Args {
  int64_t n_features, n_components;  // (lmax + 1)^2 of x, and of all else
  int64_t n_edges, n_ways, n_channels, n_to, n_from, runs, n_threads;
  const int64_t *to, *from;  // (n_edges, n_ways)
  const T* table;            // the C of all paths, (2 l2 + 1, 2 l3 + 1, 2 l1 + 1) each
  const T *x, *y, *w, *grad, *t_x, *t_y, *t_w;
  T *out, *d_x, *d_y, *d_w;
};

// What a thread does with a way of an edge; N is the number of bytes of a vector.
template <typename T, int N, typename D>
class Worker {
 public:
  static constexpr int64_t L = Pack<T, N>::size, FROM = D::rows1, ROWS = D::rows3;
  static constexpr int64_t SIZE = D::size, COUNT = D::count;

  Worker(const Args<T>& args, T* out, T* d_x)
      : a(args), C(args.n_channels), out(out), d_x(d_x), sums(a.d_y ? SIZE * L : 0) {}

  void edge(int64_t number) {
    e = number;
    is_first = true;
    matrices<D>(a.table, a.y + e * ROWS, m);
    if (a.t_y) matrices<D>(a.table, a.t_y + e * ROWS, tm);
    if (a.d_y) std::fill_n(a.d_y + e * ROWS, ROWS, T(0));
  }

  void back() {
    turn_back<D>(m);
    if (a.t_y) turn_back<D>(tm);
  }

  void forward(int64_t to, int64_t from, bool) {
    const T *x = a.x + from * FROM * C, *w = a.w + e * COUNT * C;
    T* result = out + to * ROWS * C;
    for (int64_t c = 0; c < C; c += L) {
      Vec<T, N> sum[ROWS] = {};
      each_path<D>([&](auto path) {
        using P = decltype(path);
        const auto weight = load<T, N>(w + P::number * C + c);
        for (int i = 0; i < P::n1; ++i) {
          const auto moved = weight * load<T, N>(x + (P::row1 + i) * C + c);
          for (int k = 0; k < P::n3; ++k) sum[P::row3 + k] += m[P::at + k * P::n1 + i] * moved;
        }
      });
      for (int64_t r = 0; r < ROWS; ++r) add<T, N>(result + r * C + c, sum[r]);
    }
  }

  void backward(int64_t to, int64_t from, bool is_back) {
    const T *x = a.x + from * FROM * C, *w = a.w + e * COUNT * C, *g = a.grad + to * ROWS * C;
    for (int64_t c = 0; c < C; c += L) {
      Vec<T, N> sum[FROM] = {};
      each_path<D>([&](auto path) {
        using P = decltype(path);
        const auto weight = load<T, N>(w + P::number * C + c);
        Vec<T, N> d_weight{};
        for (int i = 0; i < P::n1; ++i) {
          const auto h = against<P>(m, g + c, i), xi = load<T, N>(x + (P::row1 + i) * C + c);
          sum[P::row1 + i] += weight * h;
          d_weight += xi * h;
          if (a.d_y) to_sums<P>(g + c, weight * xi, i, c == 0);
        }
        if (a.d_w) put(P::number, c, d_weight);
      });
      scatter(from, c, sum);
    }
    finish(is_back);
  }

  // The gradient of <t, backward(...)> in all its inputs.
  void twice(int64_t to, int64_t from, bool is_back) {
    const T *x = a.x + from * FROM * C, *w = a.w + e * COUNT * C, *g = a.grad + to * ROWS * C;
    const T* t_x = a.t_x ? a.t_x + from * FROM * C : nullptr;
    const T* t_w = a.t_w ? a.t_w + e * COUNT * C : nullptr;
    for (int64_t c = 0; c < C; c += L) {
      Vec<T, N> sum[FROM] = {}, received[ROWS] = {};
      each_path<D>([&](auto path) {
        using P = decltype(path);
        const auto weight = load<T, N>(w + P::number * C + c);
        const auto t_weight = t_w ? load<T, N>(t_w + P::number * C + c) : Vec<T, N>{};
        Vec<T, N> d_weight{};
        for (int i = 0; i < P::n1; ++i) {
          const auto xi = load<T, N>(x + (P::row1 + i) * C + c);
          const auto t_xi = t_x ? load<T, N>(t_x + (P::row1 + i) * C + c) : Vec<T, N>{};
          const auto moved = weight * xi, t_moved = t_weight * xi + weight * t_xi;
          const auto h = against<P>(m, g + c, i);
          sum[P::row1 + i] += t_weight * h;
          d_weight += t_xi * h;
          for (int k = 0; k < P::n3; ++k)
            received[P::row3 + k] += m[P::at + k * P::n1 + i] * t_moved;
          if (a.t_y) {
            const auto t_h = against<P>(tm, g + c, i);
            sum[P::row1 + i] += weight * t_h;
            d_weight += xi * t_h;
            for (int k = 0; k < P::n3; ++k)
              received[P::row3 + k] += tm[P::at + k * P::n1 + i] * moved;
          }
          if (a.d_y) to_sums<P>(g + c, t_moved, i, c == 0);
        }
        if (a.d_w) put(P::number, c, d_weight);
      });
      for (int64_t r = 0; r < ROWS; ++r) add<T, N>(out + (to * ROWS + r) * C + c, received[r]);
      scatter(from, c, sum);
    }
    finish(is_back);
  }

 private:
  const Args<T>& a;
  const int64_t C;
  T *out, *d_x;
  int64_t e = 0;
  bool is_first = true;
  T m[SIZE] = {}, tm[SIZE] = {};
  std::vector<T> sums;  // (SIZE, L), the gradient of the matrices before lanes are added up

  // Column i of a path's matrix with rows of the gradient.
  template <typename P>
  Vec<T, N> against(const T* matrix, const T* g, int i) const {
    Vec<T, N> sum{};
    for (int k = 0; k < P::n3; ++k)
      sum += matrix[P::at + k * P::n1 + i] * load<T, N>(g + (P::row3 + k) * C);
    return sum;
  }

  template <typename P>
  void to_sums(const T* g, Vec<T, N> moved, int i, bool is_start) {
    for (int k = 0; k < P::n3; ++k) {
      T* to = sums.data() + (P::at + k * P::n1 + i) * L;
      const auto more = moved * load<T, N>(g + (P::row3 + k) * C);
      store<T, N>(to, is_start ? more : load<T, N>(to) + more);
    }
  }

  void put(int64_t path, int64_t c, Vec<T, N> d_weight) {
    T* to = a.d_w + (e * COUNT + path) * C + c;
    store<T, N>(to, is_first ? d_weight : load<T, N>(to) + d_weight);
  }

  void scatter(int64_t from, int64_t c, const Vec<T, N>* sum) {
    if (!d_x) return;
    for (int64_t r = 0; r < FROM; ++r) add<T, N>(d_x + (from * FROM + r) * C + c, sum[r]);
  }

  void finish(bool is_back) {
    is_first = false;
    if (!a.d_y) return;
    T d_m[SIZE];
    for (int64_t k = 0; k < SIZE; ++k)
      d_m[k] = total<T, N>(load<T, N>(sums.data() + k * L));
    if (is_back) turn_back<D>(d_m);
    to_harmonics<D>(a.table, d_m, a.d_y + e * ROWS);
  }
};

// Every thread works on its share of the edges.
template <typename T, int N, typename D>
void run(int which, const Args<T>& a) {
  using Own = Worker<T, N, D>;
  const int64_t n = std::max<int64_t>(1, std::min(a.n_threads, a.n_edges / LEAST));
  const int64_t out_size = a.out && !a.runs ? a.n_to * Own::ROWS * a.n_channels : 0;
  const int64_t x_size = a.d_x ? a.n_from * Own::FROM * a.n_channels : 0;
  std::vector<std::vector<T>> outs(n - 1), xs(n - 1);
  const auto start = [&](int64_t e) {
    while (a.runs && e > 0 && e < a.n_edges && a.to[e] == a.to[e - 1]) ++e;
    return e;
  };
#pragma omp parallel for num_threads(n) schedule(static, 1)
  for (int64_t t = 0; t < n; ++t) {
    if (t) {
      outs[t - 1].assign(out_size, T(0));
      xs[t - 1].assign(x_size, T(0));
    }
    Own worker(a, t && out_size ? outs[t - 1].data() : a.out,
               t && x_size ? xs[t - 1].data() : a.d_x);
    const int64_t end = start((t + 1) * a.n_edges / n);
    for (int64_t e = start(t * a.n_edges / n); e < end; ++e) {
      worker.edge(e);
      for (int64_t k = e * a.n_ways; k < (e + 1) * a.n_ways; ++k) {
        const bool is_back = k % a.n_ways == 1;
        if (is_back) worker.back();
        if (a.to[k] >= a.n_to) continue;
        if (which == 0) worker.forward(a.to[k], a.from[k], is_back);
        if (which == 1) worker.backward(a.to[k], a.from[k], is_back);
        if (which == 2) worker.twice(a.to[k], a.from[k], is_back);
      }
    }
  }
  if (out_size) add_up(a.out, outs, out_size, n);
  if (x_size) add_up(a.d_x, xs, x_size, n);
}

template <typename T, typename D>
void wide(int which, const Args<T>& a) {
  if (a.n_channels * sizeof(T) % LONG == 0)
    run<T, LONG, D>(which, a);
  else
    run<T, 16, D>(which, a);
}

template <typename T, int LMAX>
void degrees(int which, const Args<T>& a) {
  if (a.n_features == 1)
    wide<T, Degrees<LMAX, 0>>(which, a);
  else
    wide<T, Degrees<LMAX, LMAX>>(which, a);
}

template <typename T>
void any(int which, const Args<T>& a) {
  if (a.n_components == 4) degrees<T, 1>(which, a);
  if (a.n_components == 9) degrees<T, 2>(which, a);
}

}  // namespace

extern "C" void hermnet_coupling_float(int which, const void* args) {
  any<float>(which, *static_cast<const Args<float>*>(args));
}

extern "C" void hermnet_coupling_double(int which, const void* args) {
  any<double>(which, *static_cast<const Args<double>*>(args));
}
