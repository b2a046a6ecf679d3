"""See what an ECG classifier really looks at, and whether the explanation can be believed."""

__version__ = "0.1.0"
