// Products of gathered rows with rows of edges, summed on receiving rows, and their derivatives.
//
//   sum:    out[to_e]  += a[from_e] * b[e]
//   edges:  out[e]     += a[to_e]  * b[from_e]
//
// An edge may go several ways, each with ends of its own; an end that is no row is nowhere. Where
// `runs` says that the edges of a row of the result stand together, a thread owns whole rows; else
// each has a result of its own, and these are added up in the order of threads.

#include <algorithm>
#include <cstdint>
#include <vector>

namespace {

constexpr int64_t LEAST = 64;  // edges of a thread

// What Python passes: eight bytes each, in this order.
template <typename T>
struct Args {
  int64_t n_edges, n_ways, n_channels, n_to, n_from, runs, n_threads;
  const int64_t *to, *from;  // (n_edges, n_ways)
  const T *a, *b;
  T* out;
};

template <typename T>
int64_t start(const Args<T>& x, int64_t e) {
  while (x.runs && e > 0 && e < x.n_edges && x.to[e] == x.to[e - 1]) ++e;
  return e;
}

// Calls `work(to, from)` for the ways of an edge.
template <typename T, typename Work>
void each(const Args<T>& x, int64_t e, Work work) {
  for (int64_t k = e * x.n_ways; k < (e + 1) * x.n_ways; ++k)
    if (x.to[k] < x.n_to && x.from[k] < x.n_from) work(x.to[k], x.from[k]);
}

template <typename T>
void sum(const Args<T>& x, int64_t begin, int64_t end, T* result) {
  const int64_t C = x.n_channels;
  for (int64_t e = begin; e < end; ++e) {
    const T* __restrict__ b = x.b + e * C;
    each(x, e, [&](int64_t to, int64_t from) {
      const T* __restrict__ a = x.a + from * C;
      T* __restrict__ out = result + to * C;
      for (int64_t c = 0; c < C; ++c) out[c] += a[c] * b[c];
    });
  }
}

template <typename T>
void sums(const Args<T>& x) {
  const int64_t n = std::max<int64_t>(1, std::min(x.n_threads, x.n_edges / LEAST));
  const int64_t size = x.n_to * x.n_channels;
  std::vector<std::vector<T>> parts(n - 1);
#pragma omp parallel for num_threads(n) schedule(static, 1)
  for (int64_t t = 0; t < n; ++t) {
    const bool own = t && !x.runs;
    if (own) parts[t - 1].assign(size, T(0));
    sum(x, start(x, t * x.n_edges / n), start(x, (t + 1) * x.n_edges / n),
        own ? parts[t - 1].data() : x.out);
  }
  for (const auto& part : parts)
    if (!part.empty())
      for (int64_t k = 0; k < size; ++k) x.out[k] += part[k];
}

template <typename T>
void edges(const Args<T>& x) {
  const int64_t C = x.n_channels;
#pragma omp parallel for num_threads(x.n_threads) schedule(static)
  for (int64_t e = 0; e < x.n_edges; ++e) {
    T* __restrict__ out = x.out + e * C;
    bool is_first = true;
    each(x, e, [&](int64_t to, int64_t from) {
      const T *__restrict__ a = x.a + to * C, *__restrict__ b = x.b + from * C;
      if (is_first)
        for (int64_t c = 0; c < C; ++c) out[c] = a[c] * b[c];
      else
        for (int64_t c = 0; c < C; ++c) out[c] += a[c] * b[c];
      is_first = false;
    });
    if (is_first) std::fill_n(out, C, T(0));
  }
}

template <typename T>
void any(int which, const void* args) {
  const auto& x = *static_cast<const Args<T>*>(args);
  which == 0 ? sums(x) : edges(x);
}

}  // namespace

extern "C" void hermnet_convolution_float(int which, const void* args) { any<float>(which, args); }

extern "C" void hermnet_convolution_double(int which, const void* args) {
  any<double>(which, args);
}
