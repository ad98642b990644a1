"""What is minimized, what is counted, and how a model is trained."""
