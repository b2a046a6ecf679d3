"""An ECG as it lies on disk: readers, public databases, where they are found."""
