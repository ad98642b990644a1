"""What a potential says about materials: structures, elasticity, dynamics, vibrations.

Each function takes any ASE calculator and returns a `hermnet.properties.report.Report`, which
writes data files and a picture.
"""
