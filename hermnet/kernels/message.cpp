// Filtered vector messages (PaiNN, eq. 7 and 8) summed on receiving rows, with two derivatives.
//
//   f_e         = basis_e W_slot(e)                                  three parts: s, r, v
//   out_i       = sum_e [ phi_s f_s ;  phi_r f_r d_e + phi_v f_v v ] phi, v of the edge's sender
//
// Edges are sorted by slot, then by receiving row. A thread works on blocks of edges whose filters
// stay in its cache, so nothing that is per edge and per channel reaches memory. Everything is a
// derivative of the scalar <g, out>, which is linear in each of g, phi, v, f and d.
//
// An edge may go two ways, there and back, with one filter; a way back whose receiving row is none
// goes nowhere. With one way a thread owns whole rows; with two each has sums of its own.

#include "message_worker.h"

namespace {

// The first edge at or after `e` that begins a receiving row.
template <typename T>
int64_t row_start(const Args<T>& a, int64_t e) {
  while (e > 0 && e < a.n_edges && a.rows[e * a.n_ways] == a.rows[(e - 1) * a.n_ways]) ++e;
  return e;
}

// Every thread works on its share of the edges; what threads share is added up in their order.
template <typename T, int N, bool V, typename Work>
void run(const Args<T>& a, Work work) {
  const int64_t n = std::max<int64_t>(1, std::min(a.n_threads, a.n_edges / BLOCK));
  const int64_t out_size = a.out && a.n_ways > 1 ? a.n_rows * 4 * a.n_channels : 0;
  const int64_t phi_size = a.d_phi ? a.n_sources * 3 * a.n_channels : 0;
  const int64_t v_size = a.d_v ? a.n_atoms * 3 * a.n_channels : 0;
  std::vector<std::vector<T>> outs(n - 1), phis(n - 1), vs(n - 1), weights(n);
  std::vector<int64_t> matrices(n, -1);
#pragma omp parallel for num_threads(n) schedule(static, 1)
  for (int64_t t = 0; t < n; ++t) {
    if (t) {
      outs[t - 1].assign(out_size, T(0));
      phis[t - 1].assign(phi_size, T(0));
      vs[t - 1].assign(v_size, T(0));
    }
    Worker<T, N, V> worker(a, t && out_size ? outs[t - 1].data() : a.out,
                           t && phi_size ? phis[t - 1].data() : a.d_phi,
                           t && v_size ? vs[t - 1].data() : a.d_v);
    auto& filters = worker.filters;
    filters.blocks(row_start(a, t * a.n_edges / n), row_start(a, (t + 1) * a.n_edges / n),
                   [&](const Block<T>& block) { work(worker, block); });
    weights[t] = std::move(filters.first_d_weight);
    matrices[t] = filters.first_matrix;
  }
  if (out_size) add_up(a.out, outs, out_size, n);
  if (phi_size) add_up(a.d_phi, phis, phi_size, n);
  if (v_size) add_up(a.d_v, vs, v_size, n);
  for (int64_t t = 0; t < n; ++t)
    for (size_t k = 0; k < weights[t].size(); ++k)
      a.d_weight[matrices[t] * weights[t].size() + k] += weights[t][k];
}

template <typename T, int N, bool V>
void order(int which, const Args<T>& a) {
  if (which == 0) run<T, N, V>(a, [](auto& worker, const auto& block) { worker.forward(block); });
  if (which == 1) run<T, N, V>(a, [](auto& worker, const auto& block) { worker.backward(block); });
  if (which == 2) run<T, N, V>(a, [](auto& worker, const auto& block) { worker.twice(block); });
}

template <typename T, int N>
void with_or_without_v(int which, const Args<T>& a) {
  if (a.n_atoms)
    order<T, N, true>(which, a);
  else
    order<T, N, false>(which, a);
}

template <typename T>
void any(int which, const Args<T>& a) {
  if (a.n_edges == 0) return;
  if (a.n_channels * sizeof(T) % LONG == 0)
    with_or_without_v<T, LONG>(which, a);
  else
    with_or_without_v<T, 16>(which, a);
}

}  // namespace

extern "C" void hermnet_message_float(int which, const void* args) {
  any<float>(which, *static_cast<const Args<float>*>(args));
}

extern "C" void hermnet_message_double(int which, const void* args) {
  any<double>(which, *static_cast<const Args<double>*>(args));
}
