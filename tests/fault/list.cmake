# One entry per fault test, in alphabetical order: mr_fault(<name> <script> <arguments>)
mr_fault(commit_steps check_commit_steps.py)
mr_fault(kills check_kills.py)
mr_fault(limits check_limits.py)
if(NOT MILLRACE_SANITIZE) # a sanitizer's shadow is memory too
  mr_fault(memory check_memory.py)
endif()
mr_fault(read_back check_read_back.py)
mr_fault(signals check_signals.py)
