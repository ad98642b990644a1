"""Programs that drive a potential: LAMMPS, i-PI, torch-sim."""
