"""Kernels of our own, in C++ on CPUs and Triton on GPUs, and the operators of torch they make."""
