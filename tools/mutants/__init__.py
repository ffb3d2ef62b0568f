"""Plants known bugs, one at a time, in a copy of the sources, and shows that a test or the simulation catches each."""
