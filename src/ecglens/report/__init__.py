"""What a person reads: ECG paper, figures from tables, one HTML file."""
