"""What the machine gives: whole files, locks, signals, processes."""
