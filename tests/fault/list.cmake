# One entry per fault test, in alphabetical order: mr_fault(<name> <script> <arguments>)
mr_fault(commit_steps check_commit_steps.py)
mr_fault(kills check_kills.py)
mr_fault(signals check_signals.py)
