// Operators of torch that call our kernels without Python between, for compiled code.
//
// They are those of message.py, perceptron.py, affine.py and convolution.py, which say what they
// mean. They take the same arguments and have no derivative. Everything goes through torch's stable
// interface for extensions, whose headers compile in two seconds.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <array>
#include <cstring>
#include <optional>
#include <tuple>

namespace {

using torch::stable::Tensor;
using Maybe = std::optional<Tensor>;
using Kernel = void (*)(int which, const void* args);
using Four = std::tuple<Tensor, Tensor, Tensor, Tensor>;
using Five = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor>;
using Six = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

enum Library { MESSAGE, PERCEPTRON, AFFINE, CONVOLUTION, N_LIBRARIES };
Kernel kernels[N_LIBRARIES][2];  // for float and double

int64_t n_threads() { return torch::stable::get_num_threads(); }

// What a kernel is given: eight bytes each, see its `Args`.
class Words {
 public:
  void add(int64_t word) { words[n++] = word; }
  void add(const Tensor& t) { add(reinterpret_cast<int64_t>(t.data_ptr())); }
  void add(const Maybe& t) { t ? add(*t) : add(int64_t(0)); }
  template <typename... Rest>
  void add_all(const Rest&... rest) {
    (add(rest), ...);
  }
  void call(Library library, int which, const Tensor& like) {
    kernels[library][like.element_size() == 8](which, words.data());
  }

 private:
  std::array<int64_t, 48> words;
  int n = 0;
};

template <size_t N>
Tensor room(const Tensor& like, const std::array<int64_t, N>& sizes, bool zero = false) {
  std::array<int64_t, N> strides;
  int64_t count = 1;
  for (size_t k = N; k-- > 0; count *= sizes[k]) strides[k] = count;
  int32_t dtype;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_dtype(like.get(), &dtype));
  AtenTensorHandle made;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_empty_strided(
      N, sizes.data(), strides.data(), dtype, aoti_torch_device_type_cpu(), 0, &made));
  Tensor result(made);
  if (zero && count) std::memset(result.data_ptr(), 0, count * like.element_size());
  return result;
}

template <size_t N>
std::array<int64_t, N> sizes_of(const Tensor& t) {
  std::array<int64_t, N> sizes;
  for (size_t k = 0; k < N; ++k) sizes[k] = t.size(k);
  return sizes;
}

// Room for a gradient like `t`, or nothing where it is not wanted.
template <size_t N>
Tensor gradient(const Tensor& t, bool wanted, bool zero) {
  return wanted ? room(t, sizes_of<N>(t), zero) : room<1>(t, {0});
}

Maybe given(bool wanted, const Tensor& t) { return wanted ? Maybe(t) : Maybe(); }

Tensor dense(const Tensor& t) { return t.is_contiguous() ? t : torch::stable::contiguous(t); }
Maybe dense(const Maybe& t) { return t ? Maybe(dense(*t)) : t; }

// (n, 3, n_channels) or (n, n_in) with each row in one piece, however far apart.
Tensor rows_dense(const Tensor& t) {
  const int64_t last = t.dim() - 1;
  const bool fine = t.stride(last) == 1 && (last == 1 || t.stride(1) == t.size(last));
  return fine ? t : torch::stable::contiguous(t);
}
Maybe rows_dense(const Maybe& t) { return t ? Maybe(rows_dense(*t)) : t; }

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

  void call(int which, const Maybe& out) {
    Words w;
    w.add_all(rows.size(0), ends.size(0), weight.size(0), v.size(2), weight.size(1), basis.size(1),
              n_threads(), phi.size(0), v.size(0), v.stride(0), t_v ? t_v->stride(0) : int64_t(0));
    w.add_all(ends, rows, neighbors, atoms, phi, v, basis, dirs, weight, grad, t_phi, t_v, t_basis,
              t_dirs, t_weight, out, d_phi, d_v, d_basis, d_dirs, d_weight);
    w.call(MESSAGE, which, phi);
  }
};

Tensor message(Tensor phi, Tensor v, Tensor basis, Tensor dirs, Tensor weight, Tensor ends,
               Tensor rows, Tensor neighbors, Tensor atoms, int64_t n_rows) {
  Message m(phi, v, basis, dirs, weight, ends, rows, neighbors, atoms);
  const auto out = room<3>(phi, {n_rows, 4, v.size(2)}, true);
  m.call(0, out);
  return out;
}

Five message_first(Tensor grad, Tensor phi, Tensor v, Tensor basis, Tensor dirs, Tensor weight,
                   Tensor ends, Tensor rows, Tensor neighbors, Tensor atoms, int64_t needs) {
  Message m(phi, v, basis, dirs, weight, ends, rows, neighbors, atoms);
  m.grad = dense(grad);
  const auto results = m.gradients(needs);
  m.call(1, {});
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
  m.call(2, out);
  return std::tuple_cat(std::make_tuple(out), results);
}

struct Perceptron {
  Tensor x, w1, w2, ends;
  Maybe atoms, hidden, grad, inner, t_x, t_w1, t_w2, d_x, d_w1, d_w2;
  int64_t n_rows;

  Perceptron(Tensor x, Tensor w1, Tensor w2, Maybe atoms, Tensor ends)
      : x(rows_dense(x)), w1(dense(w1)), w2(dense(w2)), ends(dense(ends)), atoms(dense(atoms)),
        n_rows(atoms ? atoms->size(0) : x.size(0)) {}

  // That of `x` is added to, the others are written.
  std::tuple<Tensor, Tensor, Tensor> gradients(int64_t needs) {
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

}  // namespace

extern "C" void hermnet_direct_kernel(int64_t library, int64_t is_double, Kernel kernel) {
  kernels[library][is_double] = kernel;
}

STABLE_TORCH_LIBRARY_IMPL(hermnet, CPU, m) {
  m.impl("direct_message", TORCH_BOX(&message));
  m.impl("direct_message_first", TORCH_BOX(&message_first));
  m.impl("direct_message_second", TORCH_BOX(&message_second));
  m.impl("direct_perceptron", TORCH_BOX(&perceptron));
  m.impl("direct_perceptron_first", TORCH_BOX(&perceptron_first));
  m.impl("direct_perceptron_second", TORCH_BOX(&perceptron_second));
  m.impl("direct_affine", TORCH_BOX(&affine));
  m.impl("direct_affine_back", TORCH_BOX(&affine_back));
  m.impl("direct_affine_outer", TORCH_BOX(&affine_outer));
  m.impl("direct_product_sum", TORCH_BOX(&product_sum));
  m.impl("direct_edge_product", TORCH_BOX(&edge_product));
}
