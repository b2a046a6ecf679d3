"""Where a model looks, example by example."""
