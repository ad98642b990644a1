"""From features to atomic energies or properties."""
