# One line per unit test, in alphabetical order: mr_unit_test(<name> <libraries it links>)
mr_unit_test(err mr_base)
