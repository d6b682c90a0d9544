"""What providers report and what they bill for it: records with prices worked out by hand, of which governor knows nothing."""
