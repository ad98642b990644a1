"""What the relations of a trained model are, cost and do."""
