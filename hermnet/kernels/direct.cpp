// Operators of torch that call our kernels without Python between, for compiled code.
//
// They are those of the modules in Python, which say what they mean, with the same arguments and
// without derivatives. Everything goes through torch's stable interface for extensions, whose
// headers compile in two seconds.

#include <torch/csrc/stable/library.h>

#include "direct_layers.h"
#include "direct_messages.h"

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
  m.impl("direct_coupled", TORCH_BOX(&coupled));
  m.impl("direct_coupled_first", TORCH_BOX(&coupled_first));
  m.impl("direct_coupled_second", TORCH_BOX(&coupled_second));
  m.impl("direct_product_sum", TORCH_BOX(&product_sum));
  m.impl("direct_edge_product", TORCH_BOX(&edge_product));
}
