"""Files, processes, random numbers and progress: what long programs need, with no astronomy."""
