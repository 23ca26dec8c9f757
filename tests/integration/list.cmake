# One entry per integration test, in alphabetical order: mr_integration(<name> <script> <arguments>)
add_executable(filter_probe integration/filter_probe.c)
target_link_libraries(filter_probe PRIVATE mr_compile mr_wire)
mr_integration(filter check_filter.py $<TARGET_FILE:filter_probe>)
