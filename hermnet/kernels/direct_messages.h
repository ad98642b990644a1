// Direct operators of message.py, convolution.py and coupling.py.

#pragma once

#include "direct.h"

namespace {

struct Message {
  Tensor phi, v, basis, dirs, weight, ends, rows, neighbors, atoms;
  Maybe t_phi, t_v, t_basis, t_dirs, t_weight;
  int64_t needs = 0;
  Maybe grad, d_phi, d_v, d_basis, d_dirs, d_weight;

  Message(Tensor phi, Tensor v, Tensor basis, Tensor dirs, Tensor weight, Tensor ends, Tensor rows,
          Tensor neighbors, Tensor atoms)
      : phi(dense(phi)), v(rows_dense(v)), basis(dense(basis)), dirs(dense(dirs)),
        weight(dense(weight)), ends(dense(ends)), rows(dense(rows)), neighbors(dense(neighbors)),
        atoms(dense(atoms)) {}

  // That of the directions is written once and needs no zeros.
  Five gradients(int64_t needs) {
    Five all{gradient<2>(phi, needs & 1, true), gradient<3>(v, needs & 2, true),
             gradient<2>(basis, needs & 4, true), gradient<2>(dirs, needs & 8, false),
             gradient<3>(weight, needs & 16, true)};
    d_phi = given(needs & 1, std::get<0>(all));
    d_v = given(needs & 2, std::get<1>(all));
    d_basis = given(needs & 4, std::get<2>(all));
    d_dirs = given(needs & 8, std::get<3>(all));
    d_weight = given(needs & 16, std::get<4>(all));
    return all;
  }

  void call(int which, int64_t n_rows, const Maybe& out) {
    const int64_t n_ways = rows.dim() > 1 ? rows.size(1) : 1;
    Words w;
    w.add_all(rows.size(0), n_ways, n_rows, ends.size(0), weight.size(0), v.size(2),
              weight.size(1), basis.size(1), n_threads(), phi.size(0), v.size(0), v.stride(0),
              t_v ? t_v->stride(0) : int64_t(0));
    w.add_all(ends, rows, neighbors, atoms, phi, v, basis, dirs, weight, grad, t_phi, t_v, t_basis,
              t_dirs, t_weight, out, d_phi, d_v, d_basis, d_dirs, d_weight);
    w.call(MESSAGE, which, phi);
  }
};

Tensor message(Tensor phi, Tensor v, Tensor basis, Tensor dirs, Tensor weight, Tensor ends,
               Tensor rows, Tensor neighbors, Tensor atoms, int64_t n_rows) {
  Message m(phi, v, basis, dirs, weight, ends, rows, neighbors, atoms);
  const auto out = room<3>(phi, {n_rows, 4, v.size(2)}, true);
  m.call(0, n_rows, out);
  return out;
}

Five message_first(Tensor grad, Tensor phi, Tensor v, Tensor basis, Tensor dirs, Tensor weight,
                   Tensor ends, Tensor rows, Tensor neighbors, Tensor atoms, int64_t needs) {
  Message m(phi, v, basis, dirs, weight, ends, rows, neighbors, atoms);
  m.grad = dense(grad);
  const auto results = m.gradients(needs);
  m.call(1, grad.size(0), {});
  return results;
}

Six message_second(Maybe t_phi, Maybe t_v, Maybe t_basis, Maybe t_dirs, Maybe t_weight, Tensor grad,
                   Tensor phi, Tensor v, Tensor basis, Tensor dirs, Tensor weight, Tensor ends,
                   Tensor rows, Tensor neighbors, Tensor atoms, int64_t needs) {
  Message m(phi, v, basis, dirs, weight, ends, rows, neighbors, atoms);
  m.t_phi = dense(t_phi);
  m.t_v = rows_dense(t_v);
  m.t_basis = dense(t_basis);
  m.t_dirs = dense(t_dirs);
  m.t_weight = dense(t_weight);
  m.grad = dense(grad);
  const auto out = room(grad, sizes_of<3>(grad), true);
  const auto results = m.gradients(needs >> 1);
  m.call(2, grad.size(0), out);
  return std::tuple_cat(std::make_tuple(out), results);
}

void call_convolution(int which, const Tensor& a, const Tensor& b, const Tensor& to,
                      const Tensor& from, const Tensor& out, int64_t runs) {
  const int64_t n_ways = to.dim() > 1 ? to.size(1) : 1;
  const auto& rows = which ? a : out;
  const auto& senders = which ? b : a;
  Words w;
  w.add_all(to.size(0), n_ways, out.size(1), rows.size(0), senders.size(0), runs, n_threads());
  w.add_all(to, from, a, b, out);
  w.call(CONVOLUTION, which, out);
}

Tensor product_sum(Tensor a, Tensor b, Tensor to, Tensor from, int64_t n, bool runs) {
  const auto out = room<2>(a, {n, a.size(1)}, true);
  call_convolution(0, dense(a), dense(b), dense(to), dense(from), out, runs);
  return out;
}

Tensor edge_product(Tensor a, Tensor b, Tensor to, Tensor from, bool runs) {
  const auto out = room<2>(a, {to.size(0), a.size(1)});
  call_convolution(1, dense(a), dense(b), dense(to), dense(from), out, runs);
  return out;
}

struct Coupling {
  Tensor x, y, w, table, rows, senders;
  Maybe t_x, t_y, t_w, grad, d_x, d_y, d_w;

  Coupling(Tensor x, Tensor y, Tensor w, Tensor table, Tensor rows, Tensor senders)
      : x(dense(x)), y(dense(y)), w(dense(w)), table(dense(table)), rows(dense(rows)),
        senders(dense(senders)) {}

  // Those of edges are written once and need no zeros.
  Three gradients(int64_t needs) {
    const auto all = std::make_tuple(gradient<3>(x, needs & 1, true),
                                     gradient<2>(y, needs & 2, false),
                                     gradient<3>(w, needs & 4, false));
    d_x = given(needs & 1, std::get<0>(all));
    d_y = given(needs & 2, std::get<1>(all));
    d_w = given(needs & 4, std::get<2>(all));
    return all;
  }

  void call(int which, int64_t n_rows, const Maybe& out) {
    const int64_t n_ways = rows.dim() > 1 ? rows.size(1) : 1;
    Words words;
    words.add_all(x.size(1), y.size(1), w.size(0), n_ways, x.size(2), n_rows, x.size(0),
                  n_ways == 1, n_threads(), rows, senders, table, x, y, w, grad, t_x, t_y, t_w, out,
                  d_x, d_y, d_w);
    words.call(COUPLING, which, x);
  }
};

Tensor coupled(Tensor x, Tensor y, Tensor w, Tensor table, Tensor rows, Tensor senders,
               int64_t n_rows) {
  Coupling c(x, y, w, table, rows, senders);
  const auto out = room<3>(x, {n_rows, y.size(1), x.size(2)}, true);
  c.call(0, n_rows, out);
  return out;
}

Three coupled_first(Tensor grad, Tensor x, Tensor y, Tensor w, Tensor table, Tensor rows,
                    Tensor senders, int64_t needs) {
  Coupling c(x, y, w, table, rows, senders);
  c.grad = dense(grad);
  const auto results = c.gradients(needs);
  c.call(1, grad.size(0), {});
  return results;
}

Four coupled_second(Maybe t_x, Maybe t_y, Maybe t_w, Tensor grad, Tensor x, Tensor y, Tensor w,
                    Tensor table, Tensor rows, Tensor senders, int64_t needs) {
  Coupling c(x, y, w, table, rows, senders);
  c.t_x = dense(t_x);
  c.t_y = dense(t_y);
  c.t_w = dense(t_w);
  c.grad = dense(grad);
  const auto out = room(grad, sizes_of<3>(grad), true);
  const auto results = c.gradients(needs >> 1);
  c.call(2, grad.size(0), out);
  return std::tuple_cat(std::make_tuple(out), results);
}

}  // namespace
