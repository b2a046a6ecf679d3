"""What a model is shown: beats cut from recordings, labels, splits."""
