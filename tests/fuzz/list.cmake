# One line per fuzz target, in alphabetical order: mr_fuzz(<name> <libraries it links>)
