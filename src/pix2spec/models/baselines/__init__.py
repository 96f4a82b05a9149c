"""Methods that are fitted in one pass over the training set: the floors of every comparison, and ULISSE."""
