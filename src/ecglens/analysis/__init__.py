"""Where a model looks, class by class, and whether the maps can be believed."""
