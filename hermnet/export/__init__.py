"""Potentials as files for other programs and without what training needs."""
