"""From the frames of a reader to checked graphs and batches; what all data modules share."""
