# One line per fuzz target, in alphabetical order: mr_fuzz(<name> <libraries it links>)
mr_fuzz(bytes mr_base)
mr_fuzz(json mr_base)
mr_fuzz(recordlog mr_base)
