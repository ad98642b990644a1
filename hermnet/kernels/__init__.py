"""Kernels of our own in C++, compiled where they are used, and the operators of torch they make."""
