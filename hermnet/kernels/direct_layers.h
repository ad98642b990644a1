// Direct operators of perceptron.py and affine.py.

#pragma once

#include "direct.h"

namespace {

struct Perceptron {
  Tensor x, w1, w2, ends;
  Maybe atoms, hidden, grad, inner, t_x, t_w1, t_w2, d_x, d_w1, d_w2;
  int64_t n_rows;

  Perceptron(Tensor x, Tensor w1, Tensor w2, Maybe atoms, Tensor ends)
      : x(rows_dense(x)), w1(dense(w1)), w2(dense(w2)), ends(dense(ends)), atoms(dense(atoms)),
        n_rows(atoms ? atoms->size(0) : x.size(0)) {}

  // That of `x` is added to, the others are written.
  Three gradients(int64_t needs) {
    const auto all = std::make_tuple(gradient<2>(x, needs & 1, true),
                                     gradient<3>(w1, needs & 2, false),
                                     gradient<3>(w2, needs & 4, false));
    d_x = given(needs & 1, std::get<0>(all));
    d_w1 = given(needs & 2, std::get<1>(all));
    d_w2 = given(needs & 4, std::get<2>(all));
    return all;
  }

  void call(int which, const Maybe& out, const Maybe& new_hidden, const Maybe& new_inner) {
    Words w;
    w.add_all(n_rows, ends.size(0), w1.size(0), w1.size(1) - 1, w1.size(2), w2.size(2),
              n_threads(), x.size(0), x.stride(0), t_x ? t_x->stride(0) : int64_t(0));
    w.add_all(ends, atoms, x, w1, w2, hidden, grad, inner, t_x, t_w1, t_w2, out, new_hidden,
              new_inner, d_x, d_w1, d_w2);
    w.call(PERCEPTRON, which, x);
  }
};

std::tuple<Tensor, Tensor> perceptron(Tensor x, Tensor w1, Tensor w2, Maybe atoms, Tensor ends) {
  Perceptron p(x, w1, w2, atoms, ends);
  const auto out = room<2>(x, {p.n_rows, w2.size(2)});
  const auto hidden = room<2>(x, {p.n_rows, w1.size(2)});
  p.call(0, out, hidden, {});
  return {out, hidden};
}

Four perceptron_first(Tensor grad, Tensor x, Tensor w1, Tensor w2, Tensor hidden, Maybe atoms,
                      Tensor ends, int64_t needs) {
  Perceptron p(x, w1, w2, atoms, ends);
  p.hidden = hidden;
  p.grad = dense(grad);
  const auto results = p.gradients(needs);
  const auto inner = room(hidden, sizes_of<2>(hidden));
  p.call(1, {}, {}, inner);
  return std::tuple_cat(results, std::make_tuple(inner));
}

Four perceptron_second(Maybe t_x, Maybe t_w1, Maybe t_w2, Tensor grad, Tensor x, Tensor w1,
                       Tensor w2, Tensor hidden, Tensor inner, Maybe atoms, Tensor ends,
                       int64_t needs) {
  Perceptron p(x, w1, w2, atoms, ends);
  p.hidden = hidden;
  p.inner = inner;
  p.grad = dense(grad);
  p.t_x = rows_dense(t_x);
  p.t_w1 = dense(t_w1);
  p.t_w2 = dense(t_w2);
  const auto out = room(grad, sizes_of<2>(grad));
  const auto results = p.gradients(needs >> 1);
  p.call(2, out, {}, {});
  return std::tuple_cat(std::make_tuple(out), results);
}

enum Bias { NONE, ADDED, ZERO };  // what the row after a matrix is

void call_affine(int which, const Tensor& offsets, int64_t bias, const Tensor& a, const Tensor& b,
                 const Tensor& c) {
  Words w;
  w.add_all(b.size(0), b.size(1) - (bias != NONE), b.size(2), n_threads(), a.stride(0), a.size(1),
            bias, offsets, a, b, c);
  w.call(AFFINE, which, a);
}

Tensor affine(Tensor rows, Tensor weights, Tensor offsets, int64_t bias) {
  const auto out = room<2>(rows, {rows.size(0), weights.size(2)});
  call_affine(0, offsets, bias, rows_dense(rows), dense(weights), out);
  return out;
}

Tensor affine_back(Tensor others, Tensor weights, Tensor offsets, int64_t bias, int64_t width) {
  const auto out = room<2>(others, {others.size(0), width});
  call_affine(1, offsets, bias, out, dense(weights), dense(others));
  return out;
}

Tensor affine_outer(Tensor rows, Tensor others, Tensor offsets, int64_t bias, int64_t n_in) {
  const auto out = room<3>(rows, {offsets.size(0), n_in + (bias != NONE), others.size(1)});
  call_affine(2, offsets, bias, rows_dense(rows), out, dense(others));
  return out;
}

}  // namespace
