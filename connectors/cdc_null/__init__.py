"""A sink that throws everything away, counted: for measuring what comes before it."""
