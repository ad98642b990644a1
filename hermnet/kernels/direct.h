// What direct operators share: tensors of torch's stable interface, and how a kernel is called.

#pragma once

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
using Three = std::tuple<Tensor, Tensor, Tensor>;
using Four = std::tuple<Tensor, Tensor, Tensor, Tensor>;
using Five = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor>;
using Six = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

enum Library { MESSAGE, PERCEPTRON, AFFINE, CONVOLUTION, COUPLING, N_LIBRARIES };
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
    const Kernel kernel = kernels[library][like.element_size() == 8];
    STD_TORCH_CHECK(kernel, "no kernel was given to the direct operators");
    kernel(which, words.data());
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

}  // namespace
